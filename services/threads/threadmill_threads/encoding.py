"""Threads as protobuf."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from threadmill_protos.threads.v1 import threads_pb2 as pb

from threadmill_threads.domain import Json, Status, Thread, ThreadStorage, TtlStrategy

STATES = {
    Status.IDLE: pb.THREAD_STATE_IDLE,
    Status.BUSY: pb.THREAD_STATE_BUSY,
    Status.INTERRUPTED: pb.THREAD_STATE_INTERRUPTED,
    Status.ERROR: pb.THREAD_STATE_ERROR,
}
STRATEGIES = {
    TtlStrategy.DELETE: pb.TTL_STRATEGY_DELETE,
    TtlStrategy.KEEP_LATEST: pb.TTL_STRATEGY_KEEP_LATEST,
}


def thread(row: Thread, *, include_ttl: bool = False) -> pb.Thread:
    """Columns that the row lacks stay empty."""
    return pb.Thread(
        thread_id=str(row.thread_id or ""),
        create_time=_timestamp(row.created_at),
        update_time=_timestamp(row.updated_at),
        state_update_time=_timestamp(row.state_updated_at),
        metadata_json=_bytes(row.metadata),
        config_json=_bytes(row.config),
        state=STATES[row.status] if row.status else pb.THREAD_STATE_UNSPECIFIED,
        values_json=_bytes(row.values),
        interrupts_json=_bytes(row.interrupts),
        error_json=_bytes(row.error),
        ttl=_ttl(row) if include_ttl else None,
        extracted_json=_bytes(row.extracted),
    )


def storage(used: ThreadStorage) -> pb.ThreadStorage:
    """Sizes in bytes."""
    return pb.ThreadStorage(
        checkpoint_count=used.checkpoints.count,
        checkpoint_bytes=used.checkpoints.size_bytes,
        channels=[
            pb.ThreadStorage.Channel(channel=name, version_count=usage.count, size_bytes=usage.size_bytes)
            for name, usage in used.channels.items()
        ],
        pending_write_count=used.pending_writes.count,
        pending_write_bytes=used.pending_writes.size_bytes,
    )


def _ttl(row: Thread) -> pb.ThreadTtl | None:
    if row.ttl is None:
        return None
    return pb.ThreadTtl(
        strategy=STRATEGIES[row.ttl.strategy],
        ttl_minutes=row.ttl.minutes,
        expire_time=_timestamp(row.expires_at),
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def _bytes(text: Json | None) -> bytes:
    return text.encode() if text is not None else b""
