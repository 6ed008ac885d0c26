"""What happens to vectors when the application's embedder changes, or is to be asked again."""

from typing import Any

import pytest
from threadmill_store.reindex import reindex

from .conftest import learned
from .test_store_semantic import NS, ranked

INDEX_NAMES = "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'item_%\\_nearest\\_%' ORDER BY 1"


async def work_off(service: Any) -> int:
    return int(await service.application.semantic.backlog.work_off())


async def test_vectors_of_another_embedder_do_not_count_and_are_made_anew(start: Any, application: Any) -> None:
    async with start(executor_address=application.address) as service:
        async with application.executor():
            await learned(service)
            await service.put(NS, "tea", {"text": "tea"})
            await service.put(NS, "sea", {"text": "sea"})
        application.index(dims=3, embed="./embed.py:embed_async", fields=["text"])
        async with application.executor():
            # The store has not heard of it: the executor refuses, is asked what it is, and then embeds.
            assert await ranked(service, "tea") == [("tea", None), ("sea", None)]
            await service.put(NS, "new", {"text": "tea"})
            assert await ranked(service, "tea") == [("new", 1.0), ("tea", None), ("sea", None)]
            assert await work_off(service) == 2
            assert await ranked(service, "tea") == [("tea", 1.0), ("new", 1.0), ("sea", 0.0)]
            assert await work_off(service) == 0
            assert await service.fetchval("SELECT count(*) FROM store.item_embedding") == 3


async def test_another_dimension_gets_an_index_of_its_own(start: Any, application: Any) -> None:
    async with start(executor_address=application.address) as service:
        async with application.executor():
            await learned(service)
            await service.put(NS, "k", {"text": "tea"})
            assert await work_off(service) == 0
        (application.folder / "wide.py").write_text(
            "def embed(texts):\n    return [[1.0] + [float('sea' in text)] * 2500 for text in texts]\n"
        )
        application.index(dims=2501, embed="./wide.py:embed")
        async with application.executor():
            await learned(service)
            assert await work_off(service) == 1
            assert await ranked(service, "tea") == [("k", 1.0)]
            names = [row[0] for row in await service.application.pool.fetch(INDEX_NAMES)]
            assert names == ["item_embedding_nearest_1", "item_embedding_nearest_2"]


async def test_an_index_that_a_crash_left_half_built_is_built_again(indexed: Any) -> None:
    await work_off(indexed)
    broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'store.item_embedding_nearest_1'::regclass"
    await indexed.execute(broken)
    await work_off(indexed)
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'store.item_embedding_nearest_1'::regclass"
    assert await indexed.fetchval(valid)


async def test_items_can_be_embedded_again_and_are_found_meanwhile(indexed: Any, application: Any) -> None:
    await indexed.put(NS, "k", {"text": "tea"})
    await indexed.put(NS, "never", {"text": "tea"}, index={})
    await reindex(indexed.settings)
    assert await ranked(indexed, "tea") == [("k", 1.0), ("never", None)]
    before = len(application.calls())
    assert await work_off(indexed) == 2
    assert application.calls()[before:] == [["tea"]]
    assert await ranked(indexed, "tea") == [("k", 1.0), ("never", None)]


async def test_a_text_that_cannot_be_embedded_keeps_no_other_from_it(start: Any, application: Any) -> None:
    async with start() as service:
        for key, text in (("a", "tea"), ("bad", "poison"), ("b", "sea")):
            await service.put(NS, key, {"text": text})
        dsn = service.settings.postgres_dsn
    async with application.executor(), start(executor_address=application.address, postgres_dsn=dsn) as service:
        await learned(service)
        assert await work_off(service) == 2
        assert await ranked(service, "tea") == [("a", 1.0), ("b", 0.0), ("bad", None)]


async def test_a_write_during_the_embedding_of_the_old_value_wins(indexed: Any) -> None:
    await indexed.put(NS, "k", {"text": "tea"})
    await reindex(indexed.settings)
    semantic, pool = indexed.application.semantic, indexed.application.pool
    index = await semantic.watch.current()
    repo = semantic.backlog._repo
    async with pool.acquire() as connection:
        items = await repo.backlog(connection, index, 0, 10)
        await indexed.put(NS, "k", {"text": "sea"})
        await repo.embed(connection, index, items, [["[1,0,0]"]])
    assert await ranked(indexed, "tea") == [("k", 0.0)]


async def test_one_process_of_the_cluster_works_at_a_time(indexed: Any) -> None:
    await indexed.put(NS, "k", {"text": "tea"})
    await reindex(indexed.settings)
    semantic = indexed.application.semantic
    async with indexed.application.pool.acquire() as other:
        assert await semantic.backlog._repo.begin_embedding(other)
        assert await work_off(indexed) == 0
        await semantic.backlog._repo.end_embedding(other)
    assert await work_off(indexed) == 1


@pytest.mark.parametrize("count", [30])
async def test_filters_that_leave_little_of_the_nearest_starve_no_page(indexed: Any, count: int) -> None:
    for number in range(count):
        await indexed.put(NS, f"near{number}", {"text": "tea", "n": 1})
    await indexed.put(NS, "far", {"text": "sea tea tea tea", "n": 2})
    await indexed.put(NS, "farther", {"text": "sea", "n": 2})
    from threadmill_protos.store.v1 import store_pb2

    condition = store_pb2.FilterCondition(key="n", operator=store_pb2.FilterCondition.OPERATOR_GT, value_json=b"1")
    assert [key for key, _ in await ranked(indexed, "tea", conditions=[condition], limit=2)] == ["far", "farther"]
