"""Cancels itself: its node raises CancelledError, cancels its own task, or everything that it finds on its loop."""

import asyncio
from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    how: str
    done: bool


async def node(state: State) -> State:
    tasks = {"task": [asyncio.current_task()], "all": list(asyncio.all_tasks())}.get(state.get("how", ""), [])
    for task in tasks:
        if task is not None:
            task.cancel()
    if tasks:
        await asyncio.sleep(0)
    raise asyncio.CancelledError


graph = StateGraph(State).add_node("node", node).add_edge(START, "node").add_edge("node", END).compile()
