"""A large store: every read stays on an index, and the times of day-to-day questions do not grow with the store.

100,000 items; THREADMILL_SCALE=1000000 for the size that we promise. Run with `-s` to see the times.
"""

import os
import re
import sys
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from threadmill_chassis.migrate import migrate
from threadmill_chassis.postgres import load_queries
from threadmill_store.domain import Condition, ListNamespaces, Search
from threadmill_store.repo import ItemRepo
from threadmill_store.schema import MIGRATIONS, QUERIES, SCHEMA
from threadmill_store.semantic.index import Description
from threadmill_store.semantic.repo import SemanticRepo
from threadmill_store.semantic.tables import build_indexes, create_table
from threadmill_store.wiring import SESSION

from .plans import Explaining

COUNT = int(os.environ.get("THREADMILL_SCALE", "100000"))
# Four items in a namespace, a hundred of a kind.
NAMESPACES, KINDS = COUNT // 4, COUNT // 100
# Beside them, and written after all of them: one namespace of very many, one of some, and items of several texts.
LOGS, SOME, DOCUMENTS, CHUNKS = COUNT // 5, COUNT // 200, COUNT // 200, 10
DIMS = 16
LOAD_TIMEOUT_SECONDS = 3000.0
# Generous, for machines that have other things to do; what walks through the store takes seconds.
QUICK_SECONDS = 0.25
# One pass over an index.
SLOW_SECONDS = 5.0

ITEMS = f"""
INSERT INTO store.item (namespace, key, value, embedder_id)
SELECT ARRAY['u' || n % {NAMESPACES}, 'mem'], n::text,
    json_build_object('n', n, 'kind', 'k' || n % {KINDS}, 'half', n % 2), 1
FROM generate_series(1, {COUNT}) AS n
"""
SKEWED = f"""
INSERT INTO store.item (namespace, key, value, embedder_id)
SELECT ARRAY['logs', 'day'], n::text,
    json_build_object('n', n, 'kind', CASE n WHEN {LOGS} THEN 'rare' ELSE 'common' END), 1
FROM generate_series(1, {LOGS}) AS n
UNION ALL
SELECT ARRAY['some', 'a', 'b', 'c'], n::text, json_build_object('n', n, 'kind', 'x'), 1
FROM generate_series(1, {SOME}) AS n
UNION ALL
SELECT ARRAY['documents', 'd' || n], n::text, json_build_object('n', n), 1
FROM generate_series(1, {DOCUMENTS}) AS n
"""
# Each kind is a cloud of texts that mean about the same, as real ones are; `{id}` and `{kind}` are expressions.
POINT = "(SELECT array_agg({expression}) FROM generate_series(1, {dims}) AS dimension)::real[]::vector"
CENTRE, NOISE = "hashint8({kind} * 64 + dimension) / 2147483648.0", "hashint8(-({id} * 64 + dimension)) / 2147483648.0"
VECTORS = f"""
INSERT INTO store.item_embedding (item_id, version, embedder_id, position, embedding)
SELECT item.id, 0, 1, 1, {
    POINT.format(
        expression=f"{CENTRE.format(kind=f'(item.key::bigint % {KINDS})')} + 0.3 * {NOISE.format(id='item.id')}",
        dims=DIMS,
    )
}
FROM store.item
WHERE cardinality(item.namespace) = 2 AND item.namespace[2] = 'mem'
"""
# The texts of a document are near each other, nearer than those of two documents.
CHUNK_VECTORS = f"""
INSERT INTO store.item_embedding (item_id, version, embedder_id, position, embedding)
SELECT item.id, 0, 1, chunk, {
    POINT.format(
        expression=f"{CENTRE.format(kind='item.id')} + 0.01 * {NOISE.format(id=f'(item.id * {CHUNKS} + chunk)')}",
        dims=DIMS,
    )
}
FROM store.item
CROSS JOIN generate_series(1, {CHUNKS}) AS chunk
WHERE item.namespace[1] = 'documents'
"""
QUERY = POINT.format(expression=CENTRE.format(kind="7"), dims=DIMS)

pytestmark = pytest.mark.timeout(LOAD_TIMEOUT_SECONDS)


