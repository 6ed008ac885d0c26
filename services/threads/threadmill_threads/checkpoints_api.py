"""The gRPC edge of checkpoints."""

# ruff: noqa: N802 - the methods are named by the protos

from collections.abc import AsyncIterator

import orjson
from google.protobuf import empty_pb2
from threadmill_chassis.errors import InvalidArgument
from threadmill_protos.threads.v1 import checkpoints_pb2 as pb
from threadmill_protos.threads.v1 import checkpoints_pb2_grpc

from threadmill_threads import decoding
from threadmill_threads.checkpoints import (
    ChannelBlob,
    Checkpoint,
    CheckpointKey,
    CheckpointQuery,
    Fence,
    PendingWrite,
    TypedValue,
    WriteBatch,
)
from threadmill_threads.checkpoints_repo import CheckpointsRepo
from threadmill_threads.domain import Json, RunEnding, ThreadId
from threadmill_threads.state_updates import StateUpdates
from threadmill_threads.threads_api import Context


class CheckpointsApi(checkpoints_pb2_grpc.CheckpointsServicer):
    """Serves threadmill.threads.v1.Checkpoints."""

    def __init__(self, repo: CheckpointsRepo, updates: StateUpdates) -> None:
        self._repo = repo
        self._updates = updates

    async def GetCheckpoint(self, request: pb.GetCheckpointRequest, context: Context) -> pb.GetCheckpointResponse:
        """See the proto."""
        key = CheckpointKey(request.checkpoint_ns, request.checkpoint_id)
        found = await self._repo.read(
            decoding.thread_id(request.thread_id), key, _fence(request), with_thread=request.with_thread
        )
        return pb.GetCheckpointResponse(
            checkpoint=_encode(found.checkpoint) if found.checkpoint else None,
            chunk_epoch=found.chunk_epoch,
            state_micros=found.state_micros,
            run_settled=found.run_settled,
            thread=_encode_identity(found.identity) if found.identity else None,
        )

    async def ListCheckpoints(
        self, request: pb.ListCheckpointsRequest, context: Context
    ) -> AsyncIterator[pb.Checkpoint]:
        """See the proto."""
        if request.limit < 0 or request.max_bytes < 0:
            raise InvalidArgument("limit and max_bytes must not be negative")
        query = CheckpointQuery(
            thread_id=decoding.thread_id(request.thread_id) if request.thread_id else None,
            checkpoint_ns=request.checkpoint_ns if request.HasField("checkpoint_ns") else None,
            checkpoint_id=request.checkpoint_id,
            before_checkpoint_id=request.before_checkpoint_id,
            metadata=decoding.json_object(request.metadata_json, "metadata"),
            limit=request.limit,
            max_bytes=request.max_bytes,
        )
        async for checkpoint in self._repo.listed(query):
            yield _encode(checkpoint)

    async def WriteCheckpoints(
        self, request: pb.WriteCheckpointsRequest, context: Context
    ) -> pb.WriteCheckpointsResponse:
        """See the proto."""
        thread_id, fence = decoding.thread_id(request.thread_id), _fence(request)
        batch = _batch(thread_id, request)
        if not request.HasField("resting"):
            epoch = await self._repo.write(thread_id, batch, fence, _ending(request, fence))
        elif fence is None and not request.HasField("end"):
            resting = decoding.resting(request.resting)
            epoch = await self._updates.commit(thread_id, batch, resting, request.expected_state_micros)
        else:
            raise InvalidArgument("resting is for updates without a run: what a run leaves is said by its end")
        return pb.WriteCheckpointsResponse(chunk_epoch=epoch)

    async def GetChannelHistory(
        self, request: pb.GetChannelHistoryRequest, context: Context
    ) -> pb.GetChannelHistoryResponse:
        """See the proto."""
        thread_id = decoding.thread_id(request.thread_id)
        key = CheckpointKey(request.checkpoint_ns, request.checkpoint_id)
        channels = list(dict.fromkeys(request.channels))
        found = await self._repo.history(thread_id, key, channels) if channels else []
        return pb.GetChannelHistoryResponse(
            channels=[
                pb.GetChannelHistoryResponse.Channel(
                    channel=history.channel,
                    writes=map(_encode_write, history.writes),
                    seed=_encode_value(history.seed) if history.seed else None,
                )
                for history in found
            ]
        )

    async def DeleteCheckpoints(self, request: pb.DeleteCheckpointsRequest, context: Context) -> empty_pb2.Empty:
        """See the proto."""
        await self._repo.delete([decoding.thread_id(request.thread_id)])
        return empty_pb2.Empty()

    async def DeleteCheckpointsForRuns(
        self, request: pb.DeleteCheckpointsForRunsRequest, context: Context
    ) -> empty_pb2.Empty:
        """See the proto."""
        await self._repo.delete_runs(list(request.run_ids))
        return empty_pb2.Empty()

    async def CopyCheckpoints(self, request: pb.CopyCheckpointsRequest, context: Context) -> empty_pb2.Empty:
        """See the proto."""
        await self._repo.copy(
            decoding.thread_id(request.source_thread_id), decoding.thread_id(request.target_thread_id)
        )
        return empty_pb2.Empty()

    async def PruneCheckpoints(self, request: pb.PruneCheckpointsRequest, context: Context) -> empty_pb2.Empty:
        """See the proto."""
        thread_ids = decoding.thread_ids(request.thread_ids)
        await (self._repo.delete(thread_ids) if request.delete_all else self._repo.prune(thread_ids))
        return empty_pb2.Empty()


