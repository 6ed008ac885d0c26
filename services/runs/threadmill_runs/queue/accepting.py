"""Accepting a run: assistant resolved, thread marked busy, strategy applied, row in the queue or at work at once."""

from __future__ import annotations  # the async stubs exist for type checkers only

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import grpc
import orjson
import structlog
from threadmill_chassis.errors import InvalidArgument
from threadmill_chassis.grpc_errors import reason_of
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

from threadmill_runs.assistants.cache import AssistantCache
from threadmill_runs.assistants.domain import Assistant
from threadmill_runs.errors import AssistantNotFound, GraphNotFound, InvalidAssistant, RunNotFound, ThreadBusy
from threadmill_runs.queue.attachment import Reservation
from threadmill_runs.queue.cancelling import Canceller
from threadmill_runs.queue.dispatcher import Dispatcher
from threadmill_runs.queue.ending import RunEnder
from threadmill_runs.queue.new_run import check, merged_config, new_run, new_thread_metadata, thread_of
from threadmill_runs.queue.repo import BUSY, QueueRepo
from threadmill_runs.queue.run import CancelAction, Claim, Inserted, NewRun, Run, RunState, Strategy
from threadmill_runs.queue.signals import Signals

log = structlog.get_logger(__name__)

T = TypeVar("T")

# A create whose thread cannot be marked within this time fails; whoever sent it may repeat it.
BEGIN_SECONDS = 10.0

# Runs of one batch that are accepted side by side.
ACCEPTS_AT_ONCE = 8

