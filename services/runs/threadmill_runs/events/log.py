"""The event log of a thread: a bounded, expiring Redis stream that every batch enters once and in order."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import structlog
from redis.asyncio import Redis
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.script_line import ScriptLine

log = structlog.get_logger(__name__)

# Names of events that end here and never leave the server as they are.
END_EVENT = "__end__"

# Batches that are read at once bound what a replay of a long log holds in memory. They may be of any size, so the first
# page is small, and each is followed by one that should come to about so many bytes.
FIRST_PAGE_BATCHES = 4
PAGE_BATCHES_MAX = 200
PAGE_BYTES = 2 * 1024 * 1024
# A log outlives the longest run by so much: the run may have waited for another attempt.
OPEN_MARGIN_SECONDS = 3600
# A client of the thread-streaming protocol may be silent for so long, and still go on after the number that it knows.
COUNT_SECONDS = 30 * 86_400

APPEND = Path(__file__).with_name("append.lua").read_text()


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """Position in a thread's log, `<epoch ms>-<n>`."""

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "EventId | None":
        """From its text; None for anything else."""
        epoch, dash, seq = text.partition("-")
        if not (dash and epoch.isdecimal() and seq.isdecimal()):
            return None
        parsed = cls(int(epoch), int(seq))
        return parsed if max(parsed.epoch, parsed.seq) < 2**63 else None  # Redis refuses what is larger than 64 bits


START = EventId(0, 0)


@dataclass(frozen=True, slots=True)
class Page:
    """Some consecutive events of a log: whether there may be more, and how many batches to read next."""

    events: list[runs_pb2.Event]
    more: bool
    next_batches: int


class Appended(Enum):
    """What became of a batch."""

    WRITTEN = "written"
    DUPLICATE = "dup"
    FENCED = "fenced"
    UNOPENED = "unopened"


SEEN = "seen "
APPENDED = frozenset(each.value for each in Appended)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept of a log and for how long, and how long Redis may take to answer."""

    max_batches: int
    max_bytes: int
    # After the end of a run.
    keep_seconds: int
    # While a run is under way: longer than any run may be silent, so that a log never goes before its run.
    open_seconds: int
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class LogKeys:
    """Redis names of one thread's log; the braces keep them on one node of a cluster."""

    thread_id: str

    @property
    def stream(self) -> str:
        """The stream of batches."""
        return f"threadmill:{{{self.thread_id}}}:events"

    @property
    def fence(self) -> str:
        """Which attempt may write, and how far it has."""
        return f"threadmill:{{{self.thread_id}}}:fence"

    @property
    def count(self) -> str:
        """How many events the thread has had; only of threads whose clients count them."""
        return f"threadmill:{{{self.thread_id}}}:count"

    @property
    def channel(self) -> str:
        """Where batches are published."""
        return f"threadmill:{{{self.thread_id}}}"


