"""Embedders and vectors in Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from threadmill_chassis.postgres import Connection, all_rows, load_queries

from threadmill_store.clauses import filter_parameters, queries, search_parameters, search_queries
from threadmill_store.domain import Item, Put, Search
from threadmill_store.rows import item_of, put_parameters
from threadmill_store.schema import QUERIES, SEMANTIC_QUERIES
from threadmill_store.semantic.index import Description, Index

# An item may have several vectors, which are then often near each other: this many are looked at for each item on the
# page, and as often as they are too few items, so many times as many.
CANDIDATES_PER_ITEM = 4
GROWTH = 4
EMBEDDING_LOCK = 0x7E59


@dataclass(frozen=True, slots=True)
class Unembedded:
    """An item whose present version lacks the vectors of an embedder."""

    id: int
    version: int
    # JSON text.
    value: str
    # None: those of the embedder.
    paths: tuple[str, ...] | None


def semantic_queries(column_type: str) -> Any:
    """The named queries on vectors that are compared as this type; it is part of their text, and of the index."""
    return queries(SEMANTIC_QUERIES, EMBEDDING=column_type)


class SemanticRepo:
    """Reads and writes on a connection that its caller has opened; holds no state."""

    def __init__(self) -> None:
        self._queries = load_queries(QUERIES)

    async def current(self, connection: Connection) -> tuple[bool, Index | None]:
        """Whether an executor was ever heard, and the embedder in use."""
        row = await self._queries.current_index(connection)
        if row is None or row["id"] is None:
            return row is not None, None
        return True, Index(row["id"], Description(row["identity"], row["dims"], tuple(row["fields"])))

    async def use(self, connection: Connection, description: Description | None) -> Index | None:
        """Makes this the embedder in use, for all replicas; idempotent."""
        index = None
        if description is not None:
            found = await self._queries.register_embedder(
                connection, identity=description.identity, dims=description.dims, fields=description.fields
            )
            index = Index(found, description)
        await self._queries.use_embedder(connection, embedder=index.id if index else None)
        return index

    async def search(self, connection: Connection, index: Index, search: Search, vector: str) -> list[Item]:
        """Items below a prefix that meet all conditions, the nearest first, those without vectors last."""
        templates = search_queries("nearest", search, EMBEDDING=index.column_type)
        parameters = {
            **search_parameters(search),
            **filter_parameters(search.conditions),
            "vector": vector,
            "embedder": index.id,
        }
        rows = await self._nearest(connection, templates, search, parameters)
        if rows is None:
            rows = await all_rows(templates.compare_all(connection, **parameters))
        return [replace(item_of(row), score=row["score"]) for row in rows]

    async def _nearest(
        self, connection: Connection, templates: Any, search: Search, parameters: dict[str, Any]
    ) -> list[Any] | None:
        """The page by the index; None when it has fewer vectors to tell of than the page needs."""
        wanted = search.limit + search.offset
        candidates = CANDIDATES_PER_ITEM * wanted
        while search.limit:
            rows = await all_rows(templates.search_nearest(connection, **parameters, candidates=candidates))
            if rows[0]["items"] >= wanted:
                return rows
            if rows[0]["vectors"] < candidates:
                break
            candidates *= GROWTH
        return None

    async def put(
        self, connection: Connection, index: Index, puts: Sequence[Put], vectors: Sequence[Sequence[str]]
    ) -> None:
        """Writes items, none twice, each with its vectors, in one statement."""
        owners, literals = _owned(vectors)
        await semantic_queries(index.column_type).put_embedded_items(
            connection, **put_parameters(puts), embedder=index.id, owners=owners, vectors=literals
        )

    async def backlog(self, connection: Connection, index: Index, after: int, limit: int) -> list[Unembedded]:
        """The next items, by id, that lack vectors of this embedder."""
        rows = await all_rows(self._queries.backlog(connection, embedder=index.id, after=after, limit=limit))
        return [
            Unembedded(
                row["id"],
                row["version"],
                row["value"],
                None if row["index_paths"] is None else tuple(row["index_paths"]),
            )
            for row in rows
        ]

    async def embed(
        self, connection: Connection, index: Index, items: Sequence[Unembedded], vectors: Sequence[Sequence[str]]
    ) -> None:
        """Gives items their vectors, save those that were written meanwhile."""
        owners, literals = _owned(vectors)
        await semantic_queries(index.column_type).embed_items(
            connection,
            ids=[item.id for item in items],
            versions=[item.version for item in items],
            embedder=index.id,
            owners=owners,
            vectors=literals,
        )

    async def begin_embedding(self, connection: Connection) -> bool:
        """Whether this session may do it; then it must say when it has ended."""
        return bool(await self._queries.begin_embedding(connection, lock_class=EMBEDDING_LOCK))

    async def end_embedding(self, connection: Connection) -> None:
        """Lets others do it."""
        await self._queries.end_embedding(connection, lock_class=EMBEDDING_LOCK)

    async def forget(self, connection: Connection, after: int, limit: int) -> int | None:
        """Makes the next items, by id, look unembedded; answers the last id, None when there are no more."""
        found = await self._queries.forget_embeddings(connection, after=after, limit=limit)
        return None if found is None else int(found)


def _owned(vectors: Sequence[Sequence[str]]) -> tuple[list[int], list[str]]:
    """Vectors in one row, each with the position of its item, from 1."""
    pairs = [(owner, literal) for owner, literals in enumerate(vectors, 1) for literal in literals]
    return [owner for owner, _ in pairs], [literal for _, literal in pairs]
