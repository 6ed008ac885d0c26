"""Checkpoints between Postgres and the domain: rows read, and batches as one array for each column."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from threadmill_threads.checkpoints import (
    Base,
    ChannelBlob,
    ChannelHistory,
    Checkpoint,
    CheckpointKey,
    PendingWrite,
    TypedValue,
    WriteBatch,
)


def columns(batch: WriteBatch) -> dict[str, Any]:
    """The batch as one array for each column, without its base."""
    puts, blobs, writes = list(batch.puts.values()), list(batch.blobs.items()), list(batch.writes.items())
    return {
        "chunk_epoch": batch.chunk_epoch,
        "chunk_keys": list(batch.chunks),
        "chunk_data": list(batch.chunks.values()),
        "put_ns": [put.key.checkpoint_ns for put in puts],
        "put_ids": [put.key.checkpoint_id for put in puts],
        "put_parents": [put.parent_checkpoint_id for put in puts],
        "put_types": [put.body.type for put in puts],
        "put_bodies": [put.body.data for put in puts],
        "put_metadata": [put.metadata for put in puts],
        "put_versions": [put.channel_versions for put in puts],
        "blob_ns": [ns for (ns, _, _), _ in blobs],
        "blob_channels": [blob.channel for _, blob in blobs],
        "blob_versions": [blob.version for _, blob in blobs],
        "blob_types": [blob.value.type for _, blob in blobs],
        "blob_data": [blob.value.data for _, blob in blobs],
        "blob_keys": [blob.value.chunk_keys or None for _, blob in blobs],
        "write_ns": [key.checkpoint_ns for (key, _, _), _ in writes],
        "write_checkpoints": [key.checkpoint_id for (key, _, _), _ in writes],
        "write_tasks": [write.task_id for _, write in writes],
        "write_idxs": [write.idx for _, write in writes],
        "write_channels": [write.channel for _, write in writes],
        "write_types": [write.value.type for _, write in writes],
        "write_data": [write.value.data for _, write in writes],
        "write_paths": [write.task_path for _, write in writes],
        "write_keys": [write.value.chunk_keys or None for _, write in writes],
    }


def base_columns(base: Base) -> dict[str, Any]:
    """What has to be stored already, as one array for each column."""
    return {
        "base_ns": [ns for ns, _, _ in base.blobs],
        "base_channels": [channel for _, channel, _ in base.blobs],
        "base_versions": [version for _, _, version in base.blobs],
        "base_checkpoint_ns": [key.checkpoint_ns for key in base.checkpoints],
        "base_checkpoint_ids": [key.checkpoint_id for key in base.checkpoints],
        "base_keys": list(base.chunks),
    }


def to_checkpoint(row: Mapping[str, Any]) -> Checkpoint:
    """From a row of threads.full_checkpoint."""
    blobs = _zipped(row, "blob", ("channels", "versions", "types", "data", "keys"))
    writes = _zipped(row, "write", ("tasks", "idxs", "channels", "types", "data", "paths", "keys"))
    return Checkpoint(
        thread_id=row["thread_id"],
        key=CheckpointKey(row["checkpoint_ns"], row["checkpoint_id"]),
        parent_checkpoint_id=row["parent_checkpoint_id"],
        body=TypedValue(row["body_type"], row["body"]),
        metadata=row["metadata"],
        channel_versions=row["channel_versions"],
        blobs=tuple(
            ChannelBlob(channel, version, TypedValue(kind, data, keys or b""))
            for channel, version, kind, data, keys in blobs
        ),
        pending_writes=tuple(
            PendingWrite(task, idx, channel, TypedValue(kind, data, keys or b""), path)
            for task, idx, channel, kind, data, path, keys in writes
        ),
    )


def to_history(channel: str, rows: Sequence[Mapping[str, Any]]) -> ChannelHistory:
    """From the rows of one channel, oldest first."""
    writes = tuple(
        PendingWrite(row["task_id"], row["idx"], channel, TypedValue(row["type"], row["data"]), row["task_path"])
        for row in rows
        if not row["is_seed"]
    )
    seeds = [TypedValue(row["type"], row["data"]) for row in rows if row["is_seed"]]
    return ChannelHistory(channel, writes, seeds[0] if seeds else None)


def _zipped(row: Mapping[str, Any], prefix: str, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Parallel arrays as tuples."""
    return zip(*(row[f"{prefix}_{name}"] or () for name in names), strict=True)
