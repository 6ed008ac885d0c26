"""Finds runs whose executor has gone, and threads that are busy for nothing."""

from __future__ import annotations  # the async stubs exist for type checkers only

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
import structlog
from threadmill_chassis.errors import Unavailable
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import executors_pb2
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

from threadmill_runs.errors import LeaseLost
from threadmill_runs.queue.ending import RunEnder, lost_outcome
from threadmill_runs.queue.repo import QueueRepo
from threadmill_runs.queue.run import Run, RunState
from threadmill_runs.queue.signals import Signals

log = structlog.get_logger(__name__)

BATCH = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run is not waited for any longer; in seconds."""

    max_attempts: int
    lease_seconds: float
    # How long a run waits for an executor of a graph that is no longer served: a deployment may be under way.
    unserved_seconds: float


class Reaper:
    """Hands expired runs on, or ends them. Every replica has one; SKIP LOCKED keeps them apart."""

    def __init__(self, repo: QueueRepo, ender: RunEnder, signals: Signals, limits: Limits) -> None:
        self._repo = repo
        self._ender = ender
        self._signals = signals
        self._limits = limits

    async def run(self, interval_seconds: float) -> None:
        """Reaps what has expired, for ever."""
        await _repeat(self.reap, interval_seconds, "reaping_postponed")

    async def run_unserved(self, interval_seconds: float) -> None:
        """Reaps what nobody serves, for ever."""
        await _repeat(self.reap_unserved, interval_seconds, "reaping_postponed")

    async def reap(self) -> None:
        """One pass over what has expired."""
        limits = self._limits
        requeued = await self._repo.requeue_expired(limits.max_attempts, BATCH)
        for run_id, thread_id, attempt in requeued:
            log.warning("run_requeued", run_id=run_id, thread_id=thread_id, attempt=attempt, cause="lease expired")
        if requeued:
            await self._signals.wake()
        for run in await self._repo.take_over_expired(limits.max_attempts, BATCH, limits.lease_seconds):
            await self._end(run, self._outcome_of_expired(run))

    async def reap_unserved(self) -> None:
        """Ends runs of graphs that no executor serves any more: nobody would ever take them."""
        limits = self._limits
        for run in await self._repo.take_over_unserved(limits.unserved_seconds, BATCH, limits.lease_seconds):
            log.warning("run_unserved", run_id=run.run_id, thread_id=run.thread_id, graph_id=run.graph_id)
            await self._end(run, lost_outcome("GraphNotFound", f"no executor serves graph '{run.graph_id}' any more"))

    def _outcome_of_expired(self, run: Run) -> executors_pb2.Outcome:
        if run.cancel_action is not None:
            return executors_pb2.Outcome(result=executors_pb2.Outcome.RESULT_CANCELLED, has_next=True)
        return lost_outcome(
            "RunLost", f"the executor was lost {run.attempt} times while it ran this; no attempts are left"
        )

    async def _end(self, run: Run, outcome: executors_pb2.Outcome) -> None:
        try:
            await self._ender.end(run.run_id, run.token, outcome, announce_error=True)
        except LeaseLost:
            return
        except (Unavailable, grpc.aio.AioRpcError) as error:  # the others' turn; this one's lease ends once more
            log.warning("end_of_lost_run_postponed", run_id=run.run_id, error=str(error))


class Reconciler:
    """Frees threads that a crash left busy: between BeginRun and the insert, or between an end and EndRun.

    Threads that were to disappear with their run do.
    """

    def __init__(self, repo: QueueRepo, threads: threads_pb2_grpc.ThreadsAsyncStub, ender: RunEnder) -> None:
        self._repo = repo
        self._threads = threads
        self._ender = ender

    async def run(self, interval_seconds: float) -> None:
        """Reconciles for ever."""
        await _repeat(
            lambda: self.reconcile(min_age_seconds=interval_seconds), interval_seconds, "reconciling_postponed"
        )

    async def reconcile(self, min_age_seconds: float) -> int:
        """One pass over all busy threads and leftover runs; answers how many runs it took off their threads."""
        for run in await self._repo.leftovers(min_age_seconds, BATCH):
            log.warning("leftover_run_removed", run_id=run.run_id, thread_id=run.thread_id, state=run.state)
            await self._ender.end_unstarted(run)
        after, freed = "", 0
        while True:
            page = await self._threads.ListActiveRuns(
                threads_pb2.ListActiveRunsRequest(min_age_seconds=min_age_seconds, limit=BATCH, after_thread_id=after)
            )
            if not page.active_runs:
                return freed
            freed += await self._free(page)
            after = page.active_runs[-1].thread_id

    async def _free(self, page: threads_pb2.ListActiveRunsResponse) -> int:
        states = await self._repo.states([active.run_id for active in page.active_runs])
        freed = 0
        for active in page.active_runs:
            state = states.get(active.run_id)
            if state is not None and state.active:
                continue
            log.warning("thread_freed", thread_id=active.thread_id, run_id=active.run_id, state=state)
            run = await self._repo.get(active.run_id) if state is RunState.INTERRUPTED else None
            if run is not None:
                await self._ender.end_unstarted(run)
            await self._take_off(active)
            freed += 1
        return freed

    async def _take_off(self, active: threads_pb2.ListActiveRunsResponse.ActiveRun) -> None:
        """Changes nothing if the run has been taken off its thread already."""
        await self._threads.EndRun(
            threads_pb2.EndRunRequest(
                thread_id=active.thread_id,
                fence=common_pb2.Fence(run_id=active.run_id, token=0),
                resting=threads_pb2.RestingState(),
                delete_thread=active.thread_id == active.run_id,  # the thread of a run that leaves nothing behind
            )
        )


async def _repeat(work: Callable[[], Awaitable[object]], interval_seconds: float, postponed: str) -> None:
    """Works after each interval, for ever; logs the event `postponed` when a service that it needs is away."""
    while True:
        await asyncio.sleep(interval_seconds)
        try:
            await work()
        except (Unavailable, grpc.aio.AioRpcError) as error:
            log.warning(postponed, error=str(error))
