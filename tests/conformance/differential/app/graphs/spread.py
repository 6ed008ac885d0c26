"""Several subgraphs at once by Send, each of which may ask; one sends a command to its parent."""

import operator
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt


class State(TypedDict, total=False):
    items: list[str]
    ask: bool
    done: Annotated[list[str], operator.add]


class Part(TypedDict, total=False):
    item: str
    ask: bool
    done: Annotated[list[str], operator.add]


def open_part(part: Part) -> Part:
    return {"done": [f"opened {part['item']}"]}


def ask_part(part: Part) -> Part:
    return {"done": [f"{part['item']} {interrupt(part['item'])}" if part.get("ask") else f"{part['item']} unasked"]}


def close_part(part: Part) -> Command[Any]:
    return Command(graph=Command.PARENT, goto="join", update={"done": part["done"]})


inner = StateGraph(Part).add_node("open", open_part).add_node("ask", ask_part).add_node("close", close_part)
inner.add_edge(START, "open").add_edge("open", "ask").add_edge("ask", "close")


def parts(state: State) -> list[Send]:
    return [Send("part", {"item": item, "ask": state.get("ask", False)}) for item in state.get("items", [])]


def join(state: State) -> dict[str, Any]:
    return {"done": [f"joined {len(state.get('done', []))}"]}


builder = StateGraph(State).add_node("part", inner.compile()).add_node("join", join)
builder.add_conditional_edges(START, parts, ["part"]).add_edge("join", END)
graph = builder.compile()
