"""Reports one attempt to the runs api, across lost connections: every event once, then the outcome."""

import asyncio
from collections import deque
from typing import Any

import grpc
import structlog
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import executors_pb2, executors_pb2_grpc

from threadmill_runs.executor.checkpoints.errors import LeaseLost
from threadmill_runs.executor.running.outbox import Outbox

log = structlog.get_logger(__name__)

RECONNECT_SECONDS = 0.2
# After a batch, so long tokens gather for the next one: fewer messages per token at no visible delay.
GATHER_SECONDS = 0.003

Batch = list[executors_pb2.ReportedEvent]


class Reporter:
    """`run` sends until the outcome is acknowledged; raises LeaseLost when the attempt is no longer the executor's."""

    def __init__(
        self,
        stub: "executors_pb2_grpc.ExecutorsAsyncStub",
        header: executors_pb2.ReportRequest.Header,
        outbox: Outbox,
    ) -> None:
        self._stub = stub
        self._header = header
        self._outbox = outbox
        self._unacked: deque[Batch] = deque()
        self._outcome: asyncio.Future[executors_pb2.Outcome] = asyncio.get_running_loop().create_future()

    def finish(self, outcome: executors_pb2.Outcome) -> None:
        """Ends the report, after the events that are on their way; only the first outcome counts."""
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    async def run(self) -> None:
        """Reports, over as many calls as it takes."""
        while True:
            try:
                if await self._call():
                    return
            except grpc.aio.AioRpcError as error:
                if reason_of(error) == "FENCED":
                    raise LeaseLost(f"run {self._header.fence.run_id} has been taken over") from error
                log.warning("report_interrupted", run_id=self._header.fence.run_id, error=error.details())
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _call(self) -> bool:
        """One call: what is unacknowledged first, then what comes. True once the outcome is acknowledged."""
        call: Any = self._stub.Report()
        reader = asyncio.create_task(self._read(call))
        writer = asyncio.create_task(self._write(call))
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            # A write fails when the call has ended; the reader then knows how.
            if writer.done() and writer.exception() is not None:
                await asyncio.wait({reader}, timeout=RECONNECT_SECONDS)
                call.cancel()
            return await reader
        finally:
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            call.cancel()

    async def _write(self, call: Any) -> None:
        await call.write(executors_pb2.ReportRequest(header=self._header))
        for batch in list(self._unacked):
            await self._send(call, batch)
        while not self._outcome.done():
            await self._next_batch()
            await self._drain(call)
        await self._drain(call)
        await call.write(executors_pb2.ReportRequest(outcome=self._outcome.result()))

    async def _next_batch(self) -> None:
        arrival = asyncio.ensure_future(self._outbox.arrival())
        try:
            waited: list[asyncio.Future[Any]] = [arrival, self._outcome]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrival.cancel()

    async def _drain(self, call: Any) -> None:
        while batch := self._outbox.take():
            self._unacked.append(batch)
            await self._send(call, batch)
            if not self._outcome.done():
                await asyncio.sleep(GATHER_SECONDS)

    async def _send(self, call: Any, batch: Batch) -> None:
        await call.write(executors_pb2.ReportRequest(batch=executors_pb2.ReportRequest.Batch(events=batch)))

    async def _read(self, call: Any) -> bool:
        async for response in call:
            while self._unacked and self._unacked[0][-1].seq <= response.acked_seq:
                self._outbox.acknowledge(self._unacked.popleft())
            if response.outcome_acked:
                return True
        return False
