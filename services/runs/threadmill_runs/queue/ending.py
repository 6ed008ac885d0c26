"""The end of a run, in the order that lets nobody see an end before its effects.

First the thread (`end_run`: status, values, interrupts), then the run's terminal state, then the end of the event
stream. Every step is fenced by the attempt's token and may be repeated, so a replica that dies between two steps
leaves a lease behind, the reaper finds it, and the remaining steps are done. Of most successes the executor has
settled the thread already, with its last checkpoint.
"""

from __future__ import annotations  # the async stubs exist for type checkers only

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc
import orjson
import structlog
from redis.exceptions import RedisError
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

from threadmill_runs.errors import LeaseLost
from threadmill_runs.events.log import END_EVENT, EventLog, event
from threadmill_runs.queue.repo import QueueRepo
from threadmill_runs.queue.run import CancelAction, Run, RunState
from threadmill_runs.queue.signals import Signals
from threadmill_runs.webhooks.document import RunEnding, webhook_of
from threadmill_runs.webhooks.recorder import WebhookRecorder

log = structlog.get_logger(__name__)

# Final status of a run that disappears, for those who watch it.
ROLLED_BACK = "rollback"

STATES = {
    executors_pb2.Outcome.RESULT_SUCCESS: RunState.SUCCESS,
    executors_pb2.Outcome.RESULT_ERROR: RunState.ERROR,
    executors_pb2.Outcome.RESULT_TIMEOUT: RunState.TIMEOUT,
    executors_pb2.Outcome.RESULT_CANCELLED: RunState.INTERRUPTED,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends: its outcome, and the action if it was cancelled."""

    outcome: executors_pb2.Outcome
    cancel: CancelAction | None = None
    reason: str = ""

    @property
    def rolled_back(self) -> bool:
        """Whether the run disappears with its checkpoints."""
        return self.cancel is CancelAction.ROLLBACK


class RunEnder:
    """Ends runs of which the caller holds the current token."""

    def __init__(
        self,
        repo: QueueRepo,
        threads: threads_pb2_grpc.ThreadsAsyncStub,
        events: EventLog,
        signals: Signals,
        webhooks: WebhookRecorder,
    ) -> None:
        self._repo = repo
        self._threads = threads
        self._events = events
        self._signals = signals
        self._webhooks = webhooks

    async def end_settled(
        self,
        fence: common_pb2.Fence,
        thread_id: str,
        graph_id: str,
        outcome: executors_pb2.Outcome,
        last_seq: int | None,
    ) -> bool:
        """Ends a run whose thread is settled and that has no webhook and nothing to delete: one statement.

        False if that is not enough, or the attempt no longer owns the run: `end` says which.
        """
        queued = self._signals.queued_count
        ended = await self._repo.end_settled(fence.run_id, fence.token)
        if ended is None:
            return False
        seconds, others_wait = ended
        log.info("run_ended", run_id=fence.run_id, thread_id=thread_id, state="success", seconds=round(seconds, 3))
        end = event(fence.run_id, END_EVENT, _end_data(Ending(outcome)), graph_id=graph_id)
        await self._close(thread_id, fence.token, [end], last_seq)
        if others_wait or queued != self._signals.queued_count:
            await self._signals.wake()
        return True

    async def end(
        self,
        run_id: str,
        token: int,
        outcome: executors_pb2.Outcome,
        *,
        announce_error: bool = False,
        last_seq: int | None = None,
    ) -> None:
        """Ends the run with the outcome of its attempt; raises LeaseLost if the attempt no longer owns it.

        `announce_error`: the stream has not shown the outcome's error yet. `last_seq`: of the attempt's last event.
        """
        run = await self._repo.owned(run_id, token)
        if run is None:
            raise LeaseLost(f"run {run_id} is no longer this attempt's")
        # A run that is to be undone is undone, even if it finished before its executor heard of it.
        cancelled = (
            outcome.result == executors_pb2.Outcome.RESULT_CANCELLED or run.cancel_action is CancelAction.ROLLBACK
        )
        ending = Ending(
            outcome,
            (run.cancel_action or CancelAction.INTERRUPT) if cancelled else None,
            run.cancel_reason or "",
        )
        await self._settle(run, token, ending)
        has_webhook = await self._webhooks.record(run, token, _told(ending))
        ended = (
            await self._repo.delete_owned(run_id, token)
            if ending.rolled_back or run.temporary
            else await self._repo.end(run_id, token, STATES[outcome.result])
        )
        if ended is None:
            raise LeaseLost(f"run {run_id} is no longer this attempt's")
        log.info(
            "run_ended",
            run_id=run_id,
            thread_id=run.thread_id,
            state=_final_status(ending),
            seconds=run.started_at and round((datetime.now(UTC) - run.started_at).total_seconds(), 3),
        )
        if has_webhook:
            self._webhooks.ended()
        await self.close_stream(run, token, ending, outcome.error_json if announce_error else b"", last_seq)
        await self._signals.wake()

    async def _settle(self, run: Run, token: int, ending: Ending) -> None:
        """Ends the run on its thread, unless its executor has; what is to be undone is undone in either case."""
        settled = ending.outcome.thread_settled and not run.temporary
        if ending.rolled_back and not settled:
            await self._rejoin(run)
        if ending.rolled_back or not settled:
            await self._settle_thread(run, token, ending)

    async def _rejoin(self, run: Run) -> None:
        """An attempt that died may have settled the thread, as a success that nobody heard of: not for this run."""
        try:
            await self._threads.BeginRun(
                threads_pb2.BeginRunRequest(
                    thread_id=run.thread_id, run_id=run.run_id, stamp_metadata_json=_stamp(run)
                ),
                wait_for_ready=True,
            )
        except grpc.aio.AioRpcError as error:
            if reason_of(error) != "THREAD_NOT_FOUND":
                raise

    async def end_unstarted(self, run: Run) -> None:
        """Finishes what `request_cancel` began for a pending run: thread, row of a rolled-back run, stream.

        May be repeated.
        """
        action = run.cancel_action or CancelAction.INTERRUPT
        outcome = executors_pb2.Outcome(result=executors_pb2.Outcome.RESULT_CANCELLED, has_next=True)
        ending = Ending(outcome, action, run.cancel_reason or "")
        if not run.token or not await self._settled(run, ending):
            await self.forget(run, 0)
        if ending.rolled_back or run.temporary:
            await self._repo.delete(run.run_id)
        if webhook_of(run.kwargs_json) is not None:
            self._webhooks.ended()
        await self.close_stream(run, run.token, ending)
        await self._signals.wake()

    async def _settled(self, run: Run, ending: Ending) -> bool:
        """An earlier attempt may have left checkpoints. False if a later run of the thread has begun meanwhile."""
        try:
            await self._settle_thread(run, run.token, ending)
        except grpc.aio.AioRpcError as error:
            if reason_of(error) != LeaseLost.reason:
                raise
            return False
        return True

    async def foresee_cancel(self, run_ids: Sequence[str], action: CancelAction, reason: str) -> None:
        """To be called before `request_cancel`, which ends pending runs by itself."""
        await self._webhooks.foresee_cancel(run_ids, action, reason)

    async def forget(self, run: Run, token: int) -> None:
        """Takes a run off its thread, whose state becomes what it was before."""
        await self._threads.EndRun(
            threads_pb2.EndRunRequest(
                thread_id=run.thread_id,
                fence=common_pb2.Fence(run_id=run.run_id, token=token),
                resting=threads_pb2.RestingState(),
                delete_thread=run.temporary,
            ),
            wait_for_ready=True,
        )

    async def _settle_thread(self, run: Run, token: int, ending: Ending) -> None:
        await self._threads.EndRun(
            threads_pb2.EndRunRequest(
                thread_id=run.thread_id,
                fence=common_pb2.Fence(run_id=run.run_id, token=token),
                resting=resting_state(ending),
                delete_thread=run.temporary,
                delete_checkpoints=ending.rolled_back,
                stamp_metadata_json=_stamp(run),
            ),
            wait_for_ready=True,
        )

    async def close_stream(
        self, run: Run, token: int, ending: Ending, error_json: bytes = b"", last_seq: int | None = None
    ) -> None:
        """Tells the watchers."""
        error = [event(run.run_id, "error", error_json)] if error_json else []
        end = event(run.run_id, END_EVENT, _end_data(ending), graph_id=run.graph_id)
        await self._close(run.thread_id, token, [*error, end], last_seq)

    async def _close(self, thread_id: str, token: int, last: Sequence[runs_pb2.Event], last_seq: int | None) -> None:
        """Watchers ask Postgres from time to time, so a Redis that is down delays them only."""
        try:
            await self._events.close(thread_id, token, last, last_seq)
        except (RedisError, OSError) as error:
            log.warning("end_not_published", run_id=last[-1].run_id, error=repr(error))


def _stamp(run: Run) -> bytes:
    """What every run leaves in its thread's metadata."""
    return orjson.dumps({"graph_id": run.graph_id, "assistant_id": run.assistant_id})


def resting_state(ending: Ending) -> threads_pb2.RestingState:
    """What the thread shows after a run has ended so (contract: threads.md, row fields over time)."""
    outcome = ending.outcome
    if ending.rolled_back:
        error = {"error": "UserRollback", "message": ending.reason}
        return threads_pb2.RestingState(state=threads_pb2.THREAD_STATE_IDLE, error_json=orjson.dumps(error))
    paused = threads_pb2.THREAD_STATE_INTERRUPTED if outcome.has_next else threads_pb2.THREAD_STATE_IDLE
    error_json = b"null"
    if outcome.result == executors_pb2.Outcome.RESULT_CANCELLED:
        error_json = orjson.dumps({"error": "UserInterrupt", "message": ending.reason})
    elif outcome.result != executors_pb2.Outcome.RESULT_SUCCESS:
        paused = threads_pb2.THREAD_STATE_ERROR
        error_json = outcome.error_json or b"null"
    return threads_pb2.RestingState(
        state=paused,
        values_json=outcome.values_json,
        interrupts_json=outcome.interrupts_json,
        error_json=error_json,
    )


def _final_status(ending: Ending) -> str:
    return ROLLED_BACK if ending.rolled_back else STATES[ending.outcome.result].value


def _told(ending: Ending) -> RunEnding:
    """The ending as webhooks tell it."""
    return RunEnding(_final_status(ending), resting_state(ending).error_json)


def _end_data(ending: Ending) -> bytes:
    data: dict[str, object] = {"status": _final_status(ending), "at": time.time_ns() // 1_000_000}
    if ending.outcome.several_interrupts_json and not ending.rolled_back:
        data["interrupts"] = orjson.Fragment(ending.outcome.several_interrupts_json)
    if ending.outcome.interrupts_json not in (b"", b"{}"):
        data["paused"] = True
    if ending.outcome.error_json:
        data["error"] = orjson.Fragment(ending.outcome.error_json)
    return orjson.dumps(data)


def end_status(data_json: bytes) -> tuple[str, list[dict[str, object]]]:
    """What an END event says: the run's final status, and its interrupts if there are several."""
    data = orjson.loads(data_json)
    return data["status"], data.get("interrupts", [])


def lost_outcome(error: str, message: str) -> executors_pb2.Outcome:
    """The outcome of a run that nobody will finish."""
    return executors_pb2.Outcome(
        result=executors_pb2.Outcome.RESULT_ERROR, error_json=orjson.dumps({"error": error, "message": message})
    )