class EventLog:
    """Appends to, and reads back, the logs of threads. Raises RedisError or OSError when Redis does not answer.

    Time-outs are set here and not in the client, which implements its own with `asyncio.wait_for`: before Python
    3.12 that swallows a cancellation which arrives together with the result, and a loop that was to end goes on.
    """

    def __init__(self, redis: Redis, bounds: Bounds) -> None:
        self._redis = redis
        self._bounds = bounds
        self._append = ScriptLine(redis, APPEND, bounds.timeout_seconds)
        # Hears of each batch that was appended here: thread, id of the first event, events, with their ids and numbers.
        self.on_appended: Callable[[str, EventId, Sequence[runs_pb2.Event]], None] = lambda *appended: None

    async def append(
        self,
        thread_id: str,
        token: int | None,
        events: Sequence[runs_pb2.Event],
        first_seq: int,
        *,
        opens: bool = False,
        closes: bool = False,
    ) -> Appended:
        """Appends consecutive events of the attempt with `token`, the first of which is its `first_seq`-th.

        Event ids and numbers are derived from position, so `Event.id` and `Event.seq` are left empty until then.
        `closes` marks the attempt's last batch.
        `opens`: the caller knows that the attempt owns its run; without that, the first batch is UNOPENED.
        """
        keys = LogKeys(thread_id)
        payload = runs_pb2.EventBatch(events=events).SerializeToString()
        arguments = [
            "" if token is None else token,
            first_seq,
            first_seq + len(events) - 1,
            payload,
            self._bounds.max_batches,
            keys.channel,
            int(closes),
            self._bounds.keep_seconds,
            int(opens or closes),
            self._bounds.open_seconds,
            self._bounds.max_bytes,
            COUNT_SECONDS if any(each.timestamp_ms for each in events) else 0,
        ]
        async with asyncio.timeout(self._bounds.timeout_seconds):
            answer = await self._append([keys.stream, keys.fence, keys.count], arguments)
        text = answer.decode()
        if text in APPENDED:
            return Appended(text)
        if text.startswith(SEEN):  # repeated by a caller who cuts its batches differently
            known = int(text[len(SEEN) :]) + 1 - first_seq
            rest = events[known:]
            return await self.append(thread_id, token, rest, first_seq + known, opens=opens, closes=closes)
        epoch, count = text.split(" ")
        first = EventId(int(epoch), first_seq)
        _number(events, first, int(count))
        self.on_appended(thread_id, first, events)
        return Appended.WRITTEN

    async def close(
        self, thread_id: str, token: int, events: Sequence[runs_pb2.Event], last_seq: int | None = None
    ) -> Appended:
        """Appends an attempt's last events after whatever it has written, and shuts it out.

        `last_seq`: how far the attempt has written; None: not known here. A run that was never claimed has token 0 and
        no attempt; another run may be writing meanwhile.
        """
        if token == 0:
            await self.publish(thread_id, events)
            return Appended.WRITTEN
        if last_seq is None:
            last_seq = await self._last_seq(thread_id, token)
        return await self.append(thread_id, token, events, last_seq + 1, closes=True)

    async def _last_seq(self, thread_id: str, token: int) -> int:
        async with asyncio.timeout(self._bounds.timeout_seconds):
            seq: list[Any] = await self._redis.hmget(LogKeys(thread_id).fence, ["token", "seq"])
        return int(seq[1]) if seq[0] is not None and int(seq[0]) == token else -1

    async def publish(self, thread_id: str, events: Sequence[runs_pb2.Event]) -> None:
        """Appends events that belong to no attempt."""
        await self.append(thread_id, None, events, 0)

    async def newest(self, thread_id: str) -> EventId:
        """Id of the newest event; START for an empty log."""
        entry = await self._newest_entry(thread_id)
        return (EventId.parse(entry[0].decode()) if entry else None) or START

    async def newest_event(self, thread_id: str) -> runs_pb2.Event | None:
        """The newest event; None for an empty log."""
        entry = await self._newest_entry(thread_id)
        return decode(entry[1][b"m"])[-1][1] if entry else None

    async def _newest_entry(self, thread_id: str) -> Any:
        async with asyncio.timeout(self._bounds.timeout_seconds):
            entries: Any = await self._redis.xrevrange(LogKeys(thread_id).stream, count=1)
        return entries[0] if entries else None

    async def count(self, thread_id: str, *, remember: bool = False) -> int:
        """How many events the thread has had, as far as anybody remembers.

        `remember`: from now on the count outlives the log, whoever adds to it. Not of a thread without a log.
        """
        keys = LogKeys(thread_id)
        async with asyncio.timeout(self._bounds.timeout_seconds):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hget(keys.fence, "count")
            pipeline.get(keys.count)
            counts: list[bytes | None] = await pipeline.execute()
            if remember and counts[0] is not None and counts[1] is None:
                await self._redis.set(keys.count, counts[0], nx=True, ex=COUNT_SECONDS)
        return int(next((count for count in counts if count is not None), 0))

    async def read(self, thread_id: str, after: EventId, batches: int = FIRST_PAGE_BATCHES) -> "Page":
        """A page of the kept events later than `after`, with their ids."""
        async with asyncio.timeout(self._bounds.timeout_seconds):
            entries: Any = await self._redis.xrange(LogKeys(thread_id).stream, min=f"({after}", count=batches)
        events = [event for _, fields in entries for event_id, event in decode(fields[b"m"]) if event_id > after]
        size = sum(len(fields[b"m"]) for _, fields in entries)
        fitting = PAGE_BYTES * len(entries) // max(1, size)
        return Page(events, len(entries) == batches, max(1, min(PAGE_BATCHES_MAX, 4 * batches, fitting)))


def decode(message: bytes) -> list[tuple[EventId, runs_pb2.Event]]:
    """The events of one message `c<count> <epoch> <first seq> <EventBatch>`, with their ids and numbers.

    Of an older version, which did not count, messages begin with the epoch.
    """
    count = b"0"
    if message.startswith(b"c"):
        count, message = message[1:].split(b" ", 1)
    epoch, first_seq, payload = message.split(b" ", 2)
    batch = runs_pb2.EventBatch.FromString(payload)
    return _number(batch.events, EventId(int(epoch), int(first_seq)), int(count))


def _number(events: Sequence[runs_pb2.Event], first: EventId, count: int) -> list[tuple[EventId, runs_pb2.Event]]:
    """Gives consecutive events their ids, from `first`, and their numbers, after `count`."""
    numbered = []
    for offset, each in enumerate(events):
        event_id = EventId(first.epoch, first.seq + offset)
        each.id = str(event_id)
        each.seq = count + offset + 1
        numbered.append((event_id, each))
    return numbered


def event(run_id: str, name: str, data_json: bytes, *, timestamp_ms: int = 0, graph_id: str = "") -> runs_pb2.Event:
    """One event, not yet in any log."""
    return runs_pb2.Event(run_id=run_id, name=name, data_json=data_json, timestamp_ms=timestamp_ms, graph_id=graph_id)