class Large:
    """A connection to the large store, set as the service sets its own."""

    def __init__(self, connection: Any, index: Any, query: str) -> None:
        self.connection = connection
        self.index = index
        self.query = query
        self.items, self.semantic = ItemRepo(), SemanticRepo()

    async def plan(self, sql: str, *arguments: Any) -> str:
        explaining = Explaining(self.connection)
        await explaining.fetch(sql, *arguments)
        return explaining.plan

    async def plan_of(self, search: Search) -> str:
        explaining = Explaining(self.connection)
        await self.items.search(explaining, search)  # type: ignore[arg-type]
        return explaining.plan

    async def timed(self, name: str, work: Any) -> Any:
        started = time.perf_counter()
        found = await work
        seconds = time.perf_counter() - started
        sys.stdout.write(f"{name}: {seconds * 1000:.1f} ms at {COUNT} items\n")
        assert seconds < QUICK_SECONDS, name
        return found


@pytest.fixture(scope="module")
async def large(postgres_dsn: str) -> AsyncIterator[Large]:
    outer = await asyncpg.connect(postgres_dsn)
    await outer.execute("DROP DATABASE IF EXISTS large_store WITH (FORCE)")
    await outer.execute("CREATE DATABASE large_store")
    dsn = urlunsplit(urlsplit(postgres_dsn)._replace(path="/large_store"))
    await migrate(dsn, SCHEMA, MIGRATIONS)
    connection = await asyncpg.connect(dsn, server_settings=dict(SESSION))
    await create_table(connection, DIMS)
    index = await SemanticRepo().use(connection, Description("test", DIMS, ("$",)))
    assert index is not None
    await connection.execute(ITEMS, timeout=LOAD_TIMEOUT_SECONDS)
    await connection.execute(SKEWED, timeout=LOAD_TIMEOUT_SECONDS)
    await connection.execute(VECTORS, timeout=LOAD_TIMEOUT_SECONDS)
    await connection.execute(CHUNK_VECTORS, timeout=LOAD_TIMEOUT_SECONDS)
    await build_indexes(connection, index)
    await connection.execute("VACUUM ANALYZE", timeout=LOAD_TIMEOUT_SECONDS)
    yield Large(connection, index, await connection.fetchval(f"SELECT ({QUERY})::text"))
    await connection.close()
    await outer.execute("DROP DATABASE large_store WITH (FORCE)")
    await outer.close()


def kind(number: int) -> Condition:
    return Condition("kind", "eq", f'"k{number}"'.encode())


async def test_reads_are_quick(large: Large) -> None:
    connection = large.connection

    async def search(**fields: Any) -> Any:
        return await large.items.search(connection, Search(**{"prefix": (), **fields}))

    async def listed(**fields: Any) -> Any:
        return await large.items.list_namespaces(connection, ListNamespaces(**fields))

    assert len(await large.timed("prefix", search(prefix=("u7",)))) == 4
    assert len(await large.timed("everywhere", search())) == 10
    assert len(await large.timed("filter", search(conditions=(kind(7),)))) == 10
    in_one = search(prefix=("u7",), conditions=(Condition("n", "gt", b"7"),))
    assert len(await large.timed("prefix and comparison", in_one)) == 3
    assert len(await large.timed("namespaces", listed())) == 100
    assert len(await large.timed("namespaces to a depth", listed(max_depth=1))) == 100
    assert await large.timed("namespaces by a prefix of none", listed(prefix=("nobody",))) == []
    assert await large.timed("namespaces by a suffix of none", listed(suffix=("nothing",))) == []
    for pattern in ({"suffix": ("nothing", "*")}, {"prefix": ("*", "nothing")}):
        started = time.perf_counter()
        assert await listed(**pattern) == []
        assert time.perf_counter() - started < SLOW_SECONDS
    assert len(await large.timed("namespaces by a common suffix", listed(suffix=("mem",)))) == 100


async def test_the_nearest_are_found_by_the_index_alone_and_quickly(large: Large) -> None:
    async def nearest(**fields: Any) -> Any:
        return await large.semantic.search(
            large.connection, large.index, Search(**{"prefix": (), **fields}), large.query
        )

    await nearest()  # reads the index into memory
    found = await large.timed("nearest", nearest())
    scores = [item.score for item in found]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
    half = (Condition("half", "eq", b"1"),)
    assert len(await large.timed("nearest with a common filter", nearest(conditions=half))) == 10
    assert len(await large.timed("nearest with a rare filter", nearest(conditions=(kind(7),)))) == 10
    assert len(await large.timed("nearest below a prefix", nearest(prefix=("u7",)))) == 4


async def test_the_index_finds_almost_all_of_the_nearest(large: Large) -> None:
    search = Search((), limit=20)
    found = await large.semantic.search(large.connection, large.index, search, large.query)
    exact = await large.connection.fetch(
        f"SELECT item_id FROM store.item_embedding ORDER BY embedding <=> '{large.query}'::vector LIMIT 20"
    )
    assert len({item.id for item in found} & {row["item_id"] for row in exact}) >= 16


