"""Semantic search: an application's embedder, asked by the store, and what searches then find."""

import asyncio
from typing import Any

import grpc
import orjson
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.store.v1 import store_pb2

from .conftest import get, learned, put, search

NS = ["n"]
Index = store_pb2.PutOp.Index


def scores(result: store_pb2.Result) -> list[tuple[str, float | None]]:
    return [(item.key, round(item.score, 3) if item.HasField("score") else None) for item in result.items.items]


async def ranked(service: Any, query: str, prefix: list[str] | None = None, **fields: Any) -> list[Any]:
    [result] = await service.batch(search(NS if prefix is None else prefix, query=query, **fields))
    return scores(result)


async def test_the_nearest_come_first_and_items_without_texts_last(indexed: Any) -> None:
    await indexed.put(NS, "bare", {"other": "tea"})
    await indexed.put(NS, "both", {"text": "tea sea", "kind": "a"})
    await indexed.put(NS, "sea", {"text": "sea", "kind": "a"})
    await indexed.put(NS, "tea", {"text": "tea", "kind": "b"})
    await indexed.put(NS, "nothing", {"text": "which has none of the words"})
    await indexed.put(["m"], "elsewhere", {"text": "tea"})
    expected = [("tea", 1.0), ("both", 0.707), ("sea", 0.0), ("bare", None), ("nothing", None)]
    assert await ranked(indexed, "tea") == expected
    assert await ranked(indexed, "tea", limit=2, offset=1) == expected[1:3]
    assert await ranked(indexed, "tea", limit=1) == expected[:1]
    assert await ranked(indexed, "tea", limit=0) == expected
    kind = store_pb2.FilterCondition(key="kind", value_json=orjson.dumps("a"))
    assert await ranked(indexed, "tea", conditions=[kind]) == expected[1:3]
    assert [key for key, _ in await ranked(indexed, "tea", prefix=[], limit=2)] == ["tea", "elsewhere"]
    assert await indexed.found(NS) == ["bare", "both", "sea", "tea", "nothing"]
    assert await ranked(indexed, "  ") == [(key, None) for key in ("bare", "both", "sea", "tea", "nothing")]


async def test_a_put_says_what_of_it_is_indexed(indexed: Any) -> None:
    await indexed.put(NS, "never", {"text": "tea"}, index=Index())
    await indexed.put(
        NS, "others", {"text": "sea", "notes": [{"t": "car"}, {"t": "tea"}]}, index=Index(paths=["notes[*].t"])
    )
    await indexed.put(NS, "whole", {"a": {"b": "tea"}}, index=Index(paths=["a.b", "$"]))
    assert await ranked(indexed, "tea") == [("others", 1.0), ("whole", 1.0), ("never", None)]
    assert await ranked(indexed, "car") == [("others", 1.0), ("whole", 0.0), ("never", None)]


async def test_a_put_replaces_the_vectors_and_a_deletion_removes_them(indexed: Any) -> None:
    await indexed.put(NS, "k", {"text": "tea"})
    await indexed.put(NS, "k", {"text": "sea"})
    assert await ranked(indexed, "tea") == [("k", 0.0)]
    await indexed.put(NS, "k", {"text": 5})
    assert await ranked(indexed, "tea") == [("k", None)]
    await indexed.put(NS, "k", {"text": "tea"}, ttl_minutes=1)
    await indexed.expire("k")
    await indexed.put(NS, "k", {"text": "sea"})
    assert await ranked(indexed, "sea") == [("k", 1.0)]
    await indexed.batch(store_pb2.Op(delete=store_pb2.DeleteOp(namespace=NS, key="k")))
    assert await indexed.fetchval("SELECT count(*) FROM store.item_embedding") == 0


