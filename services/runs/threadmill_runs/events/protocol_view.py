"""The log of a thread in the terms of the thread-streaming protocol: which events it shows, and to whom.

Root lifecycle events are not in the log: the begin of an attempt and the end of a run are, and show as such. Events of
runs that were not made for this protocol show as far as the two agree: messages, for one, do not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from threadmill_chassis.errors import InvalidArgument
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.log import END_EVENT, EventId
from threadmill_runs.queue.ending import ROLLED_BACK
from threadmill_runs.queue.run import RunState

CHANNELS = frozenset({"values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints"})
SIGNALS = frozenset({"lifecycle", "input"})
NAMED = "custom:"
# Events of other runs that are the same here.
SHARED = frozenset({"updates", "custom", "tasks"})
LIFECYCLE, REQUEST = "lifecycle", "input.requested"
# Between the levels of a namespace in ids that clients compare, and nothing else.
LEVEL = "\ufffd"
ENDS = {
    RunState.SUCCESS.value: "completed",
    RunState.ERROR.value: "failed",
    RunState.TIMEOUT.value: "failed",
    RunState.INTERRUPTED.value: "interrupted",
    ROLLED_BACK: "interrupted",
}

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """Some of a thread's events."""

    channels: frozenset[str]
    namespaces: tuple[Path, ...] = ()
    depth: int | None = None

    @classmethod
    def of(cls, selection: runs_pb2.Selection) -> "Selection":
        """Raises InvalidArgument for channels that there are not, or none."""
        for channel in selection.channels:
            if channel not in CHANNELS and not (channel.startswith(NAMED) and len(channel) > len(NAMED)):
                raise InvalidArgument(f"channels: there is no {channel!r}")
        if not selection.channels:
            raise InvalidArgument("channels: at least one")
        return cls(
            frozenset(selection.channels),
            tuple(tuple(each.segments) for each in selection.namespaces),
            selection.depth if selection.HasField("depth") else None,
        )

    def admits(self, event: runs_pb2.ProtocolEvent) -> bool:
        """Whether the event is one of them."""
        return self._admits_channel(event) and self._admits_namespace(event.namespace)

    def _admits_channel(self, event: runs_pb2.ProtocolEvent) -> bool:
        channel = "input" if event.method == REQUEST else event.method
        if channel in self.channels:
            return True
        if channel != "custom" or not any(each.startswith(NAMED) for each in self.channels):
            return False
        data = orjson.loads(event.data_json)
        return isinstance(data, dict) and f"{NAMED}{data.get('name')}" in self.channels

    def _admits_namespace(self, namespace: Sequence[str]) -> bool:
        if not self.namespaces:
            return True
        return any(
            _is_below(namespace, prefix) and (self.depth is None or len(namespace) - len(prefix) <= self.depth)
            for prefix in self.namespaces
        )


@dataclass(frozen=True, slots=True)
class ProtocolFilter:
    """Which events a client wants: those of its selections."""

    selections: tuple[Selection, ...]

    @classmethod
    def of(cls, request: runs_pb2.FollowThreadRequest) -> "ProtocolFilter":
        """Raises InvalidArgument as Selection, and for none."""
        if not request.selections:
            raise InvalidArgument("selections: at least one")
        return cls(tuple(Selection.of(each) for each in request.selections))

    @property
    def signals_only(self) -> bool:
        """Whether it is that with which the SDKs wait for the end of a run, or for what it asks."""
        return all(each.channels == SIGNALS and not each.namespaces for each in self.selections)

    def admits(self, event: runs_pb2.ProtocolEvent) -> bool:
        """Whether the event is wanted."""
        return any(selection.admits(event) for selection in self.selections)


def _is_below(namespace: Sequence[str], prefix: Path) -> bool:
    return len(namespace) >= len(prefix) and all(
        wanted in (segment, segment.partition(":")[0]) for segment, wanted in zip(namespace, prefix, strict=False)
    )


def shown(event: runs_pb2.Event) -> runs_pb2.ProtocolEvent | None:
    """The event as the protocol shows it; None if it does not."""
    if event.name == "metadata":
        return root_lifecycle(event, "running")
    if event.name == END_EVENT:
        return _end(event)
    method, *namespace = event.name.split("|")
    if event.timestamp_ms:
        return _protocol_event(event, method, namespace, event.data_json, event.timestamp_ms)
    if method == "values":
        return _protocol_event(event, method, namespace, _without_interrupts(event.data_json), _moment(event))
    if method in SHARED:
        return _protocol_event(event, method, namespace, event.data_json, _moment(event))
    return None


def root_lifecycle(
    event: runs_pb2.Event, what: str, *, at: int | None = None, error: str | None = None
) -> runs_pb2.ProtocolEvent:
    """What happened to the run of `event`."""
    data = {"event": what, "graph_name": event.graph_id} | ({} if error is None else {"error": error})
    return _protocol_event(event, LIFECYCLE, (), orjson.dumps(data), at or _moment(event))


def _end(event: runs_pb2.Event) -> runs_pb2.ProtocolEvent:
    end = orjson.loads(event.data_json)
    what = ENDS[end["status"]]
    if what == "completed" and end.get("paused"):
        what = "interrupted"
    error = (end.get("error") or {}).get("message") if what == "failed" else None
    return root_lifecycle(event, what, at=end.get("at"), error=error)


def _protocol_event(
    event: runs_pb2.Event, method: str, namespace: Iterable[str], data_json: bytes, at: int
) -> runs_pb2.ProtocolEvent:
    path = tuple(namespace)
    return runs_pb2.ProtocolEvent(
        id=event.id,
        event_id=_name_of(event, method, path, data_json),
        seq=event.seq,
        method=method,
        namespace=path,
        timestamp_ms=at,
        data_json=data_json,
        run_id=event.run_id,
    )


def _name_of(event: runs_pb2.Event, method: str, path: Path, data_json: bytes) -> str:
    """By what a client knows the event again. JavaScript clients read the run's id from those of lifecycle events."""
    if method not in (LIFECYCLE, REQUEST):
        return event.id
    data: dict[str, Any] = orjson.loads(data_json)
    level = LEVEL.join(path)
    if method == REQUEST:
        return f"synth:{event.run_id}:input|{level}|{data['interrupt_id']}"
    return event.id if data["event"] == "started" else f"synth:{event.run_id}:lc|{level}|{data['event']}"


def _moment(event: runs_pb2.Event) -> int:
    """When the attempt wrote its first event, as its ids tell."""
    position = EventId.parse(event.id)
    return position.epoch if position else 0


def _without_interrupts(values_json: bytes) -> bytes:
    if b'"__interrupt__"' not in values_json:
        return values_json
    values = orjson.loads(values_json)
    if not isinstance(values, dict):
        return values_json
    return orjson.dumps({key: value for key, value in values.items() if key != "__interrupt__"})
