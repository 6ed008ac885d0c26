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
from threadmill_store.rows import beyond, filter_parameters
from threadmill_store.schema import MIGRATIONS, QUERIES, SCHEMA
from threadmill_store.schema import SEMANTIC_QUERIES as SEMANTIC
from threadmill_store.semantic.index import Description
from threadmill_store.semantic.repo import SemanticRepo, semantic_queries
from threadmill_store.semantic.tables import build_indexes, create_table
from threadmill_store.wiring import SESSION

COUNT = int(os.environ.get("THREADMILL_SCALE", "100000"))
# Four items in a namespace, a hundred of a kind.
NAMESPACES, KINDS = COUNT // 4, COUNT // 100
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
        rows = await self.connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS OFF) {sql}", *arguments)
        return "\n".join(row[0] for row in rows)

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
    await connection.execute(VECTORS, timeout=LOAD_TIMEOUT_SECONDS)
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


async def test_the_plan_of_a_search_by_meaning_reads_the_vectors_index_and_skips_the_comparison_of_all(
    large: Large,
) -> None:
    sql = semantic_queries(large.index.column_type).search_nearest.sql
    values = {
        "first": [], "beyond": beyond(()), "vector": large.query, "embedder": 1, "candidates": 40,
        "limit": 10, "offset": 0,
        **filter_parameters(()),
    }  # fmt: skip
    text = await large.plan(sql, *in_order(sql, values))
    assert "item_embedding_nearest_1" in text
    assert "Seq Scan" not in re.sub(r"Seq Scan[^\n]*\(never executed\)", "", text)
    assert "(never executed)" in text


def in_order(sql: str, values: dict[str, Any]) -> list[Any]:
    """The parameters of `search_nearest` by their numbers, which follow their first mention."""
    named = re.sub(r"(?s).*?-- name: search_nearest", "", (SEMANTIC.read_text()))
    order = dict.fromkeys(re.findall(r"(?<!:):([a-z]+)\b", named.split("\n", 1)[1]))
    assert len(order) == len(set(re.findall(r"\$\d+", sql)))
    return [values[name] for name in order]


async def test_plans_of_the_other_reads_have_no_sequential_scan(large: Large) -> None:
    queries = load_queries(QUERIES)
    conditions = filter_parameters((kind(7),))
    cases = {
        "item_identity": (queries.get_item.sql, ["u7", "mem"], "7"),
        "item_value": (queries.filter_items.sql, [], beyond(()), *conditions.values(), 0, 0),
        "item_last_label": (
            queries.list_namespaces_ending.sql, [], None, [], ["nothing"], "nothing", beyond(()), 0, 100,
        ),
    }  # fmt: skip
    for index, (sql, *arguments) in cases.items():
        text = await large.plan(sql, *arguments)
        assert index in text
        assert "Seq Scan" not in text
    text = await large.plan(queries.search_items.sql, ["u7"], beyond(("u7",)), 10, 0)
    assert "item_identity" in text
    assert "Seq Scan" not in text
