"""The stream of a whole thread: the events of all its runs, one after the other, and manual state updates."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

import orjson
import structlog
from redis.exceptions import RedisError
from threadmill_chassis.errors import InvalidArgument
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.hub import Hub
from threadmill_runs.events.log import END_EVENT, START, EventId, EventLog, event
from threadmill_runs.events.replay import Replay

log = structlog.get_logger(__name__)

MODES = ("run_modes", "lifecycle", "state_update")
STATE_UPDATE = "state_update"
IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ThreadView:
    """What a client wants to see of a thread. `after`: from where on; None: from now on.

    `continues`: another replica has begun this stream, and the client has seen everything up to `after`.
    """

    modes: frozenset[str]
    after: EventId | None = None
    continues: bool = False

    @classmethod
    def of(cls, modes: Iterable[str], last_event_id: str, continue_after: str = "") -> "ThreadView":
        """Raises InvalidArgument for an unknown mode or a malformed position."""
        return cls(_checked(modes), _position(continue_after or last_event_id), bool(continue_after))


class ThreadStreams:
    """Follows threads, and publishes what is not a run's."""

    def __init__(self, hub: Hub, events: EventLog, is_resumable: Callable[[str], Awaitable[bool]]) -> None:
        self._hub = hub
        self._events = events
        self._is_resumable = is_resumable

    async def publish_state(self, thread_id: str, state_json: bytes) -> None:
        """Puts a state update on the thread's stream; a Redis that is down costs the watchers this hint only."""
        data = b'{"state":' + state_json + b',"thread_id":' + orjson.dumps(thread_id) + b"}"
        try:
            await self._events.publish(thread_id, [event("", STATE_UPDATE, data)])
        except (RedisError, OSError) as error:
            log.warning("state_update_not_published", thread_id=thread_id, error=repr(error))

    async def follow(self, thread_id: str, view: ThreadView) -> AsyncIterator[tuple[EventId, list[runs_pb2.Event]]]:
        """How far the stream has come, and the events up to there, for ever. At once without events, for its start."""
        async with self._hub.subscribe(thread_id) as subscription:
            await subscription.start(view.after)
            replays = view.after is not None and not view.continues
            replay = Replay(await self._events.newest(thread_id), self._is_resumable) if replays else None
            yield subscription.position or START, []
            while True:
                fresh = await subscription.next_events(IDLE_SECONDS)
                shown = [seen for each in fresh if (seen := _view(each, view.modes))]
                if replay is not None:
                    shown = await replay.of(shown, _is_end)
                if shown:
                    yield subscription.position or START, shown


def _position(last_event_id: str) -> EventId | None:
    if not last_event_id:
        return None
    position = START if last_event_id in ("-", "0") else EventId.parse(last_event_id)
    if position is None:
        raise InvalidArgument("Invalid last-event-id: must be a valid Redis stream ID")
    return position


def _checked(modes: Iterable[str]) -> frozenset[str]:
    for mode in modes:
        if mode not in MODES:
            raise InvalidArgument(f"Invalid stream mode: {mode}")
    return frozenset(modes) or frozenset({"run_modes"})


def _is_end(each: runs_pb2.Event) -> bool:
    return each.name == "metadata" and b'"run_done"' in each.data_json


def _view(each: runs_pb2.Event, wanted: frozenset[str]) -> runs_pb2.Event | None:
    """The event as the thread stream shows it; None if it is not asked for."""
    if each.name == STATE_UPDATE:
        return each if STATE_UPDATE in wanted else None
    if not wanted & {"run_modes", "lifecycle"}:
        return None
    if each.name == END_EVENT:
        data = orjson.dumps({"status": "run_done", "run_id": each.run_id})
        return runs_pb2.Event(id=each.id, name="metadata", data_json=data, run_id=each.run_id)
    return each if "run_modes" in wanted or each.name == "metadata" else None
