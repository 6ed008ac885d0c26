"""Waits until a file exists, so that a test decides when a run goes on."""

import asyncio
import operator
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    gate: str
    name: str
    log: Annotated[list[str], operator.add]


def enter(state: State) -> State:
    return {"log": [f"entered {state['name']}"]}


def is_open(gate: str) -> bool:
    return Path(gate).exists()


async def wait(state: State) -> State:
    get_stream_writer()({"waiting": state["name"]})
    while not is_open(state["gate"]):  # noqa: ASYNC110 - the test that opens it is another process
        await asyncio.sleep(0.01)
    return {"log": [f"left {state['name']}"]}


builder = StateGraph(State).add_node("enter", enter).add_node("wait", wait)
builder.add_edge(START, "enter").add_edge("enter", "wait").add_edge("wait", END)
graph = builder.compile()
