"""Input, output and inner state differ; a channel between two nodes is in none of them; the state is a dataclass."""

import operator
from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt


class Question(TypedDict, total=False):
    question: str
    ask: bool


class Answer(TypedDict, total=False):
    answer: str


class Draft(TypedDict):
    draft: str


@dataclass
class State:
    question: str = ""
    ask: bool = False
    answer: str = ""
    log: Annotated[list[str], operator.add] = field(default_factory=list)


def sketch(state: State) -> Draft:
    return {"draft": f"on {state.question}"}


def refine(draft: Draft) -> dict[str, object]:
    return {"answer": draft["draft"].upper(), "log": [f"refined {draft['draft']}"]}


def check(state: State) -> dict[str, object]:
    return {"log": [f"checked {interrupt(state.answer)}" if state.ask else "unchecked"]}


builder = StateGraph(State, input_schema=Question, output_schema=Answer)
builder.add_node("sketch", sketch).add_node("refine", refine).add_node("check", check)
builder.add_edge(START, "sketch").add_edge("sketch", "refine").add_edge("refine", "check").add_edge("check", END)
graph = builder.compile()
