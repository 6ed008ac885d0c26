"""Cancels runs whose clients have gone and wanted that (`on_disconnect: cancel`).

Done here and not where the run is streamed from: the gateway alone can tell a client that has gone from a replica that
has, and it is still there when the runs api is not.
"""

import asyncio

import grpc
import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_gateway.clients import Clients

log = structlog.get_logger(__name__)

REASON = "client disconnected from the run stream (on_disconnect=cancel)"
# So long a cancel waits for a runs api that is away. Nobody is left who would repeat it.
PATIENCE_SECONDS = 600.0
# The run has ended, or has gone.
OVER = frozenset({"RUN_NOT_FOUND", "NOT_CANCELLABLE"})


class AbandonedRuns:
    """The cancels that are under way."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._cancels: set[asyncio.Task[None]] = set()

    def cancel(self, reference: runs_pb2.RunRef) -> None:
        """Cancels a run, without anybody waiting for it."""
        task = asyncio.create_task(self._cancel(reference), name=f"cancel abandoned {reference.run_id}")
        self._cancels.add(task)
        task.add_done_callback(self._cancels.discard)

    async def _cancel(self, reference: runs_pb2.RunRef) -> None:
        question = runs_pb2.CancelRunsRequest(
            thread_id=reference.thread_id, run_ids=[reference.run_id], action=runs_pb2.CANCEL_ACTION_INTERRUPT
        )
        question.reason = REASON
        retrying = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_exponential(0.2, max=5),
            stop=stop_after_delay(PATIENCE_SECONDS),
            reraise=True,
        )
        try:
            await retrying(self._clients.ask, self._clients.runs.CancelRuns, question)
        except grpc.aio.AioRpcError as error:
            if reason_of(error) not in OVER:
                log.warning("abandoned_run_not_cancelled", run_id=reference.run_id, error=error.details())

    async def settle(self, seconds: float) -> None:
        """Gives the cancels that are under way so long to end, before the process does."""
        if self._cancels:
            await asyncio.wait(self._cancels, timeout=seconds)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and reason_of(error) not in OVER
