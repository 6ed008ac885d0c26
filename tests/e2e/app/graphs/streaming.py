"""Two steps, which tell how far they are, for the thread-streaming protocol; one form shows all that it can show."""

import asyncio
import operator
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.stream.transformers import CustomTransformer, UpdatesTransformer


class State(TypedDict, total=False):
    n: int
    gate: str
    log: Annotated[list[str], operator.add]


def is_open(gate: str) -> bool:
    return Path(gate).exists()


async def first(state: State) -> State:
    get_stream_writer()({"name": "progress", "payload": {"step": "first"}})
    return {"n": state["n"] + 1, "log": ["first"]}


async def second(state: State) -> State:
    while "gate" in state and not is_open(state["gate"]):  # noqa: ASYNC110 - the test that opens it is another process
        await asyncio.sleep(0.01)
    get_stream_writer()({"name": "progress", "payload": {"step": "second"}})
    get_stream_writer()("done")
    return {"n": state["n"] + 1, "log": ["second"]}


builder = StateGraph(State).add_node("first", first).add_node("second", second)
builder.add_edge(START, "first").add_edge("first", "second").add_edge("second", END)
plain = builder.compile()
progress = builder.compile(transformers=[CustomTransformer, UpdatesTransformer])
