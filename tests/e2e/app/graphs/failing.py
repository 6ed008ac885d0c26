"""Fails as it is told."""

from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    error: str
    message: str


ERRORS = {"ValueError": ValueError, "OSError": OSError, "RuntimeError": RuntimeError}


def fail(state: State) -> State:
    raise ERRORS[state.get("error", "ValueError")](state.get("message", "bad value here"))


graph = StateGraph(State).add_node("fail", fail).add_edge(START, "fail").add_edge("fail", END).compile()
