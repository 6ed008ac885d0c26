"""What a graph looks like: its JSON schemas, its drawing, its subgraphs. No state is read."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.channels.base import BaseChannel
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.pregel.protocol import PregelProtocol
from pydantic import BaseModel, TypeAdapter, create_model
from pydantic.errors import PydanticUserError

from threadmill_runs.executor.graphs.typed_dicts import modern

AnyPregel = Pregel[Any, Any, Any, Any]
AnyProtocol = PregelProtocol[Any, Any, Any, Any]
Schema = dict[str, Any]
log = structlog.get_logger(__name__)
# What pydantic raises for types that it cannot describe, and Python for annotations that it cannot resolve.
_INEXPRESSIBLE = (PydanticUserError, TypeError, ValueError, NameError, AttributeError, NotImplementedError)


def schemas(graph: AnyProtocol) -> dict[str, Schema | None]:
    """{input_schema, output_schema, state_schema, config_schema, context_schema}.

    A schema that cannot be expressed is None; without a context schema, config is {} and context None. Takes tens of
    milliseconds for a state of messages: nothing for an event loop.
    """
    if not isinstance(graph, Pregel):  # a remote graph: its own server knows
        return {"input_schema": None, "output_schema": None, "state_schema": None, **_context_schemas(None)}
    builder = graph.builder if isinstance(graph, CompiledStateGraph) else None
    return {
        "input_schema": _attempt(graph, "input", graph.get_input_jsonschema, builder and builder.input_schema),
        "output_schema": _attempt(graph, "output", graph.get_output_jsonschema, builder and builder.output_schema),
        "state_schema": _attempt(graph, "state", lambda: _state_schema(graph)),
        **_context_schemas(_attempt(graph, "context", graph.get_context_jsonschema, graph.context_schema)),
    }


def _context_schemas(context: Schema | None) -> dict[str, Schema | None]:
    return {"config_schema": context or {}, "context_schema": context}


def _attempt(graph: AnyPregel, kind: str, build: Callable[[], Schema | None], declared: object = None) -> Schema | None:
    """What `build` gives, or what its declared type gives once pydantic can read it; None if neither does."""
    try:
        try:
            return build()
        except PydanticUserError as error:
            if error.code != "typed-dict-version" or declared is None:
                raise
            return TypeAdapter[Any](modern(declared)).json_schema()
    except _INEXPRESSIBLE as error:
        log.info("schema_unavailable", graph=graph.name, schema=kind, error=repr(error))
        return None


def _state_schema(graph: AnyPregel) -> Schema:
    """Object of all channels that a client may see; one whose type has no schema accepts anything."""
    fields: dict[str, Any] = {}
    for name in graph.stream_channels_list:
        channel = graph.channels[name]
        if isinstance(channel, BaseChannel) and not name.startswith("_"):
            kind = modern(channel.UpdateType)
            fields[name] = (kind if _expressible(kind) else Any, None)
    model: type[BaseModel] = create_model(graph.get_name("State"), **fields)
    return model.model_json_schema()


def _expressible(kind: Any) -> bool:
    try:
        TypeAdapter(kind).json_schema()
    except _INEXPRESSIBLE:
        return False
    return True


async def drawing(graph: AnyPregel, config: RunnableConfig, xray_depth: int) -> dict[str, Any]:
    """{nodes, edges}; `xray_depth` levels of subgraphs are drawn in place of their nodes, -1 for all."""
    xray: int | bool = True if xray_depth < 0 else xray_depth or False
    drawn: Mapping[str, Any] = (await graph.aget_graph(config, xray=xray)).to_json()
    for node in drawn["nodes"]:
        if isinstance(node.get("data"), dict):
            node["data"].pop("id", None)  # the Python class behind a node is nobody's business
    return dict(drawn)


async def subgraphs(graph: AnyPregel, namespace: str | None, recurse: bool) -> dict[str, AnyProtocol]:
    """The subgraphs by namespace; with `namespace` only that one, {} if there is none."""
    return {name: subgraph async for name, subgraph in graph.aget_subgraphs(namespace=namespace, recurse=recurse)}
