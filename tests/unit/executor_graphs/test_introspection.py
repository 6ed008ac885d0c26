"""Schemas and drawings: the shapes of the contract for plain graphs, contexts, tools, subgraphs and hopeless types."""

import operator
from typing import Annotated, Any, NotRequired, TypedDict

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from threadmill_runs.executor.encoding import encode
from threadmill_runs.executor.graphs.introspection import drawing, schemas, subgraphs


class State(TypedDict):
    n: int
    log: Annotated[list[str], operator.add]


class Input(TypedDict):
    n: int


class Settings(TypedDict):
    model: str


class Tree(TypedDict):
    leaves: list[Settings | None]
    parent: NotRequired["Tree"]


class Secret:
    pass


class Hopeless(TypedDict):
    n: int
    secret: Secret


def steps() -> StateGraph[Any, Any, Any, Any]:
    builder = StateGraph(State, input_schema=Input)
    builder.add_node("a", lambda state: {"n": 1})
    builder.add_node("b", lambda state: {"n": 2})
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    builder.add_edge("b", END)
    return builder


def nested() -> StateGraph[Any, Any, Any, Any]:
    middle = StateGraph(State)
    middle.add_node("inner", steps().compile())
    middle.add_edge(START, "inner")
    outer = StateGraph(State)
    outer.add_node("child", middle.compile())
    outer.add_edge(START, "child")
    return outer


def test_schemas() -> None:
    found = schemas(steps().compile(name="steps"))
    assert list(found) == ["input_schema", "output_schema", "state_schema", "config_schema", "context_schema"]
    assert (found["config_schema"], found["context_schema"]) == ({}, None)
    assert set((found["input_schema"] or {})["properties"]) == {"n"}
    assert set((found["output_schema"] or {})["properties"]) == {"n", "log"}
    state = found["state_schema"] or {}
    assert (set(state["properties"]), state["title"]) == ({"n", "log"}, "steps_state")


def test_a_context_schema_is_in_both_places() -> None:
    builder = StateGraph(State, context_schema=Settings)
    builder.add_node("a", lambda state: {})
    builder.add_edge(START, "a")
    found = schemas(builder.compile())
    assert found["config_schema"] == found["context_schema"]
    assert set((found["context_schema"] or {})["properties"]) == {"model"}


def test_types_without_a_schema_give_null_and_an_open_field() -> None:
    builder = StateGraph(Hopeless)
    builder.add_node("a", lambda state: {})
    builder.add_edge(START, "a")
    found = schemas(builder.compile())
    assert (found["input_schema"], found["output_schema"]) == (None, None)
    assert set((found["state_schema"] or {})["properties"]) == {"n", "secret"}


def test_nested_and_recursive_typed_dicts_of_the_standard_library_have_schemas() -> None:
    builder = StateGraph(Tree)
    builder.add_node("a", lambda state: {})
    builder.add_edge(START, "a")
    found = schemas(builder.compile())
    schema = found["input_schema"] or {}
    assert schema["required"] == ["leaves"]
    assert set(schema["$defs"]["Settings"]["properties"]) == {"model"}
    assert set((found["state_schema"] or {})["$defs"]) == {"Settings", "Tree"}


async def test_drawing() -> None:
    assert await drawing(steps().compile(), {}, 0) == {
        "nodes": [
            {"id": "__start__", "type": "runnable", "data": {"name": "__start__"}},
            {"id": "a", "type": "runnable", "data": {"name": "a"}},
            {"id": "b", "type": "runnable", "data": {"name": "b"}},
            {"id": "__end__"},
        ],
        "edges": [
            {"source": "__start__", "target": "a"},
            {"source": "a", "target": "b"},
            {"source": "b", "target": "__end__"},
        ],
    }


async def test_tools_and_conditional_edges_are_drawn() -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    builder = StateGraph(MessagesState)
    builder.add_node("agent", lambda state: {"messages": [AIMessage("hi")]})
    builder.add_node("tools", ToolNode([add]))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    drawn = await drawing(builder.compile(), {}, 0)
    nodes = {node["id"]: node for node in drawn["nodes"]}
    assert nodes["tools"]["metadata"] == {"__tools": ["add"]}
    assert {"source": "agent", "target": "tools", "conditional": True} in drawn["edges"]
    assert b'"id"' in encode(drawn)


async def test_xray_draws_as_many_levels_as_asked() -> None:
    graph = nested().compile()
    inside = {}
    for depth in (0, 1, 2, -1):
        ids = [node["id"] for node in (await drawing(graph, {}, depth))["nodes"]]
        inside[depth] = [node_id for node_id in ids if not node_id.startswith("__")]
    deepest = ["child:inner:a", "child:inner:b"]
    assert inside == {0: ["child"], 1: ["child:inner"], 2: deepest, -1: deepest}


async def test_subgraphs_by_namespace() -> None:
    graph = nested().compile()
    assert set(await subgraphs(graph, None, recurse=False)) == {"child"}
    assert set(await subgraphs(graph, None, recurse=True)) == {"child", "child|inner"}
    assert set(await subgraphs(graph, "child|inner", recurse=True)) == {"child|inner"}
    assert await subgraphs(graph, "nope", recurse=True) == {}
    entry = schemas((await subgraphs(graph, "child", recurse=False))["child"])
    assert list(entry) == ["input_schema", "output_schema", "state_schema", "config_schema", "context_schema"]
