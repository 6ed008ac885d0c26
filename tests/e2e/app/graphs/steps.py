"""Steps that note themselves in a file, one after the other, for tests that kill the executor in between."""

import asyncio
import operator
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    file: str
    seconds: float
    done: Annotated[list[int], operator.add]


def note(state: State, line: str) -> None:
    with Path(state["file"]).open("a") as file:
        file.write(f"{line}\n")


def make_step(number: int) -> Callable[[State], Awaitable[State]]:
    async def step(state: State) -> State:
        note(state, f"start {number}")
        await asyncio.sleep(state.get("seconds", 0))
        note(state, f"end {number}")
        return {"done": [number]}

    return step


builder = StateGraph(State)
for number in range(1, 11):
    builder.add_node(f"step{number}", make_step(number))
    builder.add_edge(START if number == 1 else f"step{number - 1}", f"step{number}")
builder.add_edge("step10", END)
graph = builder.compile()
