"""From a cron's payload to the run that a tick creates."""

from typing import Any

import orjson
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.crons.domain import Cron, OnRunCompleted

STRATEGIES = {
    "reject": runs_pb2.MULTITASK_STRATEGY_REJECT,
    "rollback": runs_pb2.MULTITASK_STRATEGY_ROLLBACK,
    "interrupt": runs_pb2.MULTITASK_STRATEGY_INTERRUPT,
    "enqueue": runs_pb2.MULTITASK_STRATEGY_ENQUEUE,
}


def run_request(cron: Cron, run_id: str) -> runs_pb2.CreateRunRequest:
    """What the acceptor is asked. The gateway has validated the payload when the client sent it."""
    payload: dict[str, Any] = orjson.loads(cron.payload_json)
    config: dict[str, Any] = dict(payload.get("config") or {})
    context: dict[str, Any] = payload.get("context") or {}
    # A run takes context or `configurable`, a cron both: beside a context, `configurable` goes as the server's own.
    configurable = config.pop("configurable") if context else {}
    return runs_pb2.CreateRunRequest(
        run_id=run_id,
        thread_id=cron.thread_id or "",
        assistant_id=cron.assistant_id,
        input_json=_json(payload.get("input")),
        config_json=orjson.dumps(config),
        context_json=orjson.dumps(context),
        metadata_json=orjson.dumps(payload.get("metadata") or {}),
        stream_modes=_stream_modes(payload.get("stream_mode")),
        stream_subgraphs=payload.get("stream_subgraphs", False),
        stream_resumable=payload.get("stream_resumable", False),
        interrupt_before_json=_json(payload.get("interrupt_before") or None),
        interrupt_after_json=_json(payload.get("interrupt_after") or None),
        webhook=payload.get("webhook", ""),
        multitask_strategy=STRATEGIES[payload.get("multitask_strategy", "enqueue")],
        keep_on_completion=cron.on_run_completed is OnRunCompleted.KEEP,
        durability=payload.get("durability", ""),
        header_configurable_json=orjson.dumps(configurable) if configurable else b"",
    )


def _json(value: Any) -> bytes:
    return b"" if value is None else orjson.dumps(value)


def _stream_modes(given: str | list[str] | None) -> list[str]:
    modes = [given] if isinstance(given, str) else given or []
    return list(dict.fromkeys(modes))
