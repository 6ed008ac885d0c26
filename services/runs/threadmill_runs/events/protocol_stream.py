"""The stream of the thread-streaming protocol: all that is kept of a thread, then what comes, each event once."""

from __future__ import annotations  # the async stubs exist for type checkers only

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import grpc
import orjson
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

from threadmill_runs.events.hub import Hub
from threadmill_runs.events.log import END_EVENT, START, EventId, EventLog, event
from threadmill_runs.events.protocol_view import REQUEST, ProtocolFilter, root_lifecycle, shown
from threadmill_runs.events.replay import Replay
from threadmill_runs.queue.run import Run

IDLE_SECONDS = 15.0


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
    # Runs that have begun and not ended, as far as the stream has come; the last event of each.
    under_way: dict[str, runs_pb2.Event] = field(default_factory=dict)

    def take(self, events: list[runs_pb2.Event]) -> list[runs_pb2.ProtocolEvent]:
        """Of consecutive events, what the client wants to see."""
        given = []
        for each in events:
            if each.name == END_EVENT:
                self.under_way.pop(each.run_id, None)
            elif each.name == "metadata":
                self.under_way[each.run_id] = each
            if each.seq > self.since and (seen := shown(each)) is not None and self.wanted.admits(seen):
                given.append(seen)
        return given


class ProtocolStreams:
    """Follows threads."""

    def __init__(
        self,
        hub: Hub,
        events: EventLog,
        threads: threads_pb2_grpc.ThreadsAsyncStub,
        find_run: Callable[[str], Awaitable[Run | None]],
        last_run: Callable[[str], Awaitable[Run | None]],
        is_active: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._hub = hub
        self._events = events
        self._threads = threads
        self._find_run = find_run
        self._last_run = last_run
        self._is_active = is_active

    async def follow(
        self, thread_id: str, wanted: ProtocolFilter, since: int = 0, continue_after: str = ""
    ) -> AsyncIterator[Delivery]:
        """For ever. The first delivery comes at once, without events."""
        async with self._hub.subscribe(thread_id) as subscription:
            begin = EventId.parse(continue_after)
            await subscription.start(begin or START)
            newest = await self._events.newest(thread_id)
            progress = _Progress(wanted, since if begin or since <= await self._events.count(thread_id) else 0)
            replay = Replay(newest, self._is_resumable) if begin is None else None
            yield Delivery(subscription.position or START, [], live=False)
            if begin is None and newest == START:
                yield Delivery(START, await self._waiting_requests(thread_id, progress), live=True)
                replay = None
            while True:
                fresh = await subscription.next_events(IDLE_SECONDS)
                position = subscription.position or START
                kept = fresh if replay is None else await replay.of(fresh)
                given = progress.take(kept) or (await self._lost_ends(progress) if not fresh else [])
                # Nothing left to read: the log may have expired in the meantime.
                if replay is not None and (position >= replay.until or not (fresh or subscription.behind)):
                    replay = None
                    yield Delivery(position, given, live=True)
                elif given:
                    yield Delivery(position, given, live=replay is None)

    async def _is_resumable(self, run_id: str) -> bool:
        run = await self._find_run(run_id)
        return run is not None and run.resumable

    async def _lost_ends(self, progress: _Progress) -> list[runs_pb2.ProtocolEvent]:
        """Ends of runs that Redis has lost. Nobody would tell the client of them."""
        ends = []
        for run_id, last in list(progress.under_way.items()):
            if await self._is_active(run_id):
                continue
            del progress.under_way[run_id]
            run = await self._find_run(run_id)
            status = run.state.value if run is not None else "interrupted"
            end = event(run_id, END_EVENT, orjson.dumps({"status": status}), graph_id=last.graph_id)
            end.seq = last.seq
            if (seen := shown(end)) is not None and progress.wanted.admits(seen):
                ends.append(seen)
        return ends

    async def _waiting_requests(self, thread_id: str, progress: _Progress) -> list[runs_pb2.ProtocolEvent]:
        """What a paused thread asks for, when the events that told of it are not kept any more.

        A client that comes back after a weekend learns of it from nothing else. The number of these events is that of
        the last one that the thread has had: who has seen that, has seen them.
        """
        pending = await self._pending(thread_id)
        run = await self._last_run(thread_id) if pending else None
        if run is None:
            return []
        count = await self._events.count(thread_id)
        if progress.since and progress.since >= count:
            return []
        about = event(run.run_id, "", b"", graph_id=run.graph_id)
        about.seq = count
        at = int(run.updated_at.timestamp() * 1000)
        told = [root_lifecycle(about, "running", at=at)]
        for interrupt in pending:
            about.name, about.timestamp_ms = REQUEST, at
            about.data_json = orjson.dumps({"interrupt_id": interrupt["id"], "payload": interrupt["value"]})
            if (seen := shown(about)) is not None:
                told.append(seen)
        told.append(root_lifecycle(about, "interrupted", at=at))
        return [each for each in told if progress.wanted.admits(each)]

    async def _pending(self, thread_id: str) -> list[dict[str, object]]:
        try:
            thread = await self._threads.GetThread(
                threads_pb2.GetThreadRequest(thread_id=thread_id), wait_for_ready=True
            )
        except grpc.aio.AioRpcError as error:
            if reason_of(error) == "THREAD_NOT_FOUND":
                return []
            raise
        if thread.state != threads_pb2.THREAD_STATE_INTERRUPTED:
            return []
        by_task: dict[str, list[dict[str, object]]] = orjson.loads(thread.interrupts_json or b"{}")
        return [interrupt for of_task in by_task.values() for interrupt in of_task]
