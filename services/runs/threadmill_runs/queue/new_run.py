"""The row of a new run, made from the request and the assistant: merged config, metadata, and the kwargs document."""

from math import isfinite
from typing import Any
from uuid import UUID, uuid5

import orjson
from threadmill_chassis.errors import InvalidArgument
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from threadmill_runs.assistants.domain import Assistant
from threadmill_runs.assistants.repo import is_uuid
from threadmill_runs.queue.run import NewRun, Strategy

# Centuries ahead or back mean a caller's mistake, and are beyond what Postgres can add to a date.
LONGEST_DELAY_SECONDS = 100 * 366 * 86_400

Merged = tuple[dict[str, Any], dict[str, Any]]


def thread_of(request: runs_pb2.CreateRunRequest, run_id: str) -> str:
    """The run's thread: the one that is named, or its own, which a repeated call must find again.

    A thread that disappears with its run has the run's id, by which the reconciler knows it; one that is kept has not.
    """
    if request.thread_id:
        return request.thread_id
    return str(uuid5(UUID(run_id), "thread")) if request.keep_on_completion else run_id


def check(request: runs_pb2.CreateRunRequest) -> None:
    """Refuses what would fail later as an internal error, and brings ids into one spelling. Raises InvalidArgument."""
    for name, kind in (("run_id", "run"), ("thread_id", "thread")):
        text = getattr(request, name)
        if text and not is_uuid(text):
            raise InvalidArgument(f"Invalid {kind} ID")
        setattr(request, name, str(UUID(text)) if text else "")
    for name in ("config_json", "context_json", "metadata_json", "checkpoint_json", "header_configurable_json"):
        _check_object(getattr(request, name), name.removesuffix("_json"))
    if not isfinite(request.after_seconds) or abs(request.after_seconds) > LONGEST_DELAY_SECONDS:
        raise InvalidArgument("after_seconds: must be at most 100 years")


def _check_object(json: bytes, name: str) -> None:
    try:
        wrong = json and not isinstance(orjson.loads(json), dict)
    except orjson.JSONDecodeError:
        wrong = True
    if wrong:
        raise InvalidArgument(f"{name}: must be a JSON object")


def new_run(
    request: runs_pb2.CreateRunRequest,
    assistant: Assistant,
    merged: Merged,
    thread: threads_pb2.Thread,
    run_id: str,
    strategy: Strategy,
    *,
    stateless: bool,
) -> NewRun:
    """Everything about the run but whether it begins; `merged` is taken over, and changed."""
    metadata = {
        **orjson.loads(assistant.metadata_json),
        **({} if stateless else orjson.loads(thread.metadata_json or b"{}")),
        **(merged[0].get("metadata") or {}),
        **orjson.loads(request.metadata_json or b"{}"),
        "assistant_id": assistant.assistant_id,
    }
    if not stateless:
        metadata["graph_id"] = assistant.graph_id
    return NewRun(
        run_id=run_id,
        thread_id=thread.thread_id,
        assistant_id=assistant.assistant_id,
        assistant_version=assistant.version,
        assistant_updated_at=assistant.updated_at,
        graph_id=assistant.graph_id,
        metadata_json=orjson.dumps(metadata),
        kwargs_json=_kwargs(request, assistant, merged, thread.thread_id, run_id, metadata, stateless=stateless),
        strategy=strategy,
        stateless=stateless,
        keep_thread=request.keep_on_completion or not stateless,
        request_id=request.request_id,
        after_seconds=request.after_seconds,
    )


def _kwargs(
    request: runs_pb2.CreateRunRequest,
    assistant: Assistant,
    merged: Merged,
    thread_id: str,
    run_id: str,
    metadata: dict[str, Any],
    *,
    stateless: bool,
) -> bytes:
    """The document that clients see as `kwargs` and the executor runs; the input passes through undecoded."""
    config, context = merged
    config["configurable"] = {
        "user_id": "",
        **orjson.loads(request.header_configurable_json or b"{}"),
        **config.get("configurable", {}),
        # Tells the executor that what `context` mirrors here is to be cut down to what the graph declares.
        **({"__context_provided__": True} if request.context_json not in (b"", b"{}", b"null") else {}),
        **orjson.loads(request.checkpoint_json or b"{}"),
        "thread_id": thread_id,
        "run_id": run_id,
        "graph_id": assistant.graph_id,
        "assistant_id": assistant.assistant_id,
        "langgraph_request_id": request.request_id or None,
        "langgraph_auth_user": None,
        "langgraph_auth_user_id": "",
        "langgraph_auth_permissions": [],
    }
    config["metadata"] = metadata
    durability = request.durability or (
        "exit" if request.checkpoint_during is False and request.HasField("checkpoint_during") else "async"
    )
    return orjson.dumps(
        {
            "input": _fragment(request.input_json),
            "command": _fragment(request.command_json),
            "config": config,
            "context": context,
            "stream_mode": list(request.stream_modes) or ["values"],
            "interrupt_before": _fragment(request.interrupt_before_json),
            "interrupt_after": _fragment(request.interrupt_after_json),
            "webhook": request.webhook or None,
            "feedback_keys": list(request.feedback_keys) if request.has_feedback_keys else None,
            "temporary": stateless and not request.keep_on_completion,
            "subgraphs": request.stream_subgraphs,
            "resumable": request.stream_resumable,
            "checkpoint_during": request.checkpoint_during or not request.HasField("checkpoint_during"),
            "durability": durability,
        }
    )


def merged_config(request: runs_pb2.CreateRunRequest, assistant: Assistant) -> Merged:
    """Config and context of the run: the assistant's as defaults, `configurable` and `context` merged by key."""
    config: dict[str, Any] = orjson.loads(request.config_json or b"{}")
    context: dict[str, Any] = orjson.loads(request.context_json or b"{}")
    configurable: dict[str, Any] = config.get("configurable") or {}
    if context and configurable:
        raise InvalidArgument("Cannot specify both configurable and context. Prefer setting context alone.")
    defaults: dict[str, Any] = orjson.loads(assistant.config_json)
    base_context: dict[str, Any] = orjson.loads(assistant.context_json)
    # `configurable` and `context` mirror each other, in the assistant and in the run.
    merged_context = {**base_context, **configurable, **context}
    merged = {**defaults, **config}
    merged["configurable"] = {**(defaults.get("configurable") or {}), **configurable, **context}
    return merged, merged_context


def new_thread_metadata(request: runs_pb2.CreateRunRequest) -> bytes:
    """What a thread that the run creates takes over: the metadata of the run's config, under that of the run."""
    of_config = orjson.loads(request.config_json or b"{}").get("metadata")
    if not of_config:
        return request.metadata_json
    return orjson.dumps({**of_config, **orjson.loads(request.metadata_json or b"{}")})


def _fragment(json: bytes) -> orjson.Fragment | None:
    return orjson.Fragment(json) if json else None
