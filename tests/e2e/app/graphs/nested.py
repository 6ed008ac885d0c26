"""A graph inside a graph, whose inner part can be asked to interrupt."""

import operator
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt


class State(TypedDict, total=False):
    ask: bool
    log: Annotated[list[str], operator.add]


def inner(state: State) -> State:
    answer = interrupt("inner?") if state.get("ask") else "unasked"
    return {"log": [f"inner {answer}"]}


def outer(state: State) -> State:
    return {"log": ["outer"]}


child = StateGraph(State).add_node("inner", inner).add_edge(START, "inner").add_edge("inner", END).compile()
graph = (
    StateGraph(State)
    .add_node("outer", outer)
    .add_node("child", child)
    .add_edge(START, "outer")
    .add_edge("outer", "child")
    .add_edge("child", END)
    .compile()
)
