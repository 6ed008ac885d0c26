"""One node: answers what it was given."""

from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    text: str
    answer: str


def reply(state: State) -> State:
    return {"answer": f"echo: {state.get('text', '')}"}


graph = StateGraph(State).add_node("reply", reply).add_edge(START, "reply").add_edge("reply", END).compile()
