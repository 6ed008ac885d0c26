"""An executor that does exactly what a test says: it speaks Executors.Attach and Report through the real stubs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import orjson
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import assistants_pb2, executors_pb2

Outcome = executors_pb2.Outcome
PATIENCE_SECONDS = 10.0


class Report:
    """One Report call about one attempt."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.seq = 0

    async def send(self, *events: tuple[Any, ...], first_seq: int | None = None) -> int:
        """Sends (name, data) pairs as one batch; answers the acknowledged position.

        Events of the thread-streaming protocol have a third part: the moment when they arose, in milliseconds.
        """
        first = self.seq + 1 if first_seq is None else first_seq
        batch = [
            executors_pb2.ReportedEvent(
                seq=first + place, name=name, data_json=orjson.dumps(data), timestamp_ms=at[0] if at else 0
            )
            for place, (name, data, *at) in enumerate(events)
        ]
        self.seq = max(self.seq, batch[-1].seq)
        await self.call.write(executors_pb2.ReportRequest(batch=executors_pb2.ReportRequest.Batch(events=batch)))
        answer = await self._read()
        return answer.acked_seq

    async def _read(self) -> Any:
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = await self.call.read()
        if answer is grpc.aio.EOF:
            raise AssertionError(f"the report ended: {await self.call.details()}")
        return answer

    async def send_outcome(self, outcome: Outcome) -> None:
        """Sends the outcome without waiting for its acknowledgement."""
        await self.call.write(executors_pb2.ReportRequest(outcome=outcome))

    async def outcome_acked(self) -> bool:
        """Waits for the acknowledgement of the outcome."""
        return (await self._read()).outcome_acked


class ScriptedExecutor:
    """Attached with `attach`; what comes down waits in order until the test takes it."""

    def __init__(self, stub: Any, executor_id: str, slots: int, graphs: Sequence[str]) -> None:
        self.stub = stub
        self.executor_id = executor_id
        self.slots = slots
        self.graphs = [assistants_pb2.Graph(graph_id=name, name=name) for name in graphs]
        self.call: Any = None
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        self.welcome: Any = None
        # Cancels and lost leases are hints, and may come more than once: by message and by heartbeat.
        self._told: set[bytes] = set()
        self._reader: asyncio.Task[None] | None = None

    async def attach(self, *held: common_pb2.Fence) -> "ScriptedExecutor":
        """Says hello and reads the welcome."""
        self.call = self.stub.Attach()
        hello = executors_pb2.AttachRequest.Hello(
            executor_id=self.executor_id, slot_count=self.slots, graphs=self.graphs, held=held
        )
        await self.call.write(executors_pb2.AttachRequest(hello=hello))
        self.welcome = (await self.call.read()).welcome
        self._reader = asyncio.create_task(self._read(self.call))
        return self

    async def _read(self, call: Any) -> None:
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                text = message.SerializeToString(deterministic=True)
                if message.WhichOneof("message") == "assignment" or text not in self._told:
                    self.inbox.put_nowait(message)
                self._told.add(text)
        except grpc.aio.AioRpcError:
            return

    async def detach(self) -> None:
        """Breaks the control stream."""
        if self._reader is not None:
            self.call.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None

    async def heartbeat(self, *held: common_pb2.Fence, draining: bool = False) -> None:
        beat = executors_pb2.AttachRequest.Heartbeat(held=held, draining=draining)
        await self.call.write(executors_pb2.AttachRequest(heartbeat=beat))

    async def released(self, fence: common_pb2.Fence) -> None:
        """The slot is free."""
        await self.call.write(executors_pb2.AttachRequest(released=fence))

    async def expect(self, kind: str, seconds: float = PATIENCE_SECONDS) -> Any:
        """The next message, which must be of this kind."""
        async with asyncio.timeout(seconds):
            message = await self.inbox.get()
        assert message.WhichOneof("message") == kind, message
        return getattr(message, kind)

    async def assignment(self, seconds: float = PATIENCE_SECONDS) -> Any:
        return await self.expect("assignment", seconds)

    @asynccontextmanager
    async def reporting(self, assignment: Any) -> AsyncIterator[Report]:
        """A report of the attempt, open for the block."""
        call = self.stub.Report()
        header = executors_pb2.ReportRequest.Header(
            fence=assignment.fence,
            thread_id=assignment.thread_id,
            attempt=assignment.attempt,
            graph_id=assignment.graph_id,
        )
        await call.write(executors_pb2.ReportRequest(header=header))
        try:
            yield Report(call)
        finally:
            call.cancel()

    async def finish(
        self, assignment: Any, *events: tuple[Any, ...], result: int = Outcome.RESULT_SUCCESS, **fields: Any
    ) -> None:
        """Reports the events (after what was reported before, if `first_seq` says so), then the outcome."""
        first_seq = fields.pop("first_seq", None)
        async with self.reporting(assignment) as report:
            if events:
                await report.send(*events, first_seq=first_seq)
            await report.send_outcome(Outcome(result=result, **fields))
            assert await report.outcome_acked()
        await self.released(assignment.fence)
