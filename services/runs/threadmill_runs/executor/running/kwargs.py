"""From the JSON document of an assignment to what LangGraph is called with."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, get_type_hints

from langgraph.types import Command, Send
from threadmill_protos.runs.v1 import executors_pb2

from threadmill_runs.executor.encoding import decode
from threadmill_runs.executor.graphs.updates import command_update

LANGGRAPH_VERSION = version("langgraph")
API_VERSION = version("threadmill-runs")
# In `configurable` when the caller used `context` rather than `configurable` (queue/accepting.py).
CONTEXT_PROVIDED = "__context_provided__"
# In `configurable` of a run whose events are for the thread-streaming protocol.
EVENT_STREAMING = "__event_streaming_v2"


@dataclass(frozen=True, slots=True)
class RunKwargs:
    """One run's arguments."""

    input: Any
    config: dict[str, Any]
    context: dict[str, Any]
    stream_modes: list[str]
    subgraphs: bool
    interrupt_before: Any
    interrupt_after: Any
    durability: str
    feedback_keys: list[str]

    @classmethod
    def of(cls, assignment: executors_pb2.AttachResponse.Assignment, api_url: str = "") -> "RunKwargs":
        """Decodes an assignment; its command wins over its input, unless it is empty.

        `api_url` tells traces where this server is; empty: they are not told.
        """
        kwargs = decode(assignment.kwargs_json)
        command = kwargs.get("command")
        return cls(
            input=_command(command) if command else kwargs.get("input"),
            config=_config(kwargs["config"], assignment, api_url),
            context=kwargs.get("context") or {},
            stream_modes=list(kwargs["stream_mode"]),
            subgraphs=bool(kwargs.get("subgraphs")),
            interrupt_before=kwargs.get("interrupt_before"),
            interrupt_after=kwargs.get("interrupt_after"),
            durability=kwargs.get("durability") or "async",
            feedback_keys=list(kwargs.get("feedback_keys") or ()),
        )

    @property
    def event_streaming(self) -> bool:
        """Whether its events are for the thread-streaming protocol, and not of stream modes."""
        return self.config["configurable"].get(EVENT_STREAMING) is True

    def context_for(self, schema: Any) -> dict[str, Any] | None:
        """The part of the context that the graph's context schema declares; None without one.

        What a client gave as `configurable` is in the context too (queue/accepting.py mirrors it); what the server
        put into `configurable`, such as an anonymous `user_id`, is not.
        """
        if schema is None:
            return None
        declared = _fields(schema)
        return {key: value for key, value in self.context.items() if key in declared}

    def config_for(self, schema: Any) -> dict[str, Any]:
        """The config for a graph with this context schema.

        When the caller used `context`, its mirror in `configurable` is cut down to what the schema declares as well.
        """
        if schema is None or not self.config["configurable"].get(CONTEXT_PROVIDED):
            return self.config
        dropped = self.context.keys() - _fields(schema)
        configurable = {key: value for key, value in self.config["configurable"].items() if key not in dropped}
        return {**self.config, "configurable": configurable}


def _command(command: Mapping[str, Any]) -> Command[Any] | None:
    """None for a command that says nothing, which does what `input: null` does."""
    if not command.get("update") and command.get("resume") is None and not command.get("goto"):
        return None
    goto = command.get("goto")
    targets = goto if isinstance(goto, list) else [goto] if goto else []
    sends = [Send(each["node"], each.get("input")) if isinstance(each, dict) else each for each in targets]
    # What goes nowhere is as it was given: events show it.
    return Command(update=command_update(command.get("update")), resume=command.get("resume"), goto=sends or goto)


def _config(
    config: dict[str, Any], assignment: executors_pb2.AttachResponse.Assignment, api_url: str
) -> dict[str, Any]:
    run_id = assignment.fence.run_id
    metadata = {
        **config.get("metadata", {}),
        "run_id": run_id,
        "thread_id": assignment.thread_id,
        "graph_id": assignment.graph_id,
        "assistant_id": assignment.assistant_id,
        "run_attempt": assignment.attempt,
        "langgraph_version": LANGGRAPH_VERSION,
        "langgraph_api_version": API_VERSION,
        "langgraph_plan": "developer",
        "langgraph_host": "self-hosted",
    }
    if api_url:
        metadata["langgraph_api_url"] = api_url
    return {**config, "metadata": metadata, "run_id": run_id}


def _fields(schema: Any) -> set[str]:
    """Names that a dataclass, pydantic model or TypedDict declares."""
    if dataclasses.is_dataclass(schema):
        return {field.name for field in dataclasses.fields(schema)}
    if hasattr(schema, "model_fields"):
        return set(schema.model_fields)
    return set(get_type_hints(schema))
