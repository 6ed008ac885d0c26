"""One attempt, seen from the control loop: its graph, its report, and whoever wants it to stop."""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import structlog
from threadmill_protos.runs.v1 import executors_pb2

from threadmill_runs.executor.checkpoints.errors import LeaseLost, SaverClosed
from threadmill_runs.executor.checkpoints.saver import GrpcSaver
from threadmill_runs.executor.encoding import encode
from threadmill_runs.executor.loops import UserLoops, Work, finished
from threadmill_runs.executor.running.execution import CANCELLED_ITSELF, Execution
from threadmill_runs.executor.running.failures import describe, log_failure
from threadmill_runs.executor.running.reporter import Reporter, ReportRefused
from threadmill_runs.executor.running.run_end import run_end

log = structlog.get_logger(__name__)

Outcome = executors_pb2.Outcome

# So long a cancelled graph may take to stop by itself; a node that blocks its loop is then left behind.
STOP_GRACE_SECONDS = 2.0
# Reading the state in which a stopped run leaves its thread calls the user's factory, which may hang.
REST_SECONDS = 10.0
# The contract's words for a run whose time was up.
TIMED_OUT = encode({"error": "TimeoutError", "message": ""})


class Stop(IntEnum):
    """Why an attempt is to stop before its graph has ended; the higher, the graver."""

    # Another run blocks the loop: go on elsewhere, now.
    MOVE = 1
    RELEASE = 2
    TIMEOUT = 3
    # Graver than the time-out: a cancel is never lost, and it may ask for a rollback.
    CANCEL = 4
    LEASE_LOST = 5


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
        self._reason: Stop | None = None
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def assignment(self) -> executors_pb2.AttachResponse.Assignment:
        """What it executes."""
        return self._execution.assignment

    @property
    def slot_freed(self) -> bool:
        """Whether the runs api knows already that it has left its slot."""
        return self._reporter.slot_freed

    def stop(self, reason: Stop) -> None:
        """Asks the attempt to stop."""
        if self._reason is None or reason > self._reason:
            self._reason = reason
        if not self._stopped.done():
            self._stopped.set_result(None)

    async def run(self) -> None:
        """From the first event until the outcome is durable, or the lease is lost."""
        report = asyncio.create_task(self._reporter.run(), name=f"report {self.assignment.fence.run_id}")
        # On the control loop, which no user code blocks.
        time_limit = asyncio.get_running_loop().call_later(
            self.assignment.timeout_seconds, lambda: self.stop(Stop.TIMEOUT)
        )
        try:
            outcome = await self._outcome(report)
            if outcome is not None:
                self._reporter.finish(outcome)
                await report
        except LeaseLost:
            log.warning("run_abandoned", run_id=self.assignment.fence.run_id, cause="lease lost")
        except ReportRefused as error:
            await self._give_up(error)
        finally:
            time_limit.cancel()
            if self._saver is not None:
                self._saver.close()
            self._execution.outbox.close()
            report.cancel()
            await asyncio.gather(report, return_exceptions=True)

    async def _give_up(self, error: "ReportRefused") -> None:
        """What the attempt has to say is not taken: the run ends in an error that says so, and nothing else."""
        log_failure(error, run_id=self.assignment.fence.run_id)
        try:
            await self._reporter.report_error(encode(describe(error)))
        except (LeaseLost, ReportRefused) as last:
            # Nobody renews the lease from here on, so another attempt follows, or the reaper ends the run.
            log.warning("run_abandoned", run_id=self.assignment.fence.run_id, cause=str(last))

    async def _outcome(self, report: "asyncio.Task[None]") -> Outcome | None:
        """How the graph ended; None if the attempt has nothing more to say. Raises what ended the report."""
        work = self._loops.start(
            self._execution.run(),
            graph_id=self.assignment.graph_id,
            label=f"graph {self.assignment.graph_id}, run {self.assignment.fence.run_id}",
            on_stalled=lambda: self.stop(Stop.MOVE),
        )
        ended = asyncio.ensure_future(finished(work))
        waited: list[asyncio.Future[Any]] = [ended, self._stopped, report]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            settling = self._settling(self._result(ended))
            waited = [settling, self._stopped, report]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if settling.done():
                return settling.result()
            return await self._interrupted(settling, report)
        if report.done():
            self.stop(Stop.LEASE_LOST)
        await self._halt(work, ended, 0 if self._reason is Stop.MOVE else STOP_GRACE_SECONDS)
        return await self._interrupted(self._settling(self._finished(ended)), report)

    def _settling(self, outcome: Outcome | None) -> "asyncio.Task[Outcome | None]":
        return asyncio.create_task(self._settle(outcome), name=f"settle {self.assignment.fence.run_id}")

    async def _settle(self, outcome: Outcome | None) -> Outcome | None:
        """The outcome, once all that the graph has written is durable; a success ends the run at threads as well."""
        saver = self._saver
        if saver is None or (outcome is not None and outcome.thread_settled):
            return outcome
        try:
            if outcome is not None and outcome.result == Outcome.RESULT_SUCCESS:
                outcome.thread_settled = await saver.end(self.assignment.thread_id, run_end(self.assignment, outcome))
            await saver.settled()
        except SaverClosed:
            return None
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001  # a write that was refused, however: the run must end all the same
            if outcome is None or outcome.result != Outcome.RESULT_SUCCESS:
                return outcome
            shown = self._failure(error).error_json
            outcome = await self._resting(Outcome.RESULT_ERROR)
            outcome.error_json = shown
        return outcome

    async def _interrupted(
        self, settling: "asyncio.Task[Outcome | None]", report: "asyncio.Task[None]"
    ) -> Outcome | None:
        """The outcome of an attempt that was told to stop: the graph's if it is durable soon, else the reason's."""
        if not report.done() and self._reason is not Stop.LEASE_LOST:
            await asyncio.wait([settling, report], timeout=STOP_GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        settled = settling.result() if settling.done() else None
        settling.cancel()
        if self._saver is not None:
            self._saver.close()
        if report.done():
            report.result()
        if self._reason is Stop.LEASE_LOST:
            return None
        return settled or await self._stopped_outcome()

    def _finished(self, ended: "asyncio.Future[Outcome]") -> Outcome | None:
        """What the graph ended with, if it succeeded before it could be handed back."""
        if self._reason not in (Stop.RELEASE, Stop.MOVE) or not ended.done() or ended.cancelled():
            return None
        if ended.exception() is not None or ended.result().result != Outcome.RESULT_SUCCESS:
            return None
        return ended.result()

    def _result(self, ended: "asyncio.Future[Outcome]") -> Outcome | None:
        try:
            return ended.result()
        except (LeaseLost, SaverClosed):
            return None
        except asyncio.CancelledError:  # of the graph's task, before it could say so itself
            return self._failure(RuntimeError(CANCELLED_ITSELF))
        except Exception as error:  # noqa: BLE001  # a defect of ours; the run must end all the same
            return self._failure(error)

    def _failure(self, error: Exception) -> Outcome:
        log_failure(error, run_id=self.assignment.fence.run_id)
        shown = encode(describe(error))
        self._execution.outbox.put("error", shown)
        return Outcome(result=Outcome.RESULT_ERROR, error_json=shown)

    async def _halt(self, work: "Work[Outcome]", ended: "asyncio.Future[Outcome]", grace_seconds: float) -> None:
        """Cancels the graph; leaves it behind if user code does not let go."""
        # Before the outbox, which lets waiting checkpoints go: a step whose events are lost must be executed again.
        if self._reason is Stop.LEASE_LOST and self._saver is not None:
            self._saver.close()
        self._execution.outbox.close()  # before the cancel: by it the graph knows that the cancel is ours
        work.cancel()
        await asyncio.wait({ended}, timeout=grace_seconds)
        if not ended.done():
            log.warning("user_code_left_behind", run_id=self.assignment.fence.run_id, where=work.loop.where())

    async def _stopped_outcome(self) -> Outcome:
        if self._reason in (Stop.RELEASE, Stop.MOVE):
            return Outcome(result=Outcome.RESULT_RELEASED)
        if self._reason is Stop.CANCEL:
            return await self._resting(Outcome.RESULT_CANCELLED)
        log.warning("run_timed_out", run_id=self.assignment.fence.run_id, seconds=self.assignment.timeout_seconds)
        outcome = await self._resting(Outcome.RESULT_TIMEOUT)
        outcome.error_json = TIMED_OUT
        return outcome

    async def _resting(self, result: "Outcome.Result.ValueType") -> Outcome:
        """The state in which the thread is left, read on a loop that nothing blocks."""
        reader = self._execution.with_saver(self._read_saver() if self._saver is not None else None)
        read = asyncio.ensure_future(self._loops.run(reader.rest(result)))
        await asyncio.wait({read}, timeout=REST_SECONDS)
        if read.done() and not read.cancelled() and read.exception() is None:
            return read.result()
        read.cancel()
        log.warning("resting_state_unknown", run_id=self.assignment.fence.run_id)
        return Outcome(result=result)
