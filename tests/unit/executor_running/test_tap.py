"""The tap hears what a graph streams when it is emitted, of the graph that was listened to and of no other."""

import asyncio
import operator
from typing import Annotated, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.pregel import main as pregel
from threadmill_runs.executor.running import tap


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def first(state):
    get_stream_writer()("said")
    return {"log": ["first"]}


def second(state):
    return {"log": ["second"]}


def build(**nodes):
    builder = StateGraph(State)
    names = list(nodes)
    for name, node in nodes.items():
        builder.add_node(name, node)
    for source, target in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(source, target)
    return builder


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(pregel, "AsyncQueue", pregel.AsyncQueue)  # put back afterwards
    tap.install()


async def drain(graph, **options):
    return [chunk async for chunk in graph.astream({"log": []}, **options)]


async def listening(graph, **options):
    """What the listener hears while the graph runs, in a context of its own as every run has."""
    heard = []

    async def run():
        tap.listen(lambda *event: heard.append(event))
        return await drain(graph, **options)

    return heard, await asyncio.create_task(run())


async def test_it_hears_all_that_is_streamed_in_the_same_order(installed):
    graph = build(first=first, second=second).compile()
    heard, streamed = await listening(graph, stream_mode=["values", "updates", "custom"])
    assert [(mode, data) for _, mode, data in heard] == streamed
    assert ("custom", "said") in streamed


async def test_it_hears_a_step_before_the_steps_checkpoint_is_written(installed):
    """What `running/tap.py` is for; and what an update of LangGraph would break without a word."""
    order = []

    class NotingSaver(InMemorySaver):
        async def aput(self, config, checkpoint, metadata, new_versions):
            order.append(("checkpoint", metadata["step"]))
            return await super().aput(config, checkpoint, metadata, new_versions)

    graph = build(first=first, second=second).compile(checkpointer=NotingSaver())

    async def run():
        tap.listen(lambda _, mode, data: order.append((mode, *data)))
        config = {"configurable": {"thread_id": "t"}}
        await drain(graph, config=config, stream_mode=["updates"], durability="sync")

    await asyncio.create_task(run())
    assert order.index(("updates", "first")) < order.index(("checkpoint", 1))
    assert order.index(("updates", "second")) < order.index(("checkpoint", 2))


async def test_a_graph_that_a_node_streams_by_itself_is_not_heard(installed):
    inner = build(second=second).compile()

    async def outer(state):
        await drain(inner, stream_mode="values")
        return {"log": ["outer"]}

    heard, _ = await listening(build(outer=outer).compile(), stream_mode=["updates"])
    assert [data for _, mode, data in heard if mode == "updates"] == [{"outer": {"log": ["outer"]}}]


async def test_a_subgraph_is_heard_under_its_namespace(installed):
    graph = build(child=build(second=second).compile(), first=first).compile()
    heard, _ = await listening(graph, stream_mode=["updates"], subgraphs=True)
    namespaces = [namespace[0].split(":")[0] if namespace else "" for namespace, _, _ in heard]
    assert namespaces == ["child", "", ""]


async def test_runs_at_the_same_time_hear_only_themselves(installed):
    def named(name):
        async def node(state):
            await asyncio.sleep(0)
            return {"log": [name]}

        return build(node=node).compile()

    both = await asyncio.gather(*(listening(named(name), stream_mode=["updates"]) for name in "ab"))
    assert [[data["node"]["log"] for _, _, data in heard] for heard, _ in both] == [[["a"]], [["b"]]]


async def test_without_a_listener_nothing_changes(installed):
    assert await drain(build(second=second).compile(), stream_mode="updates") == [{"second": {"log": ["second"]}}]
