"""Asks a person before it goes on."""

import operator
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt


class State(TypedDict, total=False):
    question: str
    log: Annotated[list[str], operator.add]


def prepare(state: State) -> State:
    return {"log": ["prepared"]}


def ask(state: State) -> State:
    answer = interrupt({"question": state.get("question", "go on?")})
    return {"log": [f"answered {answer}"]}


def finish(state: State) -> State:
    return {"log": ["finished"]}


builder = StateGraph(State).add_node("prepare", prepare).add_node("ask", ask).add_node("finish", finish)
builder.add_edge(START, "prepare").add_edge("prepare", "ask").add_edge("ask", "finish").add_edge("finish", END)
graph = builder.compile()
