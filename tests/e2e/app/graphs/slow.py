"""Nodes that take their time: politely, and by blocking the event loop."""

import asyncio
import time
from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    seconds: float
    done: bool


async def wait(state: State) -> State:
    await asyncio.sleep(state.get("seconds", 1))
    return {"done": True}


async def block(state: State) -> State:
    time.sleep(state.get("seconds", 1))  # noqa: ASYNC251 - the misbehaviour under test
    return {"done": True}


def sleep(state: State) -> State:
    time.sleep(state.get("seconds", 1))
    return {"done": True}


graph = StateGraph(State).add_node("wait", wait).add_edge(START, "wait").add_edge("wait", END).compile()
sleeping = StateGraph(State).add_node("sleep", sleep).add_edge(START, "sleep").add_edge("sleep", END).compile()
blocking = StateGraph(State).add_node("block", block).add_edge(START, "block").add_edge("block", END).compile()