def _encode_identity(identity: tuple[Json, Json]) -> pb.ThreadIdentity:
    metadata, config = identity
    return pb.ThreadIdentity(metadata_json=metadata.encode(), config_json=config.encode())


def _fence(request: pb.GetCheckpointRequest | pb.WriteCheckpointsRequest) -> Fence | None:
    if not request.HasField("fence"):
        return None
    if request.fence.token <= 0:
        raise InvalidArgument("fence.token must be positive")
    return Fence(request.fence.run_id, request.fence.token)


def _ending(request: pb.WriteCheckpointsRequest, fence: Fence | None) -> RunEnding | None:
    if not request.HasField("end"):
        return None
    if fence is None:
        raise InvalidArgument("only a fenced request can end its run")
    return RunEnding(
        run_id=decoding.run_id(fence.run_id),
        token=fence.token,
        resting=decoding.resting(request.end.resting),
        stamp=decoding.json_object(request.end.stamp_metadata_json, "stamp_metadata"),
    )


def _batch(thread_id: ThreadId, request: pb.WriteCheckpointsRequest) -> WriteBatch:
    batch = WriteBatch(
        chunks={chunk.key: chunk.data for chunk in request.chunks},
        chunk_epoch=request.chunk_epoch,
    )
    for op in request.ops:
        if op.HasField("put"):
            batch.put(_decode(thread_id, op.put))
        elif op.HasField("writes"):
            key = CheckpointKey(op.writes.checkpoint_ns, op.writes.checkpoint_id)
            batch.write(key, map(_decode_write, op.writes.writes))
    return batch


def _decode(thread_id: ThreadId, message: pb.Checkpoint) -> Checkpoint:
    return Checkpoint(
        thread_id=thread_id,
        key=CheckpointKey(message.checkpoint_ns, message.checkpoint_id),
        parent_checkpoint_id=message.parent_checkpoint_id,
        body=_decode_value(message.body),
        metadata=decoding.json_object(message.metadata_json, "metadata") or decoding.EMPTY,
        channel_versions=Json(orjson.dumps(dict(message.channel_versions)).decode()),
        blobs=tuple(
            ChannelBlob(blob.channel, blob.version, _decode_value(blob.value)) for blob in message.channel_blobs
        ),
    )


def _decode_value(message: pb.TypedValue) -> TypedValue:
    return TypedValue(message.type, message.data, message.chunk_keys)


def _decode_write(message: pb.PendingWrite) -> PendingWrite:
    return PendingWrite(message.task_id, message.idx, message.channel, _decode_value(message.value), message.task_path)


def _encode(checkpoint: Checkpoint) -> pb.Checkpoint:
    return pb.Checkpoint(
        thread_id=str(checkpoint.thread_id),
        checkpoint_ns=checkpoint.key.checkpoint_ns,
        checkpoint_id=checkpoint.key.checkpoint_id,
        parent_checkpoint_id=checkpoint.parent_checkpoint_id,
        body=_encode_value(checkpoint.body),
        metadata_json=checkpoint.metadata.encode(),
        channel_blobs=[
            pb.ChannelBlob(channel=blob.channel, version=blob.version, value=_encode_value(blob.value))
            for blob in checkpoint.blobs
        ],
        channel_versions=orjson.loads(checkpoint.channel_versions),
        pending_writes=map(_encode_write, checkpoint.pending_writes),
    )


def _encode_value(value: TypedValue) -> pb.TypedValue:
    return pb.TypedValue(type=value.type, data=value.data, chunk_keys=value.chunk_keys)


def _encode_write(write: PendingWrite) -> pb.PendingWrite:
    return pb.PendingWrite(
        task_id=write.task_id,
        idx=write.idx,
        channel=write.channel,
        value=_encode_value(write.value),
        task_path=write.task_path,
    )
