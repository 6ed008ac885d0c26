"""Checkpoints as LangGraph holds them to protobuf and back. Runs on the caller's thread: it may execute user code."""

from collections.abc import Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from threadmill_protos.threads.v1 import checkpoints_pb2

from threadmill_runs.executor.encoding import decode, encode

Op = checkpoints_pb2.WriteCheckpointsRequest.Op
_EMPTY = "empty"
# Of `configurable`, what clients do not see in the metadata of a checkpoint.
_UNSHOWN = frozenset(
    ("thread_id", "checkpoint_id", "checkpoint_ns", "langgraph_auth_user", "langgraph_auth_permissions")
)
# Far below where JSON ends; also what keeps a cycle from being walked for ever.
_METADATA_DEPTH = 50


def put_op(
    serde: SerializerProtocol,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
) -> Op:
    """The operation that stores a checkpoint; only the channels in `new_versions` travel, one blob each."""
    where = config["configurable"]
    values = checkpoint["channel_values"]
    blobs = [
        checkpoints_pb2.ChannelBlob(
            channel=channel,
            version=str(version),
            value=_typed(serde, values[channel]) if channel in values else checkpoints_pb2.TypedValue(type=_EMPTY),
        )
        for channel, version in new_versions.items()
    ]
    body = {key: value for key, value in checkpoint.items() if key != "channel_values"}
    put = checkpoints_pb2.Checkpoint(
        thread_id=str(where["thread_id"]),
        checkpoint_ns=where.get("checkpoint_ns") or "",
        checkpoint_id=checkpoint["id"],
        parent_checkpoint_id=where.get("checkpoint_id") or "",
        body=_typed(serde, body),
        metadata_json=_metadata(config, metadata),
        channel_blobs=blobs,
        channel_versions={channel: str(version) for channel, version in checkpoint["channel_versions"].items()},
    )
    return Op(put=put)


def writes_op(
    serde: SerializerProtocol,
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
) -> Op:
    """The operation that stores one task's writes. Special channels have fixed negative positions."""
    where = config["configurable"]
    pending = [
        checkpoints_pb2.PendingWrite(
            task_id=task_id,
            idx=WRITES_IDX_MAP.get(channel, position),
            channel=channel,
            value=_typed(serde, value),
            task_path=task_path,
        )
        for position, (channel, value) in enumerate(writes)
    ]
    return Op(
        writes=checkpoints_pb2.TaskWrites(
            checkpoint_ns=where.get("checkpoint_ns") or "", checkpoint_id=where["checkpoint_id"], writes=pending
        )
    )


def to_tuple(serde: SerializerProtocol, stored: checkpoints_pb2.Checkpoint) -> CheckpointTuple:
    """What LangGraph reads: the checkpoint with its channel values and pending writes."""
    body = _untyped(serde, stored.body)
    values = {blob.channel: _untyped(serde, blob.value) for blob in stored.channel_blobs if blob.value.type != _EMPTY}
    parent_id = stored.parent_checkpoint_id
    return CheckpointTuple(
        config=config_of(stored.thread_id, stored.checkpoint_ns, stored.checkpoint_id),
        checkpoint=cast("Checkpoint", {**body, "channel_values": values}),
        metadata=cast("CheckpointMetadata", decode(stored.metadata_json or b"{}")),
        parent_config=config_of(stored.thread_id, stored.checkpoint_ns, parent_id) if parent_id else None,
        pending_writes=[_pending(serde, write) for write in stored.pending_writes],
    )


def to_history(
    serde: SerializerProtocol, channel: checkpoints_pb2.GetChannelHistoryResponse.Channel
) -> DeltaChannelHistory:
    """The writes of one channel since its last stored value, and that value if there is one."""
    history: DeltaChannelHistory = {"writes": [_pending(serde, write) for write in channel.writes]}
    if channel.HasField("seed") and channel.seed.type != _EMPTY:
        history["seed"] = _untyped(serde, channel.seed)
    return history


def config_of(thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> RunnableConfig:
    """The config that names one checkpoint."""
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id}}


def _metadata(config: RunnableConfig, metadata: CheckpointMetadata) -> bytes:
    """JSON of a checkpoint's metadata with what clients see of its config there, as on the reference server.

    That is the config's `metadata` and, under it, its `configurable`, unlike what LangGraph's own savers keep with
    all that is JSON. Never thread_id: views add that from where the checkpoint lies, so that a copied thread tells its
    own.
    """
    configurable = {key: value for key, value in config["configurable"].items() if key not in _UNSHOWN}
    of_config = {**configurable, **(config.get("metadata") or {})}
    shown = {key: value for key, value in of_config.items() if not key.startswith("__") and _is_json(value)}
    return encode({key: value for key, value in {**shown, **metadata}.items() if key not in ("thread_id", "writes")})


def _is_json(value: Any, depth: int = _METADATA_DEPTH) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(key, str) and _is_json(item, depth - 1) for key, item in value.items())
    if isinstance(value, list | tuple):
        return depth > 0 and all(_is_json(item, depth - 1) for item in value)
    return value is None or isinstance(value, str | int | float)


def _typed(serde: SerializerProtocol, value: Any) -> checkpoints_pb2.TypedValue:
    kind, data = serde.dumps_typed(value)
    return checkpoints_pb2.TypedValue(type=kind, data=bytes(data))


def _untyped(serde: SerializerProtocol, value: checkpoints_pb2.TypedValue) -> Any:
    return serde.loads_typed((value.type, value.data))


def _pending(serde: SerializerProtocol, write: checkpoints_pb2.PendingWrite) -> PendingWrite:
    return (write.task_id, write.channel, _untyped(serde, write.value))
