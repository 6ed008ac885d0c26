"""Protobuf messages as the REST documents, with ready JSON spliced in rather than decoded and encoded again."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.background import BackgroundTask
from starlette.responses import Response
from threadmill_protos.runs.v1 import assistants_pb2, runs_pb2
from threadmill_protos.store.v1 import store_pb2
from threadmill_protos.threads.v1 import threads_pb2

from threadmill_gateway.errors import refuse

THREAD_STATES = {
    threads_pb2.THREAD_STATE_IDLE: "idle",
    threads_pb2.THREAD_STATE_BUSY: "busy",
    threads_pb2.THREAD_STATE_INTERRUPTED: "interrupted",
    threads_pb2.THREAD_STATE_ERROR: "error",
}
RUN_STATES = {
    runs_pb2.RUN_STATE_PENDING: "pending",
    runs_pb2.RUN_STATE_RUNNING: "running",
    runs_pb2.RUN_STATE_SUCCESS: "success",
    runs_pb2.RUN_STATE_ERROR: "error",
    runs_pb2.RUN_STATE_TIMEOUT: "timeout",
    runs_pb2.RUN_STATE_INTERRUPTED: "interrupted",
}
STRATEGIES = {
    runs_pb2.MULTITASK_STRATEGY_ENQUEUE: "enqueue",
    runs_pb2.MULTITASK_STRATEGY_REJECT: "reject",
    runs_pb2.MULTITASK_STRATEGY_INTERRUPT: "interrupt",
    runs_pb2.MULTITASK_STRATEGY_ROLLBACK: "rollback",
}

Document = dict[str, Any]

# A NUL, escaped: an even number of backslashes before it, so that it is no literal `\u0000` text.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def dumps(value: Any) -> bytes:
    """A client's value as JSON. NUL characters go: Postgres can store them in no text. 422 as `exact`."""
    encoded = exact(value)
    return _NUL.sub(rb"\1", encoded) if b"\\u0000" in encoded else encoded


def exact(value: Any) -> bytes:
    """A client's value as JSON, for a service that refuses NUL characters itself.

    422 for what is nested too deeply (254 levels): what was read can have more levels than what can be written.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError as error:
        raise refuse(422, "The JSON in the request body is nested too deeply") from error


def document_response(
    document: Any, headers: Mapping[str, str] | None = None, status: int = 200, background: BackgroundTask | None = None
) -> Response:
    """A JSON response; fragments within the document are spliced."""
    return json_response(orjson.dumps(document), headers, status, background)


def json_response(
    body: bytes, headers: Mapping[str, str] | None = None, status: int = 200, background: BackgroundTask | None = None
) -> Response:
    """A response of ready JSON."""
    return Response(body, status, dict(headers or {}), media_type="application/json", background=background)


def no_content() -> Response:
    """204."""
    return Response(status_code=204)


def time_of(timestamp: Timestamp) -> str:
    """ISO 8601 in UTC with microseconds and `+00:00`."""
    moment = datetime.fromtimestamp(timestamp.seconds, UTC).replace(microsecond=timestamp.nanos // 1000)
    return moment.isoformat(timespec="microseconds")


def fragment(ready: bytes, absent: bytes = b"{}") -> orjson.Fragment:
    """Ready JSON, or `absent` for empty bytes."""
    return orjson.Fragment(ready or absent)


def thread(row: threads_pb2.Thread) -> Document:
    """A thread. One that never ran has `values: null` and neither `error` nor `interrupts`."""
    found: Document = {
        "thread_id": row.thread_id,
        "created_at": time_of(row.create_time),
        "updated_at": time_of(row.update_time),
        "state_updated_at": time_of(row.state_update_time),
        "metadata": fragment(row.metadata_json),
        "status": THREAD_STATES.get(row.state, "idle"),
        "config": fragment(row.config_json),
        "values": fragment(row.values_json, b"null"),
    }
    if row.error_json:
        found["error"] = orjson.Fragment(row.error_json)
    if row.interrupts_json:
        found["interrupts"] = orjson.Fragment(row.interrupts_json)
    if row.extracted_json:
        found["extracted"] = orjson.Fragment(row.extracted_json)
    return found


def thread_with_ttl(row: threads_pb2.Thread) -> Document:
    """A thread and its time to live, null when it has none."""
    found = thread(row)
    found["ttl"] = _ttl(row.ttl) if row.HasField("ttl") else None
    return found


def _ttl(ttl: threads_pb2.ThreadTtl) -> Document:
    keep = ttl.strategy == threads_pb2.TTL_STRATEGY_KEEP_LATEST
    return {
        "strategy": "keep_latest" if keep else "delete",
        "ttl_minutes": ttl.ttl_minutes,
        "expires_at": time_of(ttl.expire_time) if ttl.HasField("expire_time") else None,
    }


def selected(document: Document, names: list[str], always: tuple[str, ...] = ()) -> Document:
    """Only the keys that the client selected; all when it selected none."""
    if not names:
        return document
    wanted = {*names, *always}
    return {key: value for key, value in document.items() if key in wanted}


def storage(thread_id: str, found: threads_pb2.ThreadStorage) -> Document:
    """What a thread's checkpoints occupy."""
    channels = {
        channel.channel: {"versions": channel.version_count, "bytes": channel.size_bytes} for channel in found.channels
    }
    channel_bytes = sum(channel.size_bytes for channel in found.channels)
    return {
        "thread_id": thread_id,
        "total_bytes": found.checkpoint_bytes + channel_bytes + found.pending_write_bytes,
        "checkpoints": {"count": found.checkpoint_count, "bytes": found.checkpoint_bytes},
        "channel_values": {
            "count": sum(channel.version_count for channel in found.channels),
            "bytes": channel_bytes,
            "by_channel": channels,
        },
        "pending_writes": {"count": found.pending_write_count, "bytes": found.pending_write_bytes},
    }


def run(row: runs_pb2.Run) -> Document:
    """A run."""
    return {
        "run_id": row.run_id,
        "thread_id": row.thread_id,
        "assistant_id": row.assistant_id,
        "status": RUN_STATES.get(row.state, "pending"),
        "metadata": fragment(row.metadata_json),
        "kwargs": fragment(row.kwargs_json),
        "multitask_strategy": STRATEGIES.get(row.multitask_strategy, "enqueue"),
        "created_at": time_of(row.create_time),
        "updated_at": time_of(row.update_time),
        "langsmith_session_name": None,
    }


def assistant_version(row: assistants_pb2.Assistant) -> Document:
    """One version of an assistant."""
    return {
        "assistant_id": row.assistant_id,
        "graph_id": row.graph_id,
        "config": fragment(row.config_json),
        "context": fragment(row.context_json),
        "metadata": fragment(row.metadata_json),
        "name": row.name,
        "created_at": time_of(row.create_time),
        "version": row.version,
        "description": row.description if row.HasField("description") else None,
    }


def assistant(row: assistants_pb2.Assistant) -> Document:
    """An assistant."""
    return {**assistant_version(row), "updated_at": time_of(row.update_time)}


def item(row: store_pb2.Item) -> Document:
    """An item of the store."""
    return {
        "namespace": list(row.namespace),
        "key": row.key,
        "value": fragment(row.value_json),
        "created_at": time_of(row.create_time),
        "updated_at": time_of(row.update_time),
    }


def hit(row: store_pb2.Item) -> Document:
    """An item that a search found."""
    return {**item(row), "score": row.score if row.HasField("score") else None}
