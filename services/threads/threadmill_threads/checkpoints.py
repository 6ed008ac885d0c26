"""Checkpoints as the service thinks of them: opaque blobs under the keys of LangGraph."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import orjson

from threadmill_threads.domain import Json, ThreadId

KEY_BYTES = 16
_COUNTERS = "counters_since_delta_snapshot"


@dataclass(frozen=True, slots=True)
class TypedValue:
    """A serialized value and the serializer's name for its encoding.

    `chunk_keys`: what follows `data` when it is stored, 16 bytes for each chunk; of what is read, `data` has it all.
    """

    type: str
    data: bytes
    chunk_keys: bytes = b""


@dataclass(frozen=True, slots=True)
class ChannelBlob:
    """The value of a channel at a version; type `empty` marks none."""

    channel: str
    version: str
    value: TypedValue


@dataclass(frozen=True, slots=True)
class PendingWrite:
    """A write that no checkpoint includes yet; `idx` is negative for LangGraph's special channels."""

    task_id: str
    idx: int
    channel: str
    value: TypedValue
    task_path: str


@dataclass(frozen=True, slots=True)
class CheckpointKey:
    """Where a checkpoint lives within its thread."""

    checkpoint_ns: str
    checkpoint_id: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint: to be stored with its new blobs, or as read with all blobs and its pending writes."""

    thread_id: ThreadId
    key: CheckpointKey
    parent_checkpoint_id: str
    body: TypedValue
    metadata: Json
    channel_versions: Json
    blobs: tuple[ChannelBlob, ...] = ()
    pending_writes: tuple[PendingWrite, ...] = ()

    @property
    def payload_bytes(self) -> int:
        """Size of all that it carries, but for names and ids."""
        values = [self.body, *(blob.value for blob in self.blobs), *(write.value for write in self.pending_writes)]
        return len(self.metadata) + sum(len(value.data) + len(value.chunk_keys) for value in values)


@dataclass(frozen=True, slots=True)
class Fence:
    """The right of one attempt of a run to write."""

    run_id: str
    token: int


@dataclass(frozen=True, slots=True)
class Read:
    """A checkpoint, if there is one, and of its thread (0 if that is missing) the epoch of chunks and last change.

    `run_settled`: the reading run has been ended. `identity`: metadata and config of the thread, if they were asked for
    and it exists.
    """

    checkpoint: Checkpoint | None
    chunk_epoch: int
    state_micros: int
    run_settled: bool = False
    identity: tuple[Json, Json] | None = None


@dataclass(slots=True)
class Base:
    """What a batch refers to and does not carry, so that it must be stored.

    `blobs`: as (namespace, channel, version). `checkpoints`: those that delta channels are rebuilt from.
    """

    blobs: set[tuple[str, str, str]] = field(default_factory=set)
    checkpoints: set[CheckpointKey] = field(default_factory=set)
    chunks: set[bytes] = field(default_factory=set)

    def is_empty(self) -> bool:
        """Whether the batch stands alone."""
        return not (self.blobs or self.checkpoints or self.chunks)


@dataclass(slots=True)
class WriteBatch:
    """Operations of one request, reduced to what remains of them when applied in order.

    One SQL statement cannot touch a row twice, so repetitions are settled here by the rules of the tables: the
    last put of a checkpoint wins, the first blob of a version, the first regular and the last special write.
    """

    puts: dict[CheckpointKey, Checkpoint] = field(default_factory=dict)
    blobs: dict[tuple[str, str, str], ChannelBlob] = field(default_factory=dict)
    writes: dict[tuple[CheckpointKey, str, int], PendingWrite] = field(default_factory=dict)
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    # Under which the caller learned of what it leaves out; 0: that has to be looked up.
    chunk_epoch: int = 0

    def put(self, checkpoint: Checkpoint) -> None:
        """Adds a checkpoint and its new blobs."""
        self.puts[checkpoint.key] = checkpoint
        for blob in checkpoint.blobs:
            self.blobs.setdefault((checkpoint.key.checkpoint_ns, blob.channel, blob.version), blob)

    def write(self, key: CheckpointKey, writes: Iterable[PendingWrite]) -> None:
        """Adds pending writes of a checkpoint."""
        for write in writes:
            place = (key, write.task_id, write.idx)
            if write.idx < 0:
                self.writes[place] = write
            else:
                self.writes.setdefault(place, write)

    def base(self) -> Base:
        """What has to be looked up before the batch is stored: nothing, if its epoch vouches for that."""
        base = Base()
        if self.chunk_epoch:
            return base
        for put in self.puts.values():
            self._add_base(put, base)
        values = [blob.value for blob in self.blobs.values()] + [write.value for write in self.writes.values()]
        for keys in (value.chunk_keys for value in values if value.chunk_keys):
            base.chunks.update(
                keys[place : place + KEY_BYTES] for place in range(0, len(keys) - KEY_BYTES + 1, KEY_BYTES)
            )
        base.chunks.difference_update(self.chunks)
        return base

    def _add_base(self, put: Checkpoint, base: Base) -> None:
        """Values of other versions than those carried. Delta channels without one are rebuilt from the parent."""
        ns = put.key.checkpoint_ns
        parent = CheckpointKey(ns, put.parent_checkpoint_id)
        deltas = _delta_channels(put.metadata)
        for channel, version in orjson.loads(put.channel_versions).items():
            blob = self.blobs.get((ns, channel, version))
            if channel not in deltas:
                if blob is None:
                    base.blobs.add((ns, channel, version))
            elif (blob is None or blob.value.type == "empty") and parent.checkpoint_id and parent not in self.puts:
                base.checkpoints.add(parent)


def _delta_channels(metadata: Json) -> Collection[str]:
    """Delta channels that changed or aged since their last snapshot: LangGraph counts that in the metadata."""
    if _COUNTERS not in metadata:
        return ()
    counters = orjson.loads(metadata).get(_COUNTERS)
    return counters if isinstance(counters, dict) else ()


@dataclass(frozen=True, slots=True)
class CheckpointQuery:
    """A listing, newest first; None leaves a condition out. `limit` and `max_bytes` 0 mean all.

    The checkpoint with which the payloads reach `max_bytes` is the last.
    """

    thread_id: ThreadId | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str = ""
    before_checkpoint_id: str = ""
    metadata: Json | None = None
    limit: int = 0
    max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ChannelHistory:
    """Writes of a channel, oldest first, onto the stored value where the walk ended (None: it reached the root)."""

    channel: str
    writes: tuple[PendingWrite, ...]
    seed: TypedValue | None