async def test_a_search_by_meaning_reads_the_vectors_index_alone(large: Large) -> None:
    plans = []

    class Watching(Explaining):
        async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
            await super().fetch(sql, *arguments)
            plans.append(self.plan)
            return list(await large.connection.fetch(sql, *arguments))

    watching = Watching(large.connection)
    found = await large.semantic.search(watching, large.index, Search(()), large.query)  # type: ignore[arg-type]
    assert len(found) == 10
    [text] = plans
    assert "item_embedding_nearest_1" in text
    assert "Seq Scan" not in text


async def test_items_with_several_vectors_fill_a_page_from_the_index(large: Large) -> None:
    """Ten vectors each, all near each other: the nearest forty belong to four items."""
    vector = await large.connection.fetchval(
        "SELECT embedding::text FROM store.item_embedding"
        " JOIN store.item ON item.id = item_embedding.item_id WHERE item.namespace = ARRAY['documents', 'd7'] LIMIT 1"
    )

    async def nearest(**fields: Any) -> Any:
        return await large.semantic.search(
            large.connection, large.index, Search(**{"prefix": ("documents",), **fields}), vector
        )

    await nearest()
    found = await large.timed("nearest of several vectors", nearest())
    assert len({item.id for item in found}) == 10
    assert found[0].key == "7"
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)
    second = await large.timed("nearest of several vectors, second page", nearest(offset=10))
    assert not {item.id for item in found} & {item.id for item in second}
    assert len(await large.timed("nearest of several vectors everywhere", nearest(prefix=()))) == 10


async def test_skewed_namespaces_cost_what_is_below_them_or_on_the_page(large: Large) -> None:
    async def search(*prefix: str, condition: Condition | None = None, **fields: Any) -> Any:
        conditions = (condition,) if condition else ()
        return await large.items.search(large.connection, Search(prefix, conditions, **fields))

    for prefix in (("logs",), ("logs", "day"), ("some",), ("some", "a"), ("some", "a", "b"), ("some", "a", "b", "c")):
        name = "/".join(prefix)
        found = await large.timed(name, search(*prefix))
        assert [item.key for item in found] == [str(number) for number in range(1, 11)]
        last = Condition("n", "gt", str((LOGS if prefix[0] == "logs" else SOME) - 3).encode())
        started = time.perf_counter()
        assert len(await search(*prefix, condition=last)) == 3
        sys.stdout.write(f"{name}, compared: {(time.perf_counter() - started) * 1000:.1f} ms\n")
        assert time.perf_counter() - started < SLOW_SECONDS
    assert len(await large.timed("rare", search("logs", condition=Condition("kind", "eq", b'"rare"')))) == 1
    assert len(await large.timed("common", search("logs", condition=Condition("kind", "eq", b'"common"')))) == 10
    assert await large.timed("unequal", search("some", condition=Condition("kind", "ne", b'"x"'))) == []
    assert len(await large.timed("last page", search("some", offset=SOME - 10))) == 10


async def test_plans_of_prefix_searches_never_walk_through_the_store(large: Large) -> None:
    comparison = (Condition("n", "gt", b"1000000000"),)
    for depth, prefix in enumerate((("some",), ("some", "a"), ("some", "a", "b")), 1):
        for conditions in ((), comparison):
            text = await large.plan_of(Search(prefix, conditions))
            assert f"item_below_{depth}" in text
            assert "Seq Scan" not in text
            assert removed(text) <= SOME
    for conditions in ((), comparison):
        text = await large.plan_of(Search(("some", "a", "b", "c"), conditions))
        assert "item_identity" in text
        assert removed(text) <= SOME
    text = await large.plan_of(Search(("logs",)))
    assert removed(text) == 0
    assert "Sort" not in text


def removed(plan: str) -> int:
    """Rows that were read for nothing."""
    return sum(int(number) for number in re.findall(r"Rows Removed by Filter: (\d+)", plan))


async def test_plans_of_the_other_reads_have_no_sequential_scan(large: Large) -> None:
    text = await large.plan(load_queries(QUERIES).get_item.sql, ["u7", "mem"], "7")
    assert "item_identity" in text
    assert "Seq Scan" not in text
    text = await large.plan_of(Search((), (kind(7),), limit=0))
    assert "item_value" in text
    assert "Seq Scan" not in text
    explaining = Explaining(large.connection)
    await large.items.list_namespaces(explaining, ListNamespaces(suffix=("nothing",)))  # type: ignore[arg-type]
    assert "item_last_label" in explaining.plan
    assert "Seq Scan" not in explaining.plan
