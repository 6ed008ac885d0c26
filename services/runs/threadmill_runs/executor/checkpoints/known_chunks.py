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
    # What was read or written last, at each place.
    parts: dict[Place, str] = field(default_factory=dict)


class KnownChunks:
    """Chunks and parts by thread, each learned from an answer of the service under an epoch; for the control loop only.

    The service starts a new epoch whenever it deletes checkpoints, and refuses writes that rely on an old one: such a
    write is repeated with everything. Where the epoch does not cover what a write relies on, the service looks whether
    it is there. Holds a few bytes for each KiB that its saver has read or written.
    """

    def __init__(self) -> None:
        self._threads: dict[str, _Known] = {}

    def learn(self, thread_id: str, epoch: int, keys: Iterable[bytes], parts: Iterable[Part]) -> None:
        """The service has these. Epochs grow, so what an answer that was overtaken says is ignored; 0 is none."""
        if not epoch:
            return
        known = self._threads.setdefault(thread_id, _Known())
        if epoch > known.epoch:
            self._threads[thread_id] = known = _Known(epoch)
        if epoch == known.epoch:
            known.keys.update(keys)
            known.parts.update(parts)

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
        if leaves_out and all(known.parts.get(place) == part for place, part in base):
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
        parts = [part for op in request.ops if op.HasField("put") for part in parts_of(op.put)]
        if chunks or parts:
            self.learn(request.thread_id, response.chunk_epoch, chunks, parts)


def parts_of(checkpoint: checkpoints_pb2.Checkpoint) -> Iterator[Part]:
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
