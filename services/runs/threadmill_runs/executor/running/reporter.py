"""Reports one attempt to the runs api, across lost connections: every event once, then the outcome."""

import asyncio
from collections import deque
from typing import Any

import grpc
import structlog
from threadmill_chassis.errors import DomainError
from threadmill_chassis.grpc_errors import PASSING, reason_of
from threadmill_protos.runs.v1 import executors_pb2, executors_pb2_grpc

from threadmill_runs.executor.checkpoints.errors import LeaseLost
from threadmill_runs.executor.running.outbox import Outbox

log = structlog.get_logger(__name__)

RECONNECT_SECONDS = 0.2
# After a batch, so long tokens gather for the next one: fewer messages per token at no visible delay.
GATHER_SECONDS = 0.008
# So long a report waits for its first events, to begin together with them.
OPENING_SECONDS = 0.002
# May be a passing trouble or a defect: so many calls in a row that get nothing acknowledged make it a defect.
DOUBTFUL = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
)
DOUBTS_MAX = 150

Batch = list[executors_pb2.ReportedEvent]


class ReportRefused(DomainError):
    """The runs api does not take this report, and will not: it is too large, or one of us has a defect."""

    status = grpc.StatusCode.INTERNAL
    reason = "REPORT_REFUSED"


class Reporter:
    """`run` sends until the outcome is acknowledged.

    It raises LeaseLost when the attempt is no longer the executor's, and ReportRefused when repeating is in vain.
    """

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
        self._sent_seq = 0  # of the last event that was taken from the outbox
        self._outcome: asyncio.Future[executors_pb2.Outcome] = asyncio.get_running_loop().create_future()
        self._doubts = 0
        # The runs api knows, by the outcome, that the attempt has left its slot.
        self.slot_freed = False

    def finish(self, outcome: executors_pb2.Outcome) -> None:
        """Ends the report, after the events that are on their way; only the first outcome counts."""
        if not self._outcome.done():
            self._outcome.set_result(outcome)
            self._outbox.hurry()

    async def run(self) -> None:
        """Reports, over as many calls as it takes."""
        await self._outbox.arrival_soon(OPENING_SECONDS)
        while True:
            try:
                if await self._call():
                    return
            except grpc.aio.AioRpcError as error:
                self._judge(error)
                log.warning("report_interrupted", run_id=self._header.fence.run_id, error=error.details())
            await asyncio.sleep(RECONNECT_SECONDS)

    async def report_error(self, error_json: bytes) -> None:
        """After ReportRefused: drops what was not acknowledged and ends the run in this error. Raises as `run`."""
        self._unacked.clear()
        # Numbered on, so that the event log does not take the error for an event that it has. Another outbox, because
        # user code that was left behind may still fill the old one.
        self._sent_seq = self._outbox.last_seq
        self._outbox = Outbox(asyncio.get_running_loop(), after=self._sent_seq)
        self._outbox.put("error", error_json)
        self._outcome = asyncio.get_running_loop().create_future()
        self.finish(executors_pb2.Outcome(result=executors_pb2.Outcome.RESULT_ERROR, error_json=error_json))
        self._doubts = 0
        await self.run()

    def _judge(self, error: grpc.aio.AioRpcError) -> None:
        """Raises what ends the report; returns if another call may succeed."""
        run_id = self._header.fence.run_id
        if reason_of(error) == LeaseLost.reason:
            raise LeaseLost(f"run {run_id} has been taken over") from error
        self._doubts += error.code() in DOUBTFUL
        if error.code() not in (*PASSING, *DOUBTFUL) or self._doubts > DOUBTS_MAX:
            raise ReportRefused(f"the report of run {run_id} is refused: {error.details()}") from error

    async def _call(self) -> bool:
        """One call: what is unacknowledged first, then what comes. True once the outcome is acknowledged."""
        call: Any = self._stub.Report()
        reader = asyncio.create_task(self._read(call))
        writer = asyncio.create_task(self._write(call))
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            failed = writer.done() and (writer.cancelled() or writer.exception() is not None)
            # A write fails when the call has ended, and soon the reader knows how; if it does not, the writer must do.
            await asyncio.wait({reader}, timeout=RECONNECT_SECONDS if failed else None)
            if reader.done() and not reader.cancelled():
                return reader.result()
            return self._cut(writer)
        finally:
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            call.cancel()

    def _cut(self, writer: "asyncio.Task[None]") -> bool:
        """The call ended without a word: another one is tried, unless what is written is at fault."""
        failure = writer.exception() if writer.done() and not writer.cancelled() else None
        if isinstance(failure, grpc.aio.AioRpcError):
            raise failure
        if failure is None or isinstance(failure, asyncio.InvalidStateError):  # gRPC's word for a call that has ended
            return False
        raise ReportRefused(f"the report of run {self._header.fence.run_id} cannot be sent: {failure!r}") from failure

    async def _write(self, call: Any) -> None:
        # By these numbers the runs api notices messages that got lost on the way.
        self._header.next_seq = self._unacked[0][0].seq if self._unacked else self._sent_seq + 1
        await call.write(executors_pb2.ReportRequest(header=self._header))
        for batch in list(self._unacked):
            await self._send(call, batch)
        while not self._outcome.done():
            await self._outbox.arrival()
            await self._drain(call)
        await self._drain(call)
        outcome = self._outcome.result()
        outcome.last_seq = self._sent_seq
        await call.write(executors_pb2.ReportRequest(outcome=outcome))

    async def _drain(self, call: Any) -> None:
        while batch := self._outbox.take():
            self._unacked.append(batch)
            self._sent_seq = batch[-1].seq
            await self._send(call, batch)
            if not self._outcome.done():
                await self._outbox.gather(GATHER_SECONDS)

    async def _send(self, call: Any, batch: Batch) -> None:
        await call.write(executors_pb2.ReportRequest(batch=executors_pb2.ReportRequest.Batch(events=batch)))

    async def _read(self, call: Any) -> bool:
        async for response in call:
            self._doubts = 0
            while self._unacked and self._unacked[0][-1].seq <= response.acked_seq:
                self._outbox.acknowledge(self._unacked.popleft())
            if response.outcome_acked:
                self.slot_freed = response.slot_freed
                return True
        return False
