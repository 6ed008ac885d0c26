"""GrpcStore against a real store service: LangGraph's documented semantics, from threads and from event loops."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore
from threadmill_chassis.grpc_client import open_channel
from threadmill_chassis.settings import ProcessSettings
from threadmill_protos.store.v1 import store_pb2_grpc
from threadmill_runs.executor.memory import GrpcStore, StoreUnavailable

NS = ("users", "1")


class State(TypedDict, total=False):
    question: int
    answer: str | None


@pytest.fixture(scope="module")
def control_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own, as the executor has one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="control")
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def on(loop: asyncio.AbstractEventLoop, work: Any) -> Any:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


Connect = Callable[[str], Any]


@pytest.fixture
async def connect(control_loop: asyncio.AbstractEventLoop) -> AsyncIterator[Connect]:
    """`await connect(address)` → a store whose channel lives on the control loop."""
    channels = []

    async def opened(address: str) -> GrpcStore:
        channels.append(open_channel(ProcessSettings(), address))
        return GrpcStore(store_pb2_grpc.StoreStub(channels[-1]), control_loop)

    async def connecting(address: str) -> Any:
        return await on(control_loop, opened(address))

    yield connecting
    for channel in channels:
        await on(control_loop, channel.close())


@pytest.fixture
async def store(service: Any, connect: Connect) -> Any:
    return await connect(service.settings.bind)


class Sync:
    """The synchronous methods, each called on a worker thread, under the names of the asynchronous ones."""

    def __init__(self, store: BaseStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name.removeprefix("a"))

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(method, *args, **kwargs)

        return call


@pytest.fixture(params=["sync", "async"])
def api(request: pytest.FixtureRequest, store: Any) -> Any:
    """The store through both of its faces."""
    return Sync(store) if request.param == "sync" else store


async def test_put_get_update_delete(api: Any) -> None:
    assert await api.aget(NS, "k") is None
    await api.aput(NS, "k", {"b": 1, "a": [1.5, None, "ü"]})
    item = await api.aget(NS, "k")
    assert type(item) is Item
    assert (item.namespace, item.key, item.value) == (NS, "k", {"b": 1, "a": [1.5, None, "ü"]})
    assert list(item.value) == ["b", "a"]
    assert item.created_at.tzinfo is not None
    await api.aput(NS, "k", {"c": 2})
    changed = await api.aget(NS, "k")
    assert changed.value == {"c": 2}
    assert changed.created_at == item.created_at
    assert changed.updated_at > item.updated_at
    await api.adelete(NS, "k")
    await api.adelete(NS, "k")
    assert await api.aget(NS, "k") is None


async def test_search_filters_pages_and_prefixes(api: Any) -> None:
    for number in range(15):
        await api.aput((*NS, "n"), f"k{number}", {"number": number, "odd": number % 2 == 1})
    await api.aput(("users", "10"), "other", {})
    found = await api.asearch(NS)
    assert [item.key for item in found] == [f"k{number}" for number in range(10)]
    assert all(type(item) is SearchItem and item.score is None for item in found)
    assert [item.key for item in await api.asearch(NS, limit=3, offset=12)] == ["k12", "k13", "k14"]
    odd = await api.asearch(NS, filter={"odd": True, "number": {"$gt": 3, "$lte": 9}})
    assert [item.value["number"] for item in odd] == [5, 7, 9]
    assert len(await api.asearch((), limit=100)) == 16
    assert await api.asearch(("nobody",)) == []


async def test_list_namespaces(api: Any) -> None:
    for namespace in (("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("z", "c")):
        await api.aput(namespace, "k", {})
    assert await api.alist_namespaces(prefix=("a",), max_depth=2) == [("a", "b"), ("a", "x")]
    assert await api.alist_namespaces(suffix=("c",)) == [("a", "b", "c"), ("z", "c")]
    assert await api.alist_namespaces(prefix=("a", "*", "d")) == [("a", "b", "d")]
    assert await api.alist_namespaces(limit=1, offset=1) == [("a", "b", "d")]
    assert await api.alist_namespaces(max_depth=0) == [()]


async def test_limits_of_nothing_and_patterns_that_exclude_each_other_find_nothing(api: Any) -> None:
    await api.aput(NS, "k", {})
    assert await api.asearch(NS, limit=0) == []
    assert await api.alist_namespaces(limit=0) == []
    excluding = ListNamespacesOp((MatchCondition("prefix", ("users",)), MatchCondition("prefix", ("others",))))
    results = await api.abatch([SearchOp(NS, limit=0), GetOp(NS, "k"), excluding, ListNamespacesOp(), GetOp(NS, "x")])
    assert [results[0], results[2], results[3], results[4]] == [[], [], [NS], None]
    assert results[1].key == "k"


FILTERS: list[dict[str, Any]] = [
    {"nest": {"q": 1}}, {"nest": {"q": {"$gt": 1}}}, {"nest": {"q": {"$gte": 1, "$ne": 2}}}, {"nest": {}},
    {"nest": {"q": None}}, {"nest": {"$eq": {"q": 2}}}, {"nest": {"r": {"s": [1]}}}, {"l": [{"x": 1}, 3]},
    {"l": [{"x": {"$lt": 5}}, 3]}, {"l": [3, 4]}, {"l": (3, 4)}, {"l": []}, {"nest": {"q": 1}, "l": [3, 4]},
]  # fmt: skip


@pytest.mark.parametrize("condition", FILTERS)
async def test_nested_filters_find_what_langgraphs_own_store_finds(store: Any, condition: dict[str, Any]) -> None:
    own = InMemoryStore()
    for key, value in {
        "both": {"nest": {"q": 1, "r": {"s": [1], "t": 2}}, "l": [3, 4]},
        "two": {"nest": {"q": 2}, "l": [{"x": 1, "y": 2}, 3]},
        "three": {"nest": {"q": 3}, "l": []},
    }.items():
        await store.aput(NS, key, value)
        own.put(NS, key, value)
    expected = [item.key for item in own.search(NS, filter=condition)]
    assert [item.key for item in await store.asearch(NS, filter=condition)] == expected


async def test_a_batch_answers_in_order_and_reads_the_state_before_its_writes(api: Any) -> None:
    await api.aput(NS, "k", {"v": "old"})
    results = await api.abatch(
        [
            PutOp(NS, "k", {"v": "first"}),
            GetOp(NS, "k"),
            PutOp(NS, "k", {"v": "last"}),
            SearchOp(NS),
            ListNamespacesOp(),
            GetOp(NS, "missing"),
        ]
    )
    assert results[0] is results[2] is results[5] is None
    assert results[1].value == {"v": "old"}
    assert [item.value for item in results[3]] == [{"v": "old"}]
    assert results[4] == [NS]
    assert (await api.aget(NS, "k")).value == {"v": "last"}
    assert await api.abatch([]) == []


async def test_refusals_are_langgraphs_own_errors(api: Any) -> None:
    for namespace in ((), ("a.b",), ("",), ("langgraph", "x")):
        with pytest.raises(InvalidNamespaceError):
            await api.aput(namespace, "k", {})
        with pytest.raises(InvalidNamespaceError):
            await api.abatch([PutOp(namespace, "k", {})])
    with pytest.raises(ValueError, match="Unsupported operator"):
        await api.asearch(NS, filter={"a": {"$in": []}})
    with pytest.raises(ValueError, match=r"Unsupported operator: \$in"):
        await api.asearch(NS, filter={"a": {"b": {"$in": []}}})
    with pytest.raises(
        ValueError, match=r"the value of 'k' must not contain the character U\+0000, as it does at 'v.1'"
    ):
        await api.aput(NS, "k", {"v": ["", "\0"]})
    with pytest.raises(ValueError, match=r"the filter on 'a' must not contain the character U\+0000"):
        await api.asearch(NS, filter={"a": "\0"})
    with pytest.raises(ValueError, match=r"the value of 'k'.*nan"):
        await api.aput(NS, "k", {"v": float("nan")})
    with pytest.raises(ValueError, match=r"the value of 'k'.*64-bit"):
        await api.aput(NS, "k", {"v": 2**64})
    with pytest.raises(TypeError, match="'k'"):
        await api.aput(NS, "k", {"v": object()})
    with pytest.raises(ValueError, match="limit and offset"):
        await api.asearch(NS, limit=-1)


async def test_ttl_is_the_callers_or_left_to_the_service(start: Any, connect: Connect) -> None:
    left = "SELECT extract(epoch FROM expires_at - now())::float FROM store.item WHERE key = $1"
    async with start(store_ttl_default_minutes=10, store_ttl_refresh_on_read=False) as service:
        store = await connect(service.settings.bind)
        await store.aput(NS, "own", {}, ttl=1)
        await store.aput(NS, "default", {})
        assert await service.fetchval(left, "own") <= 60 < await service.fetchval(left, "default")
        await service.execute("UPDATE store.item SET expires_at = now() + interval '10 seconds'")
        await store.aget(NS, "own")
        await store.asearch(NS)
        assert await service.fetchval(left, "own") <= 10
        await store.aget(NS, "own", refresh_ttl=True)
        assert await service.fetchval(left, "own") > 10
        await service.expire("own")
        assert await store.aget(NS, "own") is None


async def test_a_synchronous_call_works_on_a_thread_that_runs_an_event_loop(store: Any) -> None:
    async def node() -> Any:
        store.put(NS, "k", {"v": 1})
        return store.get(NS, "k").value, (await store.aget(NS, "k")).value

    assert await asyncio.to_thread(asyncio.run, node()) == ({"v": 1}, {"v": 1})


async def test_it_works_on_the_control_loop_itself_but_not_synchronously(
    store: Any, control_loop: asyncio.AbstractEventLoop
) -> None:
    async def node() -> Any:
        await store.aput(NS, "k", {"v": 1})
        with pytest.raises(RuntimeError, match="control loop"):
            store.get(NS, "k")
        return (await store.aget(NS, "k")).value

    assert await on(control_loop, node()) == {"v": 1}


async def test_many_threads_and_tasks_at_once(store: Any) -> None:
    def work(number: int) -> None:
        store.put(("threads",), str(number), {"n": number})
        assert store.get(("threads",), str(number)).value == {"n": number}

    await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(40)))
    await asyncio.gather(*(store.aput(("tasks",), str(number), {}) for number in range(40)))
    assert len(await store.asearch((), limit=100)) == 80


async def test_one_callers_mistake_does_not_fail_those_who_share_its_call(store: Any) -> None:
    outcomes = await asyncio.gather(
        *(store.aput(NS, str(number), {"v": "\0" if number == 3 else ""}) for number in range(6)),
        return_exceptions=True,
    )
    assert [isinstance(outcome, ValueError) for outcome in outcomes] == [number == 3 for number in range(6)]
    assert len(await store.asearch(NS)) == 5


async def test_a_service_that_is_not_there_is_a_connection_error(
    tmp_path: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadmill_runs.executor.memory.store.CALL_TIMEOUT_SECONDS", 0.5)
    store = await connect(f"unix:{tmp_path}/nobody.sock")
    with pytest.raises(StoreUnavailable):
        await store.aget(NS, "k")


async def test_nodes_of_a_graph_get_it_injected(store: Any) -> None:
    def write(state: State, *, store: BaseStore) -> State:
        store.put(NS, "greeting", {"text": "hello"})
        return {}

    async def read(state: State, *, store: BaseStore) -> State:
        item = await store.aget(NS, "greeting")
        return {"answer": item.value["text"] if item else None}

    builder = StateGraph(State)
    builder.add_node("write", write)
    builder.add_node("read", read)
    builder.add_edge(START, "write")
    builder.add_edge("write", "read")
    builder.add_edge("read", END)
    graph = builder.compile(store=store)
    assert await graph.ainvoke({"question": 1}) == {"question": 1, "answer": "hello"}
