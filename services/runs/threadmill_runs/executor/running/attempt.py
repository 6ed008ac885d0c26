"""One attempt, seen from the control loop: its graph, its report, and whoever wants it to stop."""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any

import structlog
from threadmill_protos.runs.v1 import executors_pb2

from threadmill_runs.executor.checkpoints.errors import LeaseLost, SaverClosed
from threadmill_runs.executor.checkpoints.saver import GrpcSaver
from threadmill_runs.executor.encoding import encode
from threadmill_runs.executor.loops import UserLoops, Work, finished
from threadmill_runs.executor.running.execution import Execution
from threadmill_runs.executor.running.failures import describe, log_failure
from threadmill_runs.executor.running.reporter import Reporter

log = structlog.get_logger(__name__)

Outcome = executors_pb2.Outcome

# So long a cancelled graph may take to stop by itself; a node that blocks its loop is then left behind.
STOP_GRACE_SECONDS = 2.0


class Stop(Enum):
    """Why an attempt is to stop before its graph has ended."""

    CANCEL = "cancel"
    RELEASE = "release"
    # Another run blocks the loop: go on elsewhere, now.
    MOVE = "move"
    LEASE_LOST = "lease lost"


class Attempt:
    """Runs an assignment. `stop` may be called at any time, and more than once; the gravest reason counts."""

    def __init__(
        self,
        execution: Execution,
        reporter: Reporter,
        loops: UserLoops,
        saver: GrpcSaver | None,
        read_saver: Callable[[], GrpcSaver],
    ) -> None:
        self._execution = execution
        self._reporter = reporter
        self._loops = loops
        self._saver = saver
        self._read_saver = read_saver
        self._stop: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()

    @property
    def assignment(self) -> executors_pb2.AttachResponse.Assignment:
        """What it executes."""
        return self._execution.assignment

    def stop(self, reason: Stop) -> None:
        """Asks the attempt to stop."""
        if not self._stop.done():
            self._stop.set_result(reason)

    async def run(self) -> None:
        """From the first event until the outcome is durable, or the lease is lost."""
        report = asyncio.create_task(self._reporter.run(), name=f"report {self.assignment.fence.run_id}")
        try:
            outcome = await self._outcome(report)
            if outcome is not None:
                self._reporter.finish(outcome)
                await report
        except LeaseLost:
            log.warning("run_abandoned", run_id=self.assignment.fence.run_id, cause="lease lost")
        finally:
            self._execution.outbox.close()
            if self._saver is not None:
                self._saver.close()
            report.cancel()
            await asyncio.gather(report, return_exceptions=True)

    async def _outcome(self, report: "asyncio.Task[None]") -> Outcome | None:
        """How the graph ended; None if the attempt has nothing more to say."""
        work = self._loops.start(
            self._execution.run(),
            graph_id=self.assignment.graph_id,
            label=f"graph {self.assignment.graph_id}, run {self.assignment.fence.run_id}",
            on_stalled=lambda: self.stop(Stop.MOVE),
        )
        ended = asyncio.ensure_future(finished(work))
        waited: list[asyncio.Future[Any]] = [ended, self._stop, report]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if report.done() and not ended.done():
            self.stop(Stop.LEASE_LOST)
        if ended.done() and not (ended.cancelled() or isinstance(ended.exception(), asyncio.CancelledError)):
            return self._result(ended)
        reason = self._stop.result() if self._stop.done() else None
        await self._halt(work, ended, 0 if reason is Stop.MOVE else STOP_GRACE_SECONDS)
        if reason is Stop.LEASE_LOST:
            return None
        if reason in (Stop.RELEASE, Stop.MOVE):
            return Outcome(result=Outcome.RESULT_RELEASED)
        if reason is Stop.CANCEL:
            return await self._resting(Outcome.RESULT_CANCELLED)
        return self._failure(RuntimeError("the graph cancelled itself"))

    def _result(self, ended: "asyncio.Future[Outcome]") -> Outcome | None:
        try:
            return ended.result()
        except (LeaseLost, SaverClosed):
            return None
        except Exception as error:  # noqa: BLE001  # a defect of ours; the run must end all the same
            return self._failure(error)

    def _failure(self, error: Exception) -> Outcome:
        log_failure(error, run_id=self.assignment.fence.run_id)
        return Outcome(result=Outcome.RESULT_ERROR, error_json=encode(describe(error)))

    async def _halt(self, work: "Work[Outcome]", ended: "asyncio.Future[Outcome]", grace_seconds: float) -> None:
        """Cancels the graph; leaves it behind, unable to write, if user code does not let go."""
        work.cancel()
        self._execution.outbox.close()
        await asyncio.wait({ended}, timeout=grace_seconds)
        if ended.done():
            ended.cancelled() or ended.exception()  # seen
            return
        log.warning("user_code_left_behind", run_id=self.assignment.fence.run_id, where=work.loop.where())
        if self._saver is not None:
            self._saver.close()

    async def _resting(self, result: "Outcome.Result.ValueType") -> Outcome:
        """The state in which the thread is left, read on a loop that nothing blocks."""
        reader = self._execution.with_saver(self._read_saver() if self._saver is not None else None)
        return await self._loops.run(reader.rest(result))
