"""Writes a run's call into the outbox before the run becomes terminal, so that no crash can lose it.

A row counts once its run is terminal or gone. An attempt that loses its lease in between leaves a row that the next
attempt's end replaces.
"""

from __future__ import annotations  # the async stubs exist for type checkers only

from collections.abc import Callable, Sequence
from dataclasses import replace

import grpc
import orjson
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

from threadmill_runs.queue.run import CancelAction, Run
from threadmill_runs.webhooks.document import RunEnding, record_document, webhook_of
from threadmill_runs.webhooks.repo import WebhookRepo

UNSTARTED = {
    CancelAction.INTERRUPT: ("interrupted", "UserInterrupt"),
    CancelAction.ROLLBACK: ("rollback", "UserRollback"),
}


class WebhookRecorder:
    """What the ends of runs call. Cheap for the runs without a webhook, which are most. `on_ended` is set by wiring.

    Not `enabled`: no call is planned; those that were planned before still go out.
    """

    def __init__(self, repo: WebhookRepo, threads: threads_pb2_grpc.ThreadsAsyncStub, *, enabled: bool = True) -> None:
        self._repo = repo
        self._threads = threads
        self._enabled = enabled
        self.on_ended: Callable[[], None] = lambda: None

    async def record(self, run: Run, token: int, ending: RunEnding) -> bool:
        """To be called when the thread is settled and the run is not terminal yet; False if there is no webhook."""
        url = webhook_of(run.kwargs_json) if self._enabled else None
        if url is None:
            return False
        ending = replace(ending, values_json=await self._values(run, ending))
        await self._repo.record(run.run_id, token, url, record_document(run, ending))
        return True

    async def foresee_cancel(self, run_ids: Sequence[str], action: CancelAction, reason: str) -> None:
        """To be called before runs are cancelled: those that are still pending end with the cancel itself."""
        for run in await self._repo.pending(run_ids) if self._enabled else ():
            url = webhook_of(run.kwargs_json)
            if url is not None:
                status, error = UNSTARTED[action]
                ending = RunEnding(status, orjson.dumps({"error": error, "message": reason}))
                ending = replace(ending, values_json=await self._values(run, ending))
                await self._repo.record_unstarted(run.run_id, url, record_document(run, ending))

    def ended(self) -> None:
        """To be called when the run is terminal: its call may go out."""
        self.on_ended()

    async def _values(self, run: Run, ending: RunEnding) -> bytes:
        """The thread's values; empty when it is temporary, was rolled back or is gone."""
        if ending.status == "rollback" or run.temporary:
            return b""
        try:
            thread = await self._threads.GetThread(
                threads_pb2.GetThreadRequest(thread_id=run.thread_id), wait_for_ready=True
            )
        except grpc.aio.AioRpcError as error:
            if reason_of(error) == "THREAD_NOT_FOUND":
                return b""
            raise
        return thread.values_json
