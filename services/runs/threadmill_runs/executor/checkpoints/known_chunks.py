"""What the threads service has already of the checkpoints that are written, so that it is not sent again."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import grpc
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.threads.v1 import checkpoints_pb2

from threadmill_runs.executor.checkpoints import chunking

Send = Callable[[checkpoints_pb2.WriteCheckpointsRequest], Awaitable[checkpoints_pb2.WriteCheckpointsResponse]]
# Values of channels, by namespace, channel and version.
Values = Mapping[tuple[str, str, str], checkpoints_pb2.ChannelBlob]
# Namespace and channel, which holds a version; without a channel the namespace itself, which holds a checkpoint.
Place = tuple[str, str | None]
Part = tuple[Place, str]
_REFUSALS = frozenset(("CHUNKS_UNKNOWN", "CHECKPOINT_GONE"))


@dataclass(slots=True)
class _Known:
    epoch: int = 0
    keys: set[bytes] = field(default_factory=set)
    # At each place what was written last, and what was read since: LangGraph may read several checkpoints before it
    # goes on from one.
    parts: dict[Place, set[str]] = field(default_factory=dict)

    def covers(self, base: Iterable[Part]) -> bool:
        """Whether all of these are known to be stored."""
        return all(part in self.parts.get(place, ()) for place, part in base)


class KnownChunks:
    """Chunks and parts by thread, each learned from an answer of the service under an epoch; for the control loop only.

    The service starts a new epoch whenever it deletes checkpoints, and refuses writes that rely on an old one: such a
    write is repeated with everything. Where the epoch does not cover what a write relies on, the service looks whether
    it is there. Holds a few bytes for each KiB that its saver has read or written.
    """

    def __init__(self) -> None:
        self._threads: dict[str, _Known] = {}

    def saw(self, thread_id: str, epoch: int, checkpoint: checkpoints_pb2.Checkpoint) -> None:
        """A checkpoint was read under an epoch."""
        if known := self._learn(thread_id, epoch, chunking.keys_of(checkpoint)):
            for place, part in _parts(checkpoint):
                known.parts.setdefault(place, set()).add(part)

    def _learn(self, thread_id: str, epoch: int, keys: Iterable[bytes]) -> _Known | None:
        """The service has these; None if the answer that says so was overtaken. Epochs grow; 0 is none."""
        known = self._threads.get(thread_id)
        if epoch and (known is None or epoch > known.epoch):
            self._threads[thread_id] = known = _Known(epoch)
        if known is None or epoch != known.epoch:
            return None
        known.keys.update(keys)
        return known

    async def write(
        self,
        send: Send,
        request: checkpoints_pb2.WriteCheckpointsRequest,
        chunks: Mapping[bytes, bytes],
        values: Values,
    ) -> None:
        """Sends a request with those of `chunks`, which are all that it refers to, that the service lacks.

        `values`: what its checkpoints refer to and do not carry, as far as the caller has it; sent if the service may
        have lost it. Raises grpc.aio.AioRpcError, CHECKPOINT_GONE if it has lost something else.
        """
        known = self._threads.get(request.thread_id, _Known())
        missing = [key for key in chunks if key not in known.keys]
        base = list(_base(request))
        leaves_out = bool(base) or len(missing) < len(chunks)
        if leaves_out and known.covers(base):
            request.chunk_epoch = known.epoch
        _carry(request, {key: chunks[key] for key in missing})
        try:
            response = await send(request)
        except grpc.aio.AioRpcError as error:
            if reason_of(error) not in _REFUSALS:
                raise
            chunks = {**chunks, **_complete(request, values)}
            request.chunk_epoch = 0
            _carry(request, chunks)
            response = await send(request)
        puts = [op.put for op in request.ops if op.HasField("put")]
        if (chunks or puts) and (now := self._learn(request.thread_id, response.chunk_epoch, chunks)):
            now.parts.update((place, {part}) for put in puts for place, part in _parts(put))


def _parts(checkpoint: checkpoints_pb2.Checkpoint) -> Iterator[Part]:
    """What is there when a checkpoint is: itself, and its versions of the channels."""
    ns = checkpoint.checkpoint_ns
    yield (ns, None), checkpoint.checkpoint_id
    for channel, version in checkpoint.channel_versions.items():
        yield (ns, channel), version


def _base(request: checkpoints_pb2.WriteCheckpointsRequest) -> Iterator[Part]:
    """What the request's checkpoints refer to and none of them brings: their parents, and values of channels."""
    brought: set[Part] = set()
    for put in (op.put for op in request.ops if op.HasField("put")):
        ns = put.checkpoint_ns
        brought.update(((ns, blob.channel), blob.version) for blob in put.channel_blobs)
        if put.parent_checkpoint_id and ((ns, None), put.parent_checkpoint_id) not in brought:
            yield (ns, None), put.parent_checkpoint_id
        for channel, version in put.channel_versions.items():
            if ((ns, channel), version) not in brought:
                yield (ns, channel), version
        brought.add(((ns, None), put.checkpoint_id))


def _complete(request: checkpoints_pb2.WriteCheckpointsRequest, values: Values) -> chunking.Chunks:
    """Adds to the request's checkpoints what they refer to and do not carry; answers the chunks of that."""
    chunks: chunking.Chunks = {}
    for op in (op for op in request.ops if op.HasField("put")):
        ns = op.put.checkpoint_ns
        carried = {blob.channel for blob in op.put.channel_blobs}
        for channel, version in op.put.channel_versions.items():
            if channel not in carried and (blob := values.get((ns, channel, version))):
                op.put.channel_blobs.add().CopyFrom(blob)
                # What was read is whole, and has the keys of its chunks as well.
                op.put.channel_blobs[-1].value.ClearField("chunk_keys")
        cut, parts = chunking.split(op)
        chunks.update(parts)
        if cut is not op:
            op.CopyFrom(cut)
    return chunks


def _carry(request: checkpoints_pb2.WriteCheckpointsRequest, chunks: Mapping[bytes, bytes]) -> None:
    del request.chunks[:]
    request.chunks.extend(checkpoints_pb2.Chunk(key=key, data=data) for key, data in chunks.items())
