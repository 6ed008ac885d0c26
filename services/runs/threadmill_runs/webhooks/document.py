"""The body of a webhook call (contract: runs.md, Webhook)."""

from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from threadmill_runs.queue.run import Run

# How the documents of runs spell a webhook; nothing but a run with one (or, rarely, its input) contains it.
MARKER = b'"webhook":"'


def webhook_of(kwargs_json: bytes) -> str | None:
    """The URL that a run's kwargs name. Most runs have none, which is seen without decoding their input."""
    if MARKER not in kwargs_json:
        return None
    url: str | None = orjson.loads(kwargs_json).get("webhook")
    return url


@dataclass(frozen=True, slots=True)
class RunEnding:
    """How a run ends, as webhooks tell it: also `rollback` and `timeout`. JSON documents; empty means absent."""

    status: str
    error_json: bytes = b""
    values_json: bytes = b""


def record_document(run: Run, ending: RunEnding) -> bytes:
    """What is known before the run becomes terminal."""
    document: dict[str, object] = {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "status": ending.status,
        "metadata": orjson.Fragment(run.metadata_json),
        "kwargs": orjson.Fragment(run.kwargs_json),
        "multitask_strategy": run.strategy.value,
        "created_at": _text(run.created_at),
        "langsmith_session_name": None,
        "run_started_at": _text(run.started_at) if run.started_at else None,
        "values": orjson.Fragment(ending.values_json or b"null"),
    }
    if ending.error_json not in (b"", b"null"):
        document["error"] = orjson.Fragment(ending.error_json)
    return orjson.dumps(document)


def body(document: bytes, updated_at: datetime, ended_at: datetime) -> bytes:
    """The body of one call: the recorded document with the times that were not known, spliced in at its end."""
    times = {
        "updated_at": _text(updated_at),
        "run_ended_at": _text(ended_at),
        "webhook_sent_at": _text(datetime.now(UTC)),
    }
    return document[:-1] + b"," + orjson.dumps(times)[1:]


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