async def test_a_batch_asks_the_embedder_once_for_what_it_writes_and_names_each_text_once(
    indexed: Any, application: Any
) -> None:
    await indexed.batch(
        put(NS, "a", {"text": "tea"}),
        put(NS, "b", {"text": "tea"}),
        put(NS, "c", {"text": "sea"}),
        put(NS, "c", {"text": "car"}),
        put(NS, "d", {"text": "never"}, index=Index()),
        get(NS, "a"),
    )
    assert application.calls() == [["tea", "car"]]
    assert await ranked(indexed, "car") == [("c", 1.0), ("a", 0.0), ("b", 0.0), ("d", None)]
    await indexed.batch(get(NS, "a"), search(NS))
    assert application.calls() == [["tea", "car"], ["car"]]


async def test_a_batch_ranks_what_was_there_before_its_writes(indexed: Any) -> None:
    await indexed.put(NS, "k", {"text": "sea"})
    results = await indexed.batch(put(NS, "k", {"text": "tea"}), search(NS, query="tea"))
    assert scores(results[1]) == [("k", 0.0)]
    assert await ranked(indexed, "tea") == [("k", 1.0)]


async def test_writers_that_race_leave_the_vectors_of_the_value_that_stays(indexed: Any) -> None:
    words = ["tea", "sea", "car"]
    for _ in range(10):
        await asyncio.gather(*(indexed.put(NS, "k", {"text": word}) for word in words * 3))
        word = (await indexed.get(NS, "k"))["text"]
        assert await ranked(indexed, word) == [("k", 1.0)]


async def test_a_failing_embedder_is_told_and_nothing_is_written(indexed: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await indexed.batch(put(NS, "good", {"text": "tea"}), put(NS, "bad", {"text": "poison"}))
    assert reason_of(caught.value) == "EMBEDDING_FAILED"
    assert "ValueError: poison" in (caught.value.details() or "")
    assert await indexed.fetchval("SELECT count(*) FROM store.item") == 0


async def test_without_an_executor_what_must_be_embedded_is_refused_and_the_rest_works(
    start: Any, application: Any
) -> None:
    async with start(executor_address=application.address, store_embed_timeout_seconds=0.5) as service:
        async with application.executor():
            await learned(service)
            await service.put(NS, "k", {"text": "tea"})
        for op in (put(NS, "k", {"text": "sea"}), search(NS, query="tea")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await service.batch(op)
            assert reason_of(caught.value) == "EMBEDDER_UNAVAILABLE"
        assert await service.get(NS, "k") == {"text": "tea"}
        assert await service.found(NS) == ["k"]
        await service.put(NS, "plain", {"text": "sea"}, index=Index())


async def test_a_store_that_restarts_without_executors_remembers_that_there_is_an_index(
    start: Any, application: Any
) -> None:
    async with application.executor(), start(executor_address=application.address) as service:
        await learned(service)
        dsn = service.settings.postgres_dsn
    fields = {"executor_address": application.address, "postgres_dsn": dsn, "store_embed_timeout_seconds": 0.2}
    async with start(**fields) as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ranked(service, "tea")
        assert reason_of(caught.value) == "EMBEDDER_UNAVAILABLE"


async def test_without_an_index_in_the_application_a_query_is_ignored(start: Any, application: Any) -> None:
    application.index()
    async with application.executor(), start(executor_address=application.address) as service:
        await learned(service)
        await service.put(NS, "k", {"text": "tea"})
        assert await ranked(service, "tea") == [("k", None)]
        assert application.calls() == []


async def test_the_duties_learn_of_an_executor_that_starts_later_and_embed_what_was_written_before(
    start: Any, application: Any
) -> None:
    async with start(executor_address=application.address, store_embed_batch_count=2) as service:
        for number in range(5):
            await service.put(NS, f"k{number}", {"text": "tea" if number % 2 else "sea"})
        await service.put(NS, "never", {"text": "tea"}, index=Index())
        duties = [asyncio.create_task(duty) for duty in service.application.duties().values()]
        async with application.executor(), asyncio.timeout(20):
            while (await ranked(service, "tea"))[-2:] != [("k4", 0.0), ("never", None)]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert await ranked(service, "tea", limit=4) == [("k1", 1.0), ("k3", 1.0), ("k0", 0.0), ("k2", 0.0)]
        for duty in duties:
            duty.cancel()
        await asyncio.gather(*duties, return_exceptions=True)
