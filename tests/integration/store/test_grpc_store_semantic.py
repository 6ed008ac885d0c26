"""GrpcStore on an indexed store, through both of its faces, and what a graph's step costs in calls."""

import asyncio
from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore, PutOp, SearchOp
from threadmill_runs.executor.memory import IndexFailed, StoreUnavailable

from .conftest import learned
from .test_grpc_store import NS, Sync, connect, control_loop

__all__ = ["connect", "control_loop"]  # fixtures


class State(TypedDict, total=False):
    done: str


@pytest.fixture(params=["sync", "async"])
async def api(request: pytest.FixtureRequest, indexed: Any, connect: Any) -> Any:
    store = await connect(indexed.settings.bind)
    return Sync(store) if request.param == "sync" else store


async def scored(api: Any, query: str, **options: Any) -> list[tuple[str, float | None]]:
    found = await api.asearch(NS, query=query, **options)
    return [(item.key, None if item.score is None else round(item.score, 3)) for item in found]


async def test_search_by_meaning_with_paths_filters_and_pages(api: Any) -> None:
    await api.aput(NS, "tea", {"text": "tea", "kind": "drink"})
    await api.aput(NS, "sea", {"text": "sea sea tea", "kind": "place"})
    await api.aput(NS, "notes", {"text": "sea", "notes": [{"t": "car"}]}, index=["notes[*].t"])
    await api.aput(NS, "hidden", {"text": "tea"}, index=False)
    assert await scored(api, "tea") == [("tea", 1.0), ("sea", 0.447), ("notes", 0.0), ("hidden", None)]
    assert await scored(api, "car", limit=1) == [("notes", 1.0)]
    assert await scored(api, "tea", filter={"kind": {"$ne": "drink"}}, limit=2) == [("sea", 0.447), ("notes", 0.0)]
    assert await scored(api, "tea", limit=1, offset=1) == [("sea", 0.447)]
    await api.aput(NS, "tea", {"text": "car"})
    assert (await scored(api, "car"))[0][1] == 1.0
    await api.adelete(NS, "tea")
    assert [key for key, _ in await scored(api, "tea")] == ["sea", "notes", "hidden"]


async def test_several_queries_of_a_batch(api: Any) -> None:
    await api.abatch([PutOp(NS, "a", {"text": "tea"}), PutOp(NS, "b", {"text": "car"})])
    found = await api.abatch([SearchOp(NS, query="tea", limit=1), SearchOp(NS, query="car", limit=1), SearchOp(NS)])
    assert [[item.key for item in items] for items in found] == [["a"], ["b"], ["a", "b"]]


async def test_failures_of_the_embedder_are_told_apart(api: Any) -> None:
    with pytest.raises(IndexFailed, match="poison"):
        await api.aput(NS, "k", {"text": "poison"})
    assert await api.aget(NS, "k") is None


async def test_nobody_to_embed_is_a_connection_error(start: Any, application: Any, connect: Any) -> None:
    async with start(executor_address=application.address, store_embed_timeout_seconds=0.3) as service:
        async with application.executor():
            await learned(service)
        store = await connect(service.settings.bind)
        with pytest.raises(StoreUnavailable, match="embed"):
            await store.aput(NS, "k", {"text": "tea"})


async def test_none_as_time_to_live_means_for_ever_whatever_the_default(
    start: Any,
    connect: Any,
) -> None:
    async with start(store_ttl_default_minutes=10) as service:
        store = await connect(service.settings.bind)
        await store.aput(NS, "default", {})
        await store.aput(NS, "for ever", {}, ttl=None)
        await asyncio.to_thread(store.put, NS, "for ever too", {}, ttl=None)
        rows = await service.application.pool.fetch("SELECT key, expires_at IS NULL FROM store.item ORDER BY id")
    assert [tuple(row) for row in rows] == [("default", False), ("for ever", True), ("for ever too", True)]


async def test_what_the_nodes_of_a_step_do_travels_in_one_call(service: Any, connect: Any) -> None:
    store = await connect(service.settings.bind)
    sizes: list[int] = []
    send = store._coalescer._send

    async def noting(ops: Any) -> Any:
        sizes.append(len(ops))
        return await send(ops)

    store._coalescer._send = noting

    async def node(state: State, *, store: BaseStore) -> State:
        await asyncio.gather(*(store.aput(NS, str(number), {"n": number}) for number in range(5)))
        return {}

    builder = StateGraph(State)

    async def other(state: State, *, store: BaseStore) -> State:
        assert await store.aget(NS, "missing") is None
        return {}

    builder.add_node("node", node)
    builder.add_node("other", other)
    builder.add_edge(START, "node")
    builder.add_edge(START, "other")
    await builder.compile(store=store).ainvoke({"done": ""})
    assert sum(sizes) == 6
    assert len(sizes) <= 2, "the puts of one turn, and what other tasks ask for in the same one"
    assert max(sizes) >= 5
    assert len(await store.asearch(NS)) == 5
