"""The checkpointer of a state update: holds back all that is written until it is committed, in one call."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, DeltaChannelHistory
from threadmill_protos.threads.v1 import checkpoints_pb2, threads_pb2

from threadmill_runs.executor.checkpoints import chunking, wire
from threadmill_runs.executor.checkpoints.outages import CALL_TIMEOUT_SECONDS, through_outages
from threadmill_runs.executor.checkpoints.saver import GrpcSaver

Place = tuple[str, str]
Writes = dict[tuple[str, int], checkpoints_pb2.PendingWrite]


class UpdateSaver(GrpcSaver):
    """For one update of one thread; without a fence. Reads of one checkpoint see what was written; listings do not.

    The commit is refused if the thread's state changed after the first read, or what it builds on was deleted.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._staged = Staged()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As GrpcSaver's; what was written here is newer than all that is stored."""
        staged = self._staged.find(config)
        return wire.to_tuple(self.serde, staged) if staged else self._tuple(await self._bridge.run(self._read(config)))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `aget_tuple`, blocking."""
        staged = self._staged.find(config)
        return (
            wire.to_tuple(self.serde, staged) if staged else self._tuple(self._bridge.run_blocking(self._read(config)))
        )

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As GrpcSaver's; of a checkpoint that was written here, by walking its ancestors one by one."""
        if self._staged.find(config):
            return await BaseCheckpointSaver.aget_delta_channel_history(self, config=config, channels=channels)
        return await super().aget_delta_channel_history(config=config, channels=channels)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `aget_delta_channel_history`, blocking."""
        if self._staged.find(config):
            return BaseCheckpointSaver.get_delta_channel_history(self, config=config, channels=channels)
        return super().get_delta_channel_history(config=config, channels=channels)

    async def commit(self, thread_id: str, resting: threads_pb2.RestingState) -> None:
        """Stores all of it and what the thread rests in, or nothing. Repeating it after a lost answer is safe.

        Raises grpc.aio.AioRpcError: THREAD_NOT_FOUND, THREAD_BUSY while a run is active, STATE_CHANGED,
        CHECKPOINT_GONE if the checkpoint that was updated has been deleted since it was read.
        """
        request = checkpoints_pb2.WriteCheckpointsRequest(
            thread_id=thread_id, resting=resting, expected_state_micros=self._staged.state_micros or 0
        )
        chunks: chunking.Chunks = {}
        for op in self._staged.ops:
            cut, its_chunks = chunking.split(op)
            request.ops.append(cut)
            chunks.update(its_chunks)
        await self._bridge.run(lambda: self._known_chunks.write(self._send, request, chunks, {}))

    async def _send(self, request: checkpoints_pb2.WriteCheckpointsRequest) -> checkpoints_pb2.WriteCheckpointsResponse:
        return await through_outages(
            lambda: self._stub.WriteCheckpoints(request, timeout=CALL_TIMEOUT_SECONDS, wait_for_ready=True)
        )

    def _read(self, config: RunnableConfig) -> Callable[[], Coroutine[Any, Any, checkpoints_pb2.GetCheckpointResponse]]:
        async def read() -> checkpoints_pb2.GetCheckpointResponse:
            response = await self._get(config)
            self._staged.saw(response)
            return response

        return read

    def _store(self, thread_id: str, op: wire.Op) -> Future[None] | None:
        self._staged.add(op)
        return None


class Staged:
    """Operations not yet sent, and the checkpoints that they will make."""

    def __init__(self) -> None:
        self.ops: list[wire.Op] = []
        self.state_micros: int | None = None
        self._checkpoints: dict[Place, checkpoints_pb2.Checkpoint] = {}
        self._blobs: dict[tuple[str, str, str], checkpoints_pb2.ChannelBlob] = {}
        self._writes: dict[Place, Writes] = {}

    def saw(self, response: checkpoints_pb2.GetCheckpointResponse) -> None:
        """A checkpoint was read: what is written next builds on its values. Adds the writes that were made to it."""
        if self.state_micros is None:
            self.state_micros = response.state_micros
        if not response.HasField("checkpoint"):
            return
        found = response.checkpoint
        for blob in found.channel_blobs:
            self._blobs[found.checkpoint_ns, blob.channel, blob.version] = blob
        writes = {(write.task_id, write.idx): write for write in found.pending_writes}
        for place, write in self._writes.get((found.checkpoint_ns, found.checkpoint_id), {}).items():
            _add(writes, place, write)
        merged = _in_order(writes)
        del found.pending_writes[:]
        found.pending_writes.extend(merged)

    def add(self, op: wire.Op) -> None:
        """Takes over an operation."""
        self.ops.append(op)
        if op.HasField("put"):
            self._checkpoints[op.put.checkpoint_ns, op.put.checkpoint_id] = op.put
            for blob in op.put.channel_blobs:
                self._blobs.setdefault((op.put.checkpoint_ns, blob.channel, blob.version), blob)
        else:
            writes = self._writes.setdefault((op.writes.checkpoint_ns, op.writes.checkpoint_id), {})
            for write in op.writes.writes:
                _add(writes, (write.task_id, write.idx), write)

    def find(self, config: RunnableConfig) -> checkpoints_pb2.Checkpoint | None:
        """The checkpoint that `config` names, or the newest of its namespace, if it was written here."""
        where = config["configurable"]
        ns, wanted = where.get("checkpoint_ns") or "", where.get("checkpoint_id")
        newest = wanted or max((key for place, key in self._checkpoints if place == ns), default="")
        put = self._checkpoints.get((ns, newest))
        if put is None:
            return None
        blobs = [self._blobs.get((ns, channel, version)) for channel, version in put.channel_versions.items()]
        return checkpoints_pb2.Checkpoint(
            thread_id=put.thread_id,
            checkpoint_ns=ns,
            checkpoint_id=put.checkpoint_id,
            parent_checkpoint_id=put.parent_checkpoint_id,
            body=put.body,
            metadata_json=put.metadata_json,
            channel_blobs=[blob for blob in blobs if blob is not None],
            pending_writes=_in_order(self._writes.get((ns, newest), {})),
        )


def _add(writes: Writes, place: tuple[str, int], write: checkpoints_pb2.PendingWrite) -> None:
    """By the rules of the tables: special channels replace what is there, others keep it."""
    if write.idx < 0 or place not in writes:
        writes[place] = write


def _in_order(writes: Writes) -> list[checkpoints_pb2.PendingWrite]:
    return sorted(writes.values(), key=lambda write: (write.task_path, write.task_id, write.idx))
