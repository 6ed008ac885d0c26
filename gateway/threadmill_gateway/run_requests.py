"""From the body of a run creation to the CreateRunRequest of the runs api. Every documented field arrives there."""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_gateway.clients import REQUEST_ID
from threadmill_gateway.encode import dumps
from threadmill_gateway.errors import refuse
from threadmill_gateway.header_rule import HeaderRule
from threadmill_gateway.models.base import JsonObject
from threadmill_gateway.models.runs import NewRun, RunCreate, StatelessRunCreate
from threadmill_gateway.trace_headers import header_configurable

STRATEGIES = {
    "enqueue": runs_pb2.MULTITASK_STRATEGY_ENQUEUE,
    "reject": runs_pb2.MULTITASK_STRATEGY_REJECT,
    "interrupt": runs_pb2.MULTITASK_STRATEGY_INTERRUPT,
    "rollback": runs_pb2.MULTITASK_STRATEGY_ROLLBACK,
}
# Keys that the server sets in the metadata of runs; a client's own are dropped.
RESERVED = frozenset({"thread_id", "assistant_id", "run_id", "cron_id"})


def create_request(
    body: NewRun, thread_id: str | None, headers: Headers, passed: HeaderRule | None = None
) -> runs_pb2.CreateRunRequest:
    """The request, with a run id of our own so that a retried call creates one run. `thread_id` None: stateless.

    `passed` picks the headers that reach `configurable`. 400 for what cannot go together.
    """
    _check_combinations(body, thread_id)
    request = runs_pb2.CreateRunRequest(
        run_id=new_id(),
        thread_id=thread_id or "",
        assistant_id=body.assistant_id,
        input_json=_present(body.input),
        command_json=_present(body.command),
        config_json=dumps(_config(body.config)),
        context_json=dumps(body.context),
        metadata_json=dumps(without_reserved(body.metadata)),
        checkpoint_json=_checkpoint(body),
        stream_modes=body.stream_modes(),
        stream_subgraphs=body.stream_subgraphs,
        stream_resumable=body.stream_resumable,
        interrupt_before_json=_nodes(body.interrupt_before),
        interrupt_after_json=_nodes(body.interrupt_after),
        webhook=body.webhook or "",
        feedback_keys=body.feedback_keys,
        has_feedback_keys="feedback_keys" in body.model_fields_set,
        after_seconds=body.after_seconds,
        durability=body.durability or "",
        request_id=REQUEST_ID.get(),
        header_configurable_json=_server_configurable(body, headers, passed),
    )
    if body.checkpoint_during is not None:
        request.checkpoint_during = body.checkpoint_during
    if isinstance(body, RunCreate):
        request.multitask_strategy = STRATEGIES[body.multitask_strategy]
        request.create_thread_if_missing = body.if_not_exists == "create"
    if isinstance(body, StatelessRunCreate):
        request.keep_on_completion = body.on_completion == "keep"
    return request


def _check_combinations(body: NewRun, thread_id: str | None) -> None:
    if body.context and body.config.get("configurable"):
        refuse_both_configs()
    if thread_id is None and body.command is not None and "resume" in body.command:
        raise refuse(400, "You must provide a thread_id when resuming.")


def refuse_both_configs() -> None:
    """400: context and configurable mirror each other, so only one of them can be given."""
    raise refuse(400, "Cannot specify both configurable and context. Use only one of them.")


def without_reserved(metadata: Mapping[str, Any]) -> JsonObject:
    """Metadata without the keys that are the server's."""
    return {key: value for key, value in metadata.items() if key not in RESERVED}


def _config(config: JsonObject) -> JsonObject:
    metadata = config.get("metadata")
    return {**config, "metadata": without_reserved(metadata)} if metadata else config


def _present(value: Any) -> bytes:
    return b"" if value is None else dumps(value)


def _nodes(nodes: str | list[str] | None) -> bytes:
    return b"" if nodes is None else dumps(nodes)


def _checkpoint(body: NewRun) -> bytes:
    named = body.checkpoint.model_dump(exclude_none=True, exclude={"thread_id"}) if body.checkpoint else {}
    if body.checkpoint_id:
        named["checkpoint_id"] = body.checkpoint_id
    return dumps(named) if named else b""


def _server_configurable(body: NewRun, headers: Headers, passed: HeaderRule | None) -> bytes:
    found = {**(passed.select(headers) if passed else {}), **header_configurable(headers)}
    if body.langsmith_tracer is not None:
        found["__langsmith_project__"] = body.langsmith_tracer.project_name
        found["__langsmith_example_id__"] = body.langsmith_tracer.example_id
    return dumps({key: value for key, value in found.items() if value is not None}) if found else b""
