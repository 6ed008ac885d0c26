"""The control stream, kept up for ever: attach, beat, take assignments, pass on stops, attach again."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import structlog
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import assistants_pb2, executors_pb2, executors_pb2_grpc

from threadmill_runs.executor.checkpoints.errors import LeaseLost
from threadmill_runs.executor.encoding import encode
from threadmill_runs.executor.running.attempt import Attempt, Stop
from threadmill_runs.executor.running.failures import describe, log_failure
from threadmill_runs.executor.running.outbox import Outbox
from threadmill_runs.executor.running.reporter import Reporter

log = structlog.get_logger(__name__)

RECONNECT_SECONDS = 0.2
# Handing a run back takes the time that its graph needs to stop, and two calls.
RELEASE_SECONDS = 5.0
Assignment = executors_pb2.AttachResponse.Assignment


class ControlLink:
    """Holds the attempts of this process; all of it happens on the control loop."""

    def __init__(
        self,
        stub: "executors_pb2_grpc.ExecutorsAsyncStub",
        executor_id: str,
        slots: int,
        graphs: Sequence[assistants_pb2.Graph],
        start: Callable[[Assignment], Attempt],
    ) -> None:
        self._stub = stub
        self._executor_id = executor_id
        self._slots = slots
        self._graphs = graphs
        self._start = start
        self._attempts: dict[str, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._call: Any = None
        self._draining = False
        self._beat_seconds = 1.0
        self._writing = asyncio.Lock()
        # Set once the runs api has welcomed us for the first time.
        self.attached = asyncio.Event()

    def held(self) -> list[common_pb2.Fence]:
        """Attempts that are executing."""
        return [attempt.assignment.fence for attempt in self._attempts.values()]

    async def run(self) -> None:
        """Stays attached for ever. Runs go on while the connection is down."""
        while True:
            try:
                await self._attached()
            except grpc.aio.AioRpcError as error:
                log.warning("runs_api_lost", error=error.details())
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _attached(self) -> None:
        call = self._stub.Attach()
        beats: asyncio.Task[None] | None = None
        try:
            await call.write(
                executors_pb2.AttachRequest(
                    hello=executors_pb2.AttachRequest.Hello(
                        executor_id=self._executor_id,
                        slot_count=self._slots,
                        graphs=self._graphs,
                        held=self.held(),
                    )
                )
            )
            self._call = call
            async for response in call:
                if response.WhichOneof("message") == "welcome":
                    self._beat_seconds = response.welcome.heartbeat_seconds
                    beats = beats or asyncio.create_task(self._beat(), name="heartbeat")
                    self.attached.set()
                    log.info("attached", executor_id=self._executor_id)
                else:
                    self._take(response)
        finally:
            self._call = None
            if beats is not None:
                beats.cancel()
            call.cancel()

    def _take(self, response: executors_pb2.AttachResponse) -> None:
        kind = response.WhichOneof("message")
        if kind == "assignment":
            self._begin(response.assignment)
        elif kind == "cancel":
            self._stop(response.cancel.fence, Stop.CANCEL)
        elif kind == "lease_lost":
            self._stop(response.lease_lost, Stop.LEASE_LOST)

    def _stop(self, fence: common_pb2.Fence, reason: Stop) -> None:
        attempt = self._attempts.get(fence.run_id)
        if attempt is not None and attempt.assignment.fence.token == fence.token:
            attempt.stop(reason)

    def _begin(self, assignment: Assignment) -> None:
        older = self._attempts.get(assignment.fence.run_id)
        if older is not None:  # we lost it and got it back: the old attempt must not go on
            older.stop(Stop.LEASE_LOST)
        try:
            attempt = self._start(assignment)
        except Exception as error:  # noqa: BLE001  # an assignment that makes no sense must end its run, not the process
            self._refuse(assignment, error)
            return
        self._attempts[assignment.fence.run_id] = attempt
        if self._draining:
            attempt.stop(Stop.RELEASE)
        task = asyncio.create_task(self._execute(attempt), name=f"run {assignment.fence.run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _refuse(self, assignment: Assignment, error: Exception) -> None:
        log_failure(error, run_id=assignment.fence.run_id)
        task = asyncio.create_task(self._report_refusal(assignment, error), name=f"refuse {assignment.fence.run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _report_refusal(self, assignment: Assignment, error: Exception) -> None:
        outbox = Outbox(asyncio.get_running_loop())
        header = executors_pb2.ReportRequest.Header(
            fence=assignment.fence, thread_id=assignment.thread_id, graph_id=assignment.graph_id
        )
        reporter = Reporter(self._stub, header, outbox)
        shown = encode(describe(error))
        outbox.put("error", shown)
        reporter.finish(executors_pb2.Outcome(result=executors_pb2.Outcome.RESULT_ERROR, error_json=shown))
        try:
            await reporter.run()
        except LeaseLost:
            log.warning("refusal_not_reported", run_id=assignment.fence.run_id)
        await self._send(executors_pb2.AttachRequest(released=assignment.fence))

    async def _execute(self, attempt: Attempt) -> None:
        fence = attempt.assignment.fence
        try:
            await attempt.run()
        finally:
            if self._attempts.get(fence.run_id) is attempt:
                del self._attempts[fence.run_id]
            if not attempt.slot_freed:
                await self._send(executors_pb2.AttachRequest(released=fence))

    async def _beat(self) -> None:
        while True:
            await self._send_heartbeat()
            await asyncio.sleep(self._beat_seconds)

    async def _send_heartbeat(self) -> None:
        heartbeat = executors_pb2.AttachRequest.Heartbeat(held=self.held(), draining=self._draining)
        await self._send(executors_pb2.AttachRequest(heartbeat=heartbeat))

    async def _send(self, request: executors_pb2.AttachRequest) -> None:
        """Sends if attached; what is missed now, the next `hello` says."""
        async with self._writing:
            if self._call is None:
                return
            try:
                await self._call.write(request)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                log.debug("control_message_not_sent")

    async def drain(self, deadline_seconds: float) -> None:
        """Takes no more runs, lets those it has finish until the deadline, then hands the rest back."""
        self._draining = True
        await self._send_heartbeat()
        log.info("draining", runs=len(self._tasks), deadline_seconds=deadline_seconds)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=deadline_seconds)
        for attempt in list(self._attempts.values()):
            attempt.stop(Stop.RELEASE)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=RELEASE_SECONDS)
