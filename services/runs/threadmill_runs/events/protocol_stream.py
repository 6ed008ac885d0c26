"""The stream of the thread-streaming protocol: all that is kept of a thread, then what comes, each event once."""

from __future__ import annotations  # the async stubs exist for type checkers only

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import grpc
import orjson
import structlog
from redis.exceptions import RedisError
from threadmill_chassis.errors import Unavailable
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

from threadmill_runs.events.follow import SILENCE_SECONDS
from threadmill_runs.events.hub import Hub
from threadmill_runs.events.log import END_EVENT, START, EventId, EventLog, event
from threadmill_runs.events.protocol_view import REQUEST, ProtocolFilter, root_lifecycle, shown
from threadmill_runs.events.replay import Replay
from threadmill_runs.interrupts import interrupts_of
from threadmill_runs.queue.repo import QueueRepo
from threadmill_runs.queue.run import Run, RunState

log = structlog.get_logger(__name__)

# Clients begin to wait for the end of a run while they start it: so long they are given to do so.
SIGNAL_SECONDS = 0.1
# So long a stream waits to learn what its thread asks for.
THREAD_SECONDS = 3.0
# A run that began so recently may be the one that a client has started. Not one that ended so recently: who comes back
# would hear of its end before what came before that, which is on another stream.
RECENT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """How far a stream has come, and the events up to there. `live`: what was kept when it began has been given."""

    position: EventId
    events: list[runs_pb2.ProtocolEvent]
    live: bool


@dataclass(slots=True)
class _Progress:
    """What a stream has to remember."""

    wanted: ProtocolFilter
    since: int
    # Runs that have not ended, as far as the stream has come.
    under_way: set[str]
    # The client has seen what was before.
    continues: bool
    # Runs whose begin the stream has come by.
    begun: set[str] = field(default_factory=set)
    # Ids of the requests that were told.
    requests: set[str] = field(default_factory=set)
    # It could not be found out yet what the thread asks for besides.
    owes_requests: bool = False
    # Number of the last event.
    seq: int = 0

    def ended_before(self, event: runs_pb2.Event) -> set[str]:
        """Runs that must have ended when this event came, though their ends did not: a thread has one run at a time."""
        return self.under_way & self.begun - {event.run_id} if event.name == "metadata" else set()

    def take(self, event: runs_pb2.Event) -> runs_pb2.ProtocolEvent | None:
        """Of the next event, what the client wants to see."""
        self.seq = event.seq or self.seq
        if event.name == END_EVENT:
            self.under_way.discard(event.run_id)
        elif event.name == "metadata":
            again = event.run_id in self.begun
            self.under_way.add(event.run_id)
            self.begun.add(event.run_id)
            if again or (self.continues and orjson.loads(event.data_json)["attempt"] > 1):
                return None
        elif _is_request(event):
            self.requests.add(orjson.loads(event.data_json)["interrupt_id"])
        return self.shows(event) if event.seq > self.since else None

    def shows(self, event: runs_pb2.Event) -> runs_pb2.ProtocolEvent | None:
        """The event, if the client wants to see it."""
        seen = shown(event)
        return seen if seen is not None and self.wanted.admits(seen) else None


