"""The named queries as SQL: each is prepared on a real Postgres and used, and its filters have an index."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import threadmill_store
from threadmill_chassis.postgres import load_queries
from threadmill_store.rows import beyond
from threadmill_store.schema import MIGRATIONS, QUERIES, SCHEMA, SEMANTIC_QUERIES
from threadmill_store.semantic.repo import semantic_queries
from threadmill_store.semantic.tables import create_table

DatabaseFactory = Callable[[str, Path], Awaitable[str]]
SOURCES = "\n".join(path.read_text() for path in Path(threadmill_store.__file__).parent.rglob("*.py"))


def names() -> list[str]:
    files = [*QUERIES.glob("*.sql"), SEMANTIC_QUERIES]
    return sorted(name for path in files for name in re.findall(r"^-- name: (\w+)", path.read_text(), re.M))


def statement(name: str) -> str:
    """The text of a query, with vectors of three dimensions."""
    for queries in (load_queries(QUERIES), semantic_queries("vector(3)")):
        if name in queries.available_queries:
            return str(getattr(queries, name).sql)
    raise AssertionError(name)


@pytest.mark.parametrize("name", names())
async def test_every_query_prepares_and_is_used(make_database: DatabaseFactory, name: str) -> None:
    connection = await asyncpg.connect(await make_database(SCHEMA, MIGRATIONS))
    await create_table(connection, 3)
    await connection.prepare(statement(name))
    await connection.close()
    assert re.search(rf"[._]queries(\([^()]*\))?\.{name}\b", SOURCES), f"{name} is not used"


@pytest.fixture
async def plan(make_database: DatabaseFactory) -> Any:
    """`await plan(query_name, *arguments)` → its plan on 40,000 items in 4,000 namespaces, as text."""
    connection = await asyncpg.connect(await make_database(SCHEMA, MIGRATIONS))
    await connection.execute(
        "INSERT INTO store.item (namespace, key, value) SELECT ARRAY['u' || n % 4000, 'mem'], n::text,"
        " json_build_object('n', n, 'kind', 'k' || n % 1000) FROM generate_series(1, 40000) n"
    )
    await connection.execute("VACUUM ANALYZE store.item")
    queries = load_queries(QUERIES)

    async def explain(name: str, *arguments: Any) -> str:
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS OFF) {getattr(queries, name).sql}", *arguments)
        return "\n".join(row[0] for row in rows)

    yield explain
    await connection.close()


async def test_a_get_reads_the_identity_index(plan: Any) -> None:
    text = await plan("get_items", ['["u7","mem"]'], ["7"])
    assert "item_identity" in text
    assert "Seq Scan" not in text


async def test_a_prefix_reads_its_range_of_the_index(plan: Any) -> None:
    text = await plan("search_items", ["u7"], beyond(("u7",)), 10, 0)
    assert "item_identity" in text
    assert "Seq Scan" not in text


async def test_a_search_everywhere_reads_insertion_order(plan: Any) -> None:
    text = await plan("search_items", [], beyond(()), 10, 0)
    assert "item_pkey" in text
    assert "Sort" not in text


async def test_an_equality_filter_reads_the_value_index(plan: Any) -> None:
    conditions = '[{"key":"kind","operator":"eq","operand":"k7"}]'
    text = await plan("filter_items", [], beyond(()), '{"kind":"k7"}', conditions, 0, 0)
    assert "item_value" in text
    assert "Seq Scan" not in text


@pytest.mark.parametrize(("depth", "limit"), [(None, 10), (1, 10)])
async def test_a_listing_steps_from_namespace_to_namespace(plan: Any, depth: int | None, limit: int) -> None:
    text = await plan("list_namespaces", [], depth, [], [], None, None, beyond(()), 0, limit)
    assert "item_identity" in text
    assert "Seq Scan" not in text
    steps = re.search(r"using item_identity .*\(actual .*loops=(\d+)\)", text)
    assert steps is not None
    assert int(steps[1]) <= limit + 1, "must not visit more than it answers"


async def test_the_sweep_reads_the_index_of_ends(plan: Any) -> None:
    text = await plan("sweep_items", 100)
    assert "item_expires_at" in text
