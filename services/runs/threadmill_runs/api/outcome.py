"""What a waiting client gets at the end of a run."""

from __future__ import annotations  # the async stubs exist for type checkers only

from collections.abc import Sequence

import grpc
import orjson
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

from threadmill_runs.events.log import END_EVENT
from threadmill_runs.interrupts import interrupts_of
from threadmill_runs.queue.ending import ROLLED_BACK, end_status
from threadmill_runs.queue.run import RunState

GONE = b'{"__error__":{"error":"HTTPException","message":"404: Run not found"}}'


class WaitedOutcome:
    """Collects the few events of a run that decide its body: the last values, an error, several interrupts."""

    def __init__(self, threads: threads_pb2_grpc.ThreadsAsyncStub, thread_id: str, *, temporary: bool) -> None:
        self._threads = threads
        self._thread_id = thread_id
        self._temporary = temporary
        self._values: bytes | None = None
        self._paused = False
        self._error: bytes | None = None
        self._interrupts: list[dict[str, object]] = []
        # The run's final state, once it is known; a run that was deleted has none.
        self.state: RunState | None = None

    def take(self, events: Sequence[runs_pb2.Event]) -> None:
        """Notes what the events say."""
        for event in events:
            if event.name == "values" and not event.timestamp_ms:  # with a time, they are for another protocol
                self._take_values(event.data_json)
            elif event.name == "error":
                self._error = event.data_json
            elif event.name == END_EVENT:
                status, self._interrupts = end_status(event.data_json)
                self.state = RunState.INTERRUPTED if status == ROLLED_BACK else RunState(status)

    def _take_values(self, data_json: bytes) -> None:
        """The last values count, unless the run paused before: what it asks must not be lost."""
        pauses = b'"__interrupt__"' in data_json and "__interrupt__" in orjson.loads(data_json)
        if pauses or not self._paused:
            self._values = data_json
            self._paused = pauses

    async def body(self) -> bytes:
        """The body."""
        if self._error is not None:
            return b'{"__error__":' + self._error + b"}"
        if self._interrupts:
            return orjson.dumps({"__interrupt__": self._interrupts})
        if self._values is not None:
            return self._values
        if self.state is None:
            return GONE
        if self._temporary:
            return b"{}"
        return await self._thread_outcome()

    async def _thread_outcome(self) -> bytes:
        """The thread's current outcome, for runs that have ended before or stream no values."""
        try:
            thread = await self._threads.GetThread(
                threads_pb2.GetThreadRequest(thread_id=self._thread_id), wait_for_ready=True
            )
        except grpc.aio.AioRpcError as error:
            if reason_of(error) == "THREAD_NOT_FOUND":
                return b"{}"
            raise
        if thread.error_json not in (b"", b"null") and thread.state == threads_pb2.THREAD_STATE_ERROR:
            return b'{"__error__":' + thread.error_json + b"}"
        if interrupts := interrupts_of(thread):
            return orjson.dumps({"__interrupt__": interrupts})
        return thread.values_json or b"{}"
