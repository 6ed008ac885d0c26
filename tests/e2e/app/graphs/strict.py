"""Has a state that pydantic checks."""

from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel


class State(BaseModel):
    n: int
    note: str = ""


def count(state: State) -> dict[str, int]:
    return {"n": state.n + 1}


graph = StateGraph(State).add_node("count", count).add_edge(START, "count").add_edge("count", END).compile()
