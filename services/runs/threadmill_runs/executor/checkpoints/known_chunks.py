"""Which chunks the threads service has already, so that they are not sent again."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

import grpc
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.threads.v1 import checkpoints_pb2

Send = Callable[[checkpoints_pb2.WriteCheckpointsRequest], Awaitable[checkpoints_pb2.WriteCheckpointsResponse]]


@dataclass(slots=True)
class _Known:
    epoch: int = 0
    keys: set[bytes] = field(default_factory=set)


class KnownChunks:
    """Keys by thread, each learned from an answer of the service under an epoch; used on the control loop only.

    The service starts a new epoch whenever it deletes chunks, and refuses writes that rely on an old one: such a write
    is repeated with everything. Holds a few bytes for each KiB that its saver has read or written.
    """

    def __init__(self) -> None:
        self._threads: dict[str, _Known] = {}

    def learn(self, thread_id: str, epoch: int, keys: Iterable[bytes]) -> None:
        """The service has these. Epochs grow, so what an answer that was overtaken says is ignored; 0 is none."""
        if not epoch:
            return
        known = self._threads.setdefault(thread_id, _Known())
        if epoch > known.epoch:
            self._threads[thread_id] = known = _Known(epoch)
        if epoch == known.epoch:
            known.keys.update(keys)

    async def write(
        self,
        send: Send,
        request: checkpoints_pb2.WriteCheckpointsRequest,
        chunks: Mapping[bytes, bytes],
    ) -> None:
        """Sends a request with those of `chunks`, which are all that it refers to, that the service lacks."""
        known = self._threads.get(request.thread_id, _Known())
        missing = [key for key in chunks if key not in known.keys]
        request.chunk_epoch = known.epoch if len(missing) < len(chunks) else 0
        request.chunks.extend(checkpoints_pb2.Chunk(key=key, data=chunks[key]) for key in missing)
        try:
            response = await send(request)
        except grpc.aio.AioRpcError as error:
            if reason_of(error) != "CHUNKS_UNKNOWN":
                raise
            del request.chunks[:]
            request.chunk_epoch = 0
            request.chunks.extend(checkpoints_pb2.Chunk(key=key, data=data) for key, data in chunks.items())
            response = await send(request)
        if chunks:
            self.learn(request.thread_id, response.chunk_epoch, chunks)
