"""The forms that a graph may have in langgraph.json beside a compiled one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt


class State(TypedDict, total=False):
    text: str


def shout(state: State) -> State:
    return {"text": state.get("text", "").upper()}


builder = StateGraph(State).add_node("shout", shout).add_edge(START, "shout")


def factory(config: RunnableConfig) -> StateGraph[Any]:
    return builder


@asynccontextmanager
async def opened() -> AsyncIterator[CompiledStateGraph[Any]]:
    yield builder.compile(name="Opened")


@task
def double(number: int) -> int:
    return number * 2


@entrypoint()
def workflow(number: int, *, previous: int | None = None) -> entrypoint.final[dict[str, Any], int]:
    doubled = double(number).result()
    answer = interrupt("go on?") if number < 0 else "unasked"
    return entrypoint.final(value={"doubled": doubled, "previous": previous, "answer": answer}, save=doubled)


def extend(items: list[str], writes: list[list[str]]) -> list[str]:
    return [*items, *(item for write in writes for item in write)]


class Deltas(TypedDict, total=False):
    items: Annotated[list[str], DeltaChannel(extend)]
    ask: bool


def first(state: Deltas) -> Deltas:
    return {"items": ["first"]}


def second(state: Deltas) -> Deltas:
    return {"items": [f"second {interrupt('second?') if state.get('ask') else 'unasked'}"]}


deltas = StateGraph(Deltas).add_node("first", first).add_node("second", second)
deltas.add_edge(START, "first").add_edge("first", "second")
