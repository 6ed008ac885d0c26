"""Requests that look like those of a LangGraph run: a put per step, pending writes of its tasks."""

from typing import Any

from threadmill_protos.threads.v1 import checkpoints_pb2 as pb

Blobs = dict[str, tuple[str, bytes | None]]


def put(
    checkpoint_id: str,
    *,
    ns: str = "",
    parent: str = "",
    new: Blobs | None = None,
    versions: dict[str, str] | None = None,
    metadata: bytes = b"{}",
) -> pb.WriteCheckpointsRequest.Op:
    """A put with the channels in `new` as {channel: (version, data or None for `empty`)}; `versions` are the others."""
    new = new or {}
    return pb.WriteCheckpointsRequest.Op(
        put=pb.Checkpoint(
            checkpoint_ns=ns,
            checkpoint_id=checkpoint_id,
            parent_checkpoint_id=parent,
            body=pb.TypedValue(type="msgpack", data=checkpoint_id.encode()),
            metadata_json=metadata,
            channel_blobs=[
                pb.ChannelBlob(channel=channel, version=version, value=typed(data))
                for channel, (version, data) in new.items()
            ],
            channel_versions={**(versions or {}), **{channel: version for channel, (version, _) in new.items()}},
        )
    )


def typed(data: bytes | None) -> pb.TypedValue:
    return pb.TypedValue(type="empty") if data is None else pb.TypedValue(type="msgpack", data=data)


def writes(
    checkpoint_id: str, task: str, items: list[tuple[int, str, bytes]], *, ns: str = "", path: str = ""
) -> pb.WriteCheckpointsRequest.Op:
    return pb.WriteCheckpointsRequest.Op(
        writes=pb.TaskWrites(
            checkpoint_ns=ns,
            checkpoint_id=checkpoint_id,
            writes=[
                pb.PendingWrite(task_id=task, idx=idx, channel=channel, value=typed(data), task_path=path)
                for idx, channel, data in items
            ],
        )
    )


async def write(service: Any, thread_id: str, *ops: pb.WriteCheckpointsRequest.Op, **fields: Any) -> None:
    await service.checkpoints.WriteCheckpoints(
        pb.WriteCheckpointsRequest(thread_id=thread_id, ops=ops, **fields), timeout=30
    )


async def read(service: Any, thread_id: str, checkpoint_id: str = "", **fields: Any) -> pb.Checkpoint | None:
    response = await service.checkpoints.GetCheckpoint(
        pb.GetCheckpointRequest(thread_id=thread_id, checkpoint_id=checkpoint_id, **fields), timeout=30
    )
    return response.checkpoint if response.HasField("checkpoint") else None


async def listed(service: Any, **fields: Any) -> list[pb.Checkpoint]:
    return [row async for row in service.checkpoints.ListCheckpoints(pb.ListCheckpointsRequest(**fields))]


def blobs(checkpoint: pb.Checkpoint) -> dict[str, bytes]:
    return {blob.channel: blob.value.data for blob in checkpoint.channel_blobs}


TABLES = ("checkpoint", "channel_blob", "chunk", "pending_write", "thread_values")


async def row_counts(service: Any, thread_id: str | None = None) -> dict[str, int]:
    """Rows of each table that belong to a thread, or of all threads."""
    condition = f" WHERE thread_id = '{thread_id}'" if thread_id else ""
    return {table: await service.sql.fetchval(f"SELECT count(*) FROM threads.{table}{condition}") for table in TABLES}
