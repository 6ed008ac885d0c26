"""States of every kind that LangGraph offers, one graph each."""

import operator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, TypedDict
from uuid import UUID

from langgraph.channels import DeltaChannel, UntrackedValue
from langgraph.graph import END, START, StateGraph


@dataclass
class Point:
    x: int = 0
    y: int = 0


@dataclass
class Plane:
    """A state that is a dataclass, and holds another."""

    origin: Point = field(default_factory=Point)
    name: str = "plane"
    moves: Annotated[int, operator.add] = 0


def move(state: Plane) -> dict[str, object]:
    origin = state.origin if isinstance(state.origin, Point) else Point(**state.origin)
    return {"origin": Point(origin.x + 1, origin.y + 2), "moves": 1}


of_dataclasses = StateGraph(Plane).add_node("move", move).add_edge(START, "move").add_edge("move", END).compile()


def bounded(old: list[str], new: list[str]) -> list[str]:
    """Keeps the last three."""
    return [*old, *new][-3:]


class Reduced(TypedDict, total=False):
    recent: Annotated[list[str], bounded]
    rounds: int


def again(state: Reduced) -> Reduced:
    rounds = state.get("rounds", 0) + 1
    return {"recent": [f"round {rounds}"], "rounds": rounds}


reduced = (
    StateGraph(Reduced)
    .add_node("again", again)
    .add_edge(START, "again")
    .add_conditional_edges("again", lambda state: END if state["rounds"] % 5 == 0 else "again")
    .compile()
)


class Public(TypedDict, total=False):
    question: str
    answer: str


class Private(TypedDict, total=False):
    draft: str


class Working(TypedDict, total=False):
    """What only lives while a run does."""

    scratch: Annotated[object, UntrackedValue]


def draft(state: Public) -> dict[str, object]:
    return {"draft": f"draft of {state['question']}", "scratch": object()}


def publish(state: Private) -> Public:
    return {"answer": state["draft"].upper()}


private = (
    StateGraph(Public, input_schema=Public, output_schema=Public)
    .add_node("draft", draft)
    .add_node("publish", publish, input_schema=Private)
    .add_edge(START, "draft")
    .add_edge("draft", "publish")
    .add_edge("publish", END)
    .compile()
)


def extend(old: list[Any], writes: list[list[Any]]) -> list[Any]:
    return [*old, *(item for write in writes for item in write)]


class Deltas(TypedDict, total=False):
    log: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=4)]
    rounds: int


def note(state: Deltas) -> Deltas:
    rounds = state.get("rounds", 0) + 1
    return {"log": [f"note {rounds}"], "rounds": rounds}


deltas = (
    StateGraph(Deltas)
    .add_node("note", note)
    .add_edge(START, "note")
    .add_conditional_edges("note", lambda state: END if state["rounds"] % 6 == 0 else "note")
    .compile()
)


class Rich(TypedDict, total=False):
    given: Any
    values: dict[str, Any]


def enrich(state: Rich) -> Rich:
    return {
        "values": {
            "when": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            "id": UUID("01a22687-efca-710a-b8d8-6ae79f4eccc8"),
            "price": Decimal("1.50"),
            "some": {"a"},
            "raw": b"bytes",
            "pair": (1, 2),
            "given": state.get("given"),
        }
    }


rich = StateGraph(Rich).add_node("enrich", enrich).add_edge(START, "enrich").add_edge("enrich", END).compile()
