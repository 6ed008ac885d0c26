"""The named queries as SQL: each is prepared on a real Postgres and used, and its filters have an index."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import threadmill_store
from threadmill_chassis.postgres import load_queries
from threadmill_store.clauses import matches, queries, search_queries
from threadmill_store.domain import Condition, ListNamespaces, Search
from threadmill_store.repo import ItemRepo
from threadmill_store.schema import MIGRATIONS, QUERIES, SCHEMA, SEMANTIC_QUERIES, TEMPLATES
from threadmill_store.semantic.repo import semantic_queries
from threadmill_store.semantic.tables import create_table

from .plans import Explaining

DatabaseFactory = Callable[[str, Path], Awaitable[str]]
SOURCES = "\n".join(path.read_text() for path in Path(threadmill_store.__file__).parent.rglob("*.py"))
SEARCHES = [
    Search(()),
    Search(("a",), (Condition("k", "eq", b"1"),)),
    Search(("a", "b", "c"), (Condition("k", "gt", b'"x"'), Condition("k", "lte", b"1", ("x", "y")))),
    Search(("a", "b", "c", "d", "e"), (Condition("k", "object", b"null"), Condition("k", "array", b"2"))),
]


def names() -> list[str]:
    files = [*QUERIES.glob("*.sql"), *TEMPLATES.glob("*.sql"), SEMANTIC_QUERIES]
    return sorted(name for path in files for name in re.findall(r"^-- name: (\w+)", path.read_text(), re.M))


def statements(name: str) -> list[str]:
    """The texts of a query, with vectors of three dimensions."""
    sources = [load_queries(QUERIES), semantic_queries("vector(3)")]
    sources += [
        search_queries(file, search, EMBEDDING="vector(3)") for file in ("items", "nearest") for search in SEARCHES
    ]
    for prefix, suffix in (((), ()), (("a", "*", "b"), ("c", "*"))):
        sources.append(queries(TEMPLATES / "namespaces.sql", MATCHES=matches(prefix, suffix)))
    found = [str(getattr(source, name).sql) for source in sources if name in source.available_queries]
    assert found, name
    return found


@pytest.mark.parametrize("name", names())
async def test_every_query_prepares_and_is_used(make_database: DatabaseFactory, name: str) -> None:
    connection = await asyncpg.connect(await make_database(SCHEMA, MIGRATIONS))
    await create_table(connection, 3)
    for text in statements(name):
        await connection.prepare(text)
    await connection.close()
    assert re.search(rf"([._]queries(\([^()]*\))?|templates)\.{name}\b", SOURCES), f"{name} is not used"


@pytest.fixture
async def large(make_database: DatabaseFactory) -> AsyncIterator[asyncpg.Connection]:
    """40,000 items in 4,000 namespaces."""
    connection = await asyncpg.connect(await make_database(SCHEMA, MIGRATIONS))
    await connection.execute(
        "INSERT INTO store.item (namespace, key, value) SELECT ARRAY['u' || n % 4000, 'mem'], n::text,"
        " json_build_object('n', n, 'kind', 'k' || n % 1000) FROM generate_series(1, 40000) n"
    )
    await connection.execute("VACUUM ANALYZE store.item")
    yield connection
    await connection.close()


@pytest.fixture
def plan(large: Any) -> Any:
    """`await plan(query_name, *arguments)` → its plan, as text."""

    async def explain(name: str, *arguments: Any) -> str:
        explaining = Explaining(large)
        await explaining.fetch(getattr(load_queries(QUERIES), name).sql, *arguments)
        return explaining.plan

    return explain


@pytest.fixture
def search_plan(large: Any) -> Any:
    """`await search_plan(search)` → the plan of what the repository executes for it, as text."""

    async def explain(search: Search) -> str:
        explaining = Explaining(large)
        await ItemRepo().search(explaining, search)  # type: ignore[arg-type]
        return explaining.plan

    return explain


async def test_a_get_reads_the_identity_index(plan: Any) -> None:
    text = await plan("get_items", ['["u7","mem"]'], ["7"])
    assert "item_identity" in text
    assert "Seq Scan" not in text


@pytest.mark.parametrize("prefix", [("u7",), ("u7", "mem")])
async def test_a_prefix_reads_its_range_of_an_index_in_insertion_order(search_plan: Any, prefix: Any) -> None:
    text = await search_plan(Search(prefix))
    assert f"item_below_{len(prefix)}" in text
    assert "Seq Scan" not in text
    assert "item_pkey" not in text


async def test_a_long_prefix_reads_no_more_than_what_is_below(search_plan: Any) -> None:
    text = await search_plan(Search(("u7", "mem", "x", "y")))
    assert "item_identity" in text
    assert "item_pkey" not in text


async def test_a_search_everywhere_reads_insertion_order(search_plan: Any) -> None:
    text = await search_plan(Search(()))
    assert "item_pkey" in text
    assert "Sort" not in text


async def test_an_equality_filter_reads_the_value_index(search_plan: Any) -> None:
    text = await search_plan(Search((), (Condition("kind", "eq", b'"k7"'),), limit=0))
    assert "item_value" in text
    assert "Seq Scan" not in text


@pytest.mark.parametrize("depth", [None, 1])
async def test_a_listing_steps_from_namespace_to_namespace(large: Any, depth: int | None) -> None:
    explaining, limit = Explaining(large), 10
    await ItemRepo().list_namespaces(explaining, ListNamespaces(max_depth=depth, limit=limit))  # type: ignore[arg-type]
    assert "item_identity" in explaining.plan
    assert "Seq Scan" not in explaining.plan
    steps = re.search(r"using item_identity .*\(actual .*loops=(\d+)\)", explaining.plan)
    assert steps is not None
    assert int(steps[1]) <= limit + 1, "must not visit more than it answers"


async def test_the_sweep_reads_the_index_of_ends(plan: Any) -> None:
    text = await plan("sweep_items", 100)
    assert "item_expires_at" in text