STRATEGIES = {
    runs_pb2.MULTITASK_STRATEGY_UNSPECIFIED: Strategy.ENQUEUE,
    runs_pb2.MULTITASK_STRATEGY_ENQUEUE: Strategy.ENQUEUE,
    runs_pb2.MULTITASK_STRATEGY_REJECT: Strategy.REJECT,
    runs_pb2.MULTITASK_STRATEGY_INTERRUPT: Strategy.INTERRUPT,
    runs_pb2.MULTITASK_STRATEGY_ROLLBACK: Strategy.ROLLBACK,
}
NO_ASSISTANT = (AssistantNotFound, InvalidAssistant, GraphNotFound)
SUPERSEDING = {Strategy.INTERRUPT: CancelAction.INTERRUPT, Strategy.ROLLBACK: CancelAction.ROLLBACK}


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run as it was when it was accepted; if the call was `repeated`, as it is now.

    `begun`: an executor that is attached here has got it already.
    """

    run: Run
    repeated: bool = False
    begun: bool = False


# Called before the run can have events: with True if they will probably arise at this replica.
Prepare = Callable[[bool], Awaitable[None]]


async def _nothing(begins_here: bool) -> None:
    """For those who do not watch the run."""


class Acceptor:
    """Creates runs. Safe to repeat with the same run id: the second call answers the first's run."""

    def __init__(
        self,
        assistants: AssistantCache,
        repo: QueueRepo,
        threads: threads_pb2_grpc.ThreadsAsyncStub,
        canceller: Canceller,
        ender: RunEnder,
        dispatcher: Dispatcher,
        signals: Signals,
        is_active: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._assistants = assistants
        self._repo = repo
        self._threads = threads
        self._canceller = canceller
        self._ender = ender
        self._dispatcher = dispatcher
        self._signals = signals
        self._is_active = is_active
        self._tasks: set[asyncio.Task[Any]] = set()

    async def accept(self, request: runs_pb2.CreateRunRequest, prepare: Prepare = _nothing) -> Accepted:
        """Queues a run, or begins it.

        Raises InvalidArgument, InvalidAssistant, AssistantNotFound, GraphNotFound, ThreadBusy, and threads'
        THREAD_NOT_FOUND; RunNotFound for a repeated call whose run has ended and left nothing behind.
        """
        check(request)
        may_be_known = bool(request.run_id)
        request.run_id = request.run_id or new_id()
        try:
            return await self._accept(request, prepare)
        except (*NO_ASSISTANT, ThreadBusy, grpc.aio.AioRpcError) as error:
            if isinstance(error, grpc.aio.AioRpcError) and reason_of(error) != "THREAD_NOT_FOUND":
                raise
            # What was there when the call came first may have gone since.
            known = await self._repo.get(request.run_id) if may_be_known else None
            if known is None:
                raise
        return await self._repeated(known)

    async def accept_all(self, requests: Sequence[runs_pb2.CreateRunRequest]) -> list[Accepted]:
        """Queues all of the runs or none. All are checked before the first; raises as `accept`."""
        for request in requests:
            check(request)
            request.run_id = request.run_id or new_id()
            merged_config(request, await self._assistants.resolve(request.assistant_id))
        free = asyncio.Semaphore(ACCEPTS_AT_ONCE)

        async def accept(request: runs_pb2.CreateRunRequest) -> Accepted:
            async with free:
                return await self.accept(request)

        outcomes = await asyncio.gather(*map(accept, requests), return_exceptions=True)
        failures = [each for each in outcomes if isinstance(each, BaseException)]
        accepted = [each for each in outcomes if isinstance(each, Accepted)]
        if failures and accepted:
            run_ids = [each.run.run_id for each in accepted]
            await self._canceller.cancel(run_ids, CancelAction.ROLLBACK, "another run of the batch was refused")
        for failure in failures:
            raise failure
        return accepted

    async def _accept(self, request: runs_pb2.CreateRunRequest, prepare: Prepare) -> Accepted:
        stateless = not request.thread_id
        strategy = Strategy.ENQUEUE if stateless else STRATEGIES[request.multitask_strategy]
        thread_id = thread_of(request, request.run_id)
        if strategy is Strategy.REJECT and await self._other_active(thread_id, request.run_id):
            raise ThreadBusy(BUSY)
        assistant: Assistant | None = await self._assistants.resolve(request.assistant_id)
        while assistant is not None:
            merged = merged_config(request, assistant)
            begun = await self._begin(request, assistant, thread_id)
            new = new_run(request, assistant, merged, begun.thread, request.run_id, strategy, stateless=stateless)
            try:
                inserted = await self._insert(new, begun, prepare)
                if inserted is not None and inserted.repeated:
                    return await self._repeated(inserted.run)
                if inserted is not None:
                    return _accepted(inserted)
                assistant = await self._assistants.changed(request.assistant_id, assistant)
            except (*NO_ASSISTANT, InvalidArgument, ThreadBusy):
                await self._abandon(new)
                raise
        await self._abandon(new)
        raise RunNotFound("Run not found: it has ended and was not to be kept")

    async def _other_active(self, thread_id: str, run_id: str) -> bool:
        return any(active != run_id for active in await self._repo.active_run_ids(thread_id))

    async def _begin(
        self, request: runs_pb2.CreateRunRequest, assistant: Assistant, thread_id: str
    ) -> threads_pb2.BeginRunResponse:
        stamp = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
        return await self._threads.BeginRun(
            threads_pb2.BeginRunRequest(
                thread_id=thread_id,
                run_id=request.run_id,
                create_if_missing=request.create_thread_if_missing or not request.thread_id,
                stamp_metadata_json=orjson.dumps(stamp),
                new_thread_metadata_json=new_thread_metadata(request),
                config_json=request.config_json,
                config_defaults_json=assistant.config_json,
            ),
            timeout=BEGIN_SECONDS,
        )

    async def _insert(self, new: NewRun, begun: threads_pb2.BeginRunResponse, prepare: Prepare) -> Inserted | None:
        """Writes the row, and what follows from it at once. A caller who leaves meanwhile does not stop it halfway."""
        reservation = None
        if new.after_seconds <= 0 and _was_idle(begun):
            reservation = self._dispatcher.reserve(new.graph_id, new.run_id)
        try:
            await prepare(reservation is not None)
        except BaseException:
            if reservation is not None:
                self._dispatcher.give_up(reservation)
            raise
        write = self._queue(new) if reservation is None else self._begin_here(new, reservation, begun.is_empty)
        task = self._spawn(self._superseding(write))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            raise

    async def _superseding(self, write: Awaitable[Inserted | None]) -> Inserted | None:
        inserted = await write
        if inserted is not None and not inserted.repeated and inserted.others and inserted.run.strategy in SUPERSEDING:
            await self._supersede(inserted.others, inserted.run)
        return inserted

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _queue(self, new: NewRun) -> Inserted | None:
        inserted = await self._repo.insert(new)
        if inserted is not None and not inserted.repeated:
            await self._signals.queued(new.graph_id)
        return inserted

    async def _begin_here(self, new: NewRun, reservation: Reservation, thread_is_empty: bool) -> Inserted | None:
        """Inserts the run as one that the executor of the reservation has claimed, and hands it over."""
        inserted = None
        try:
            lease = (reservation.attachment.executor_id, self._dispatcher.lease_seconds)
            inserted = await self._repo.insert(new, lease)
        finally:
            if inserted is None or not inserted.begun:
                self._dispatcher.give_up(reservation)
        if inserted is not None and inserted.begun:
            # Another run may have come and gone on the thread since it was found empty; its row is still there.
            claim = Claim(inserted.run, False, 0.0, thread_is_empty=thread_is_empty and inserted.is_first)
            # Redis may take its time; the client need not wait.
            self._spawn(self._dispatcher.assign(reservation, claim))
        elif inserted is not None and not inserted.repeated:
            await self._signals.queued(new.graph_id)
        return inserted

    async def _supersede(self, others: list[str], run: Run) -> None:
        await self._canceller.cancel(others, SUPERSEDING[run.strategy], f"superseded by run {run.run_id}")

    async def _repeated(self, run: Run) -> Accepted:
        """The run that the first call has accepted; that call may have died before it cancelled what was older."""
        if not run.state.active:
            await self._take_off(run)
            return Accepted(run, repeated=True)
        if run.strategy in SUPERSEDING:
            active = await self._repo.active_run_ids(run.thread_id)
            older = active[: active.index(run.run_id)] if run.run_id in active else []
            if older:
                await self._supersede(older, run)
        self._spawn(self._take_off_if_ended(run))
        return Accepted(run, repeated=True)

    async def _take_off_if_ended(self, run: Run) -> None:
        """The run's thread may have been settled, and its row about to end, when this call put it on the thread again.

        A moment later that has come out. Where it has not, because a replica died, the reconciler finds it.
        """
        if not await self._is_active(run.run_id):
            await self._take_off(run)

    async def _take_off(self, run: Run) -> None:
        try:
            await self._ender.forget(run, 0)
        except grpc.aio.AioRpcError as error:  # the reconciler does it
            log.warning("thread_of_ended_run_not_freed", run_id=run.run_id, error=repr(error))

    async def _abandon(self, new: NewRun) -> None:
        """Takes back `_begin` of a run that was refused. Should this replica die first, the reconciler does it."""
        try:
            await self._threads.EndRun(
                threads_pb2.EndRunRequest(
                    thread_id=new.thread_id,
                    fence={"run_id": new.run_id, "token": 0},  # type: ignore[arg-type]  # protobuf takes dicts for messages
                    resting=threads_pb2.RestingState(),
                    delete_thread=new.stateless,
                ),
                timeout=BEGIN_SECONDS,
            )
        except grpc.aio.AioRpcError as error:
            log.warning("thread_of_refused_run_not_freed", run_id=new.run_id, error=repr(error))


def _accepted(inserted: Inserted) -> Accepted:
    run = inserted.run
    log.debug("run_created", run_id=run.run_id, thread_id=run.thread_id, strategy=run.strategy.value)
    if inserted.begun:
        run = replace(run, state=RunState.PENDING, attempt=0)
    return Accepted(run, begun=inserted.begun)


def _was_idle(begun: threads_pb2.BeginRunResponse) -> bool:
    """Whether the thread had no active run before: only then does the call change its state."""
    thread = begun.thread
    return begun.created or begun.is_empty or thread.state_update_time == thread.update_time
