"""Cancelling and deleting runs, in whatever state they are and whichever replica is asked."""

from __future__ import annotations  # the async stubs exist for type checkers only

from collections.abc import Sequence

import grpc
import structlog
from threadmill_chassis.errors import Unavailable

from threadmill_runs.errors import NotCancellable, RunNotFound
from threadmill_runs.queue.ending import Ending, RunEnder, lost_outcome
from threadmill_runs.queue.repo import QueueRepo
from threadmill_runs.queue.run import CancelAction, Run, RunState
from threadmill_runs.queue.signals import Signals

log = structlog.get_logger(__name__)

BULK_LIMIT = 1000


class Canceller:
    """Stops runs. What it has answered is in Postgres, so nothing that dies later can undo it."""

    def __init__(self, repo: QueueRepo, ender: RunEnder, signals: Signals) -> None:
        self._repo = repo
        self._ender = ender
        self._signals = signals

    async def cancel(self, run_ids: Sequence[str], action: CancelAction, reason: str) -> list[Run]:
        """Cancels those of the runs that are active, and answers them; pending ones have ended on return."""
        await self._ender.foresee_cancel(run_ids, action, reason)
        cancelled = await self._repo.request_cancel(run_ids, action, reason)
        for run in cancelled:
            if run.state is not RunState.INTERRUPTED:
                await self._signals.stop(run.run_id)
        for run in cancelled:
            if run.state is RunState.INTERRUPTED:
                await self._end_unstarted(run)
        return cancelled

    async def _end_unstarted(self, run: Run) -> None:
        """The cancel is durable: where its consequences cannot be drawn now, the reconciler will."""
        try:
            await self._ender.end_unstarted(run)
        except (Unavailable, grpc.aio.AioRpcError) as error:
            log.warning("end_of_cancelled_run_postponed", run_id=run.run_id, error=repr(error))

    async def cancel_named(
        self, thread_id: str | None, run_ids: Sequence[str], action: CancelAction, reason: str
    ) -> list[Run]:
        """As `cancel`, for runs that a client names; raises RunNotFound, NotCancellable."""
        known = await self._repo.existing(run_ids, thread_id)
        if not known:
            raise RunNotFound("No runs found to cancel.")
        cancelled = await self.cancel(known, action, reason)
        if not cancelled:
            raise NotCancellable("No matching runs to cancel. The runs may have ended already.")
        return cancelled

    async def cancel_all(self, states: Sequence[RunState], action: CancelAction, reason: str) -> list[Run]:
        """Cancels every run in the given states, batch by batch."""
        cancelled: dict[str, Run] = {}
        while run_ids := await self._repo.cancellable(states, BULK_LIMIT):
            known = len(cancelled)
            cancelled |= {run.run_id: run for run in await self.cancel(run_ids, action, reason)}
            if len(run_ids) < BULK_LIMIT or len(cancelled) == known:
                break
        if not cancelled:
            raise NotCancellable("No runs found to cancel.")
        return list(cancelled.values())

    async def delete(self, run_id: str, thread_id: str | None) -> None:
        """Deletes a run; one that executes is stopped, and its thread does not stay busy. Raises RunNotFound."""
        deleted = await self._repo.delete(run_id, thread_id)
        if deleted is None:
            raise RunNotFound("Run not found")
        await self._stop_deleted(*deleted)

    async def delete_of_thread(self, thread_id: str) -> None:
        """Deletes all runs of a thread, batch by batch."""
        while deleted := await self._repo.delete_of_thread(thread_id, BULK_LIMIT):
            for run, token in deleted:
                await self._stop_deleted(run, token)

    async def _stop_deleted(self, run: Run, token: int) -> None:
        if not run.state.active:
            return
        # A run that was never claimed has no attempt to shut out, and another run may hold its thread's fence.
        token = token if run.token else 0
        await self._signals.stop(run.run_id)
        try:
            await self._ender.forget(run, token)
        except grpc.aio.AioRpcError as error:  # the reconciler does it
            log.warning("thread_of_deleted_run_not_freed", run_id=run.run_id, error=repr(error))
        await self._ender.close_stream(run, token, Ending(lost_outcome("RunDeleted", ""), CancelAction.ROLLBACK))
        await self._signals.wake()