class ProtocolStreams:
    """Follows threads."""

    def __init__(
        self,
        hub: Hub,
        events: EventLog,
        threads: threads_pb2_grpc.ThreadsAsyncStub,
        repo: QueueRepo,
        is_active: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._hub = hub
        self._events = events
        self._threads = threads
        self._repo = repo
        self._is_active = is_active

    async def follow(
        self, thread_id: str, wanted: ProtocolFilter, since: int, continue_after: str, *, last_run_only: bool
    ) -> AsyncIterator[Delivery]:
        """For ever. The first delivery comes at once, without events."""
        async with self._hub.subscribe(thread_id) as subscription:
            begin = EventId.parse(continue_after)
            await subscription.start(begin or START)
            yield Delivery(subscription.position or START, [], live=begin is not None)
            if begin is None and since > await self.position(thread_id):
                since = 0
            replay, last = None, None
            if begin is None and not since and wanted.signals_only:
                await asyncio.sleep(SIGNAL_SECONDS)
            newest = await self._newest(thread_id)
            # After the log was looked at, so that they know of every run that is in it.
            under_way = await self._under_way(thread_id, continues=begin is not None)
            progress = _Progress(wanted, since, under_way, continues=begin is not None)
            if begin is None:
                last = None if since else await self._repo.last_of(thread_id)
                replay = Replay(newest, await self._past(thread_id, wanted, last, under_way, last_run_only))
                if newest == START:
                    yield Delivery(START, await self._untold_requests(thread_id, progress), live=True)
                    replay = None
            now = asyncio.get_running_loop().time
            ask_at = now() + SILENCE_SECONDS
            remembered = False
            while True:
                fresh = await subscription.next_events(max(0.01, ask_at - now()))
                position = subscription.position or START
                if fresh:
                    ask_at = now() + SILENCE_SECONDS
                    remembered = remembered or await self._remember(thread_id)
                kept = fresh
                if replay is not None:
                    kept = await self._unanswered(thread_id, await replay.of(fresh), last)
                given = [seen for each in kept for seen in await self._told(thread_id, each, progress)]
                if not fresh and now() >= ask_at:  # a wake-up without events is no silence
                    given = await self._overdue(thread_id, progress)
                    ask_at = now() + SILENCE_SECONDS
                # Nothing left to read: the log may have expired in the meantime.
                if replay is not None and (position >= replay.until or (not fresh and subscription.is_current)):
                    replay = None
                    yield Delivery(position, given + await self._untold_requests(thread_id, progress), live=True)
                elif given:
                    yield Delivery(position, given, live=replay is None)

    async def _told(self, thread_id: str, each: runs_pb2.Event, progress: _Progress) -> list[runs_pb2.ProtocolEvent]:
        """What the client gets to see of the next event, after the ends that should have come before it."""
        given = [await self._made_up_end(thread_id, run_id, progress) for run_id in sorted(progress.ended_before(each))]
        return [seen for seen in (*given, progress.take(each)) if seen is not None]

    async def _remember(self, thread_id: str) -> bool:
        """Events are counted for as long as clients may come back, from the first that one of them has seen."""
        try:
            await self._events.count(thread_id, remember=True)
        except (RedisError, OSError):  # with the next events
            return False
        return True

    async def _under_way(self, thread_id: str, *, continues: bool) -> set[str]:
        """Runs of which an end is to come. Of a stream that goes on, one may have got lost before it did."""
        active = set(await self._repo.active_run_ids(thread_id))
        last = await self._repo.last_of(thread_id) if continues and not active else None
        if last is not None:
            with _asking_redis():
                newest = await self._events.newest_event(thread_id)
            if newest is not None and (newest.run_id, newest.name) != (last.run_id, END_EVENT):
                active.add(last.run_id)
        return active

    async def _unanswered(self, thread_id: str, past: list[runs_pb2.Event], last: Run | None) -> list[runs_pb2.Event]:
        """Past events without requests that have been answered since: clients would ask their users again."""
        if last is None or not any(_is_request(each) and each.run_id != last.run_id for each in past):
            return past
        thread = await self._thread(thread_id)
        if thread is None:
            return past
        pending = _pending(thread)
        return [
            each
            for each in past
            if not _is_request(each)
            or each.run_id == last.run_id
            or orjson.loads(each.data_json)["interrupt_id"] in pending
        ]

    async def position(self, thread_id: str) -> int:
        """Number of the last event that the thread has had. Raises Unavailable while Redis is down."""
        with _asking_redis():
            return await self._events.count(thread_id)

    async def _newest(self, thread_id: str) -> EventId:
        with _asking_redis():
            return await self._events.newest(thread_id)

    async def _past(
        self,
        thread_id: str,
        wanted: ProtocolFilter,
        last: Run | None,
        active: set[str],
        last_run_only: bool,
    ) -> Callable[[str], Awaitable[bool]]:
        """Which runs' past a client gets (runs.proto, Replay). `last`: run of the thread; None: there is none, or the
        client says what it has seen.
        """
        if last is None:
            return self._repo.is_resumable
        if last.state.active:
            chosen = {last.run_id, *active}
        elif wanted.signals_only:
            chosen = {last.run_id} if await self._concerns(thread_id, last) else set[str]()
        elif last_run_only:
            chosen = {last.run_id}
        else:
            return self._repo.is_resumable

        async def is_chosen(run_id: str) -> bool:
            return run_id in chosen and await self._repo.is_resumable(run_id)

        return is_chosen

    async def _concerns(self, thread_id: str, ended: Run) -> bool:
        """Whether a client that has just come to wait for the end of a run may mean this one."""
        recent = (datetime.now(UTC) - ended.created_at).total_seconds() < RECENT_SECONDS
        if recent:
            return True
        thread = await self._thread(thread_id)
        return thread is None or bool(_pending(thread))

    async def _overdue(self, thread_id: str, progress: _Progress) -> list[runs_pb2.ProtocolEvent]:
        """What should have come: ends that Redis has lost, and requests that could not be found out before."""
        given = [
            await self._made_up_end(thread_id, run_id, progress)
            for run_id in sorted(progress.under_way)
            if not await self._is_active(run_id)
        ]
        if progress.owes_requests:
            given.extend(await self._untold_requests(thread_id, progress))
        return [seen for seen in given if seen is not None]

    async def _made_up_end(self, thread_id: str, run_id: str, progress: _Progress) -> runs_pb2.ProtocolEvent | None:
        """The end of a run that is over, from what Postgres says. Clients know it from the real one by nothing."""
        run, thread = await self._repo.get(run_id), await self._thread(thread_id) or threads_pb2.Thread()
        told = {
            "status": run.state.value if run is not None else RunState.INTERRUPTED.value,
            "at": int((run.updated_at if run is not None else datetime.now(UTC)).timestamp() * 1000),
            "paused": bool(_pending(thread)),
            "error": orjson.loads(thread.error_json or b"null"),
        }
        if run is not None and run.state.active:  # its end is about to come
            return None
        progress.under_way.discard(run_id)
        end = event(run_id, END_EVENT, orjson.dumps(told), graph_id=run.graph_id if run is not None else "")
        end.seq = progress.seq
        return progress.shows(end)

    async def _untold_requests(self, thread_id: str, progress: _Progress) -> list[runs_pb2.ProtocolEvent]:
        """What a paused thread asks for and the log does not tell, because its events are not kept (any more).

        A client that comes back after a weekend learns of it from nothing else. The number of these events is that of
        the last one that the thread has had: who has seen that, has seen them.
        """
        thread = await self._thread(thread_id)
        progress.owes_requests = thread is None
        pending = _pending(thread or threads_pb2.Thread())
        run = await self._repo.last_of(thread_id) if pending.keys() - progress.requests else None
        if run is None or run.state.active:
            return []
        count = await self.position(thread_id)
        if progress.since and progress.since >= count:
            return []
        about = event(run.run_id, REQUEST, b"", graph_id=run.graph_id)
        about.seq = count
        about.timestamp_ms = at = int(run.updated_at.timestamp() * 1000)
        told = [root_lifecycle(about, "running", at=at)]
        for interrupt_id in (each for each in pending if each not in progress.requests):
            about.data_json = orjson.dumps({"interrupt_id": interrupt_id, "payload": pending[interrupt_id]})
            if (seen := shown(about)) is not None:
                told.append(seen)
        told.append(root_lifecycle(about, "interrupted", at=at))
        return [each for each in told if progress.wanted.admits(each)]

    async def _thread(self, thread_id: str) -> threads_pb2.Thread | None:
        """The thread, an empty one if it does not exist; None if nobody can tell in time."""
        try:
            return await self._threads.GetThread(
                threads_pb2.GetThreadRequest(thread_id=thread_id), timeout=THREAD_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            if reason_of(error) == "THREAD_NOT_FOUND":
                return threads_pb2.Thread()
            log.warning("thread_not_read", thread_id=thread_id, error=error.details())
            return None


@contextmanager
def _asking_redis() -> Iterator[None]:
    """Who asks may ask again."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable("Redis does not answer at the moment") from error


def _pending(thread: threads_pb2.Thread) -> dict[str, object]:
    """What the thread asks for, by the ids of its interrupts."""
    return {str(each["id"]): each["value"] for each in interrupts_of(thread)}


def _is_request(each: runs_pb2.Event) -> bool:
    return each.name.partition("|")[0] == REQUEST
