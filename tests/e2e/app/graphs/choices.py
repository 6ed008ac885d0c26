"""Two questions at once, and a context that configures the answer."""

import operator
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt


class Context(TypedDict, total=False):
    mark: str


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def left(state: State, runtime: Runtime[Context]) -> State:
    return {"log": [f"left {interrupt('left?')}{(runtime.context or {}).get('mark', '')}"]}


def right(state: State) -> State:
    return {"log": [f"right {interrupt('right?')}"]}


builder = StateGraph(State, context_schema=Context).add_node("left", left).add_node("right", right)
builder.add_edge(START, "left").add_edge(START, "right").add_edge("left", END).add_edge("right", END)
graph = builder.compile()
