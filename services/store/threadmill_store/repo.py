"""Items in Postgres."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from zlib import crc32

import asyncpg
import orjson
from threadmill_chassis.postgres import Connection, load_queries

from threadmill_store.domain import Condition, Delete, Get, Item, Labels, ListNamespaces, Put, Search
from threadmill_store.errors import InvalidArgument
from threadmill_store.schema import QUERIES

# Sorts after every namespace that validation admits: a label of the highest character, longer than any may be.
END: Labels = ("\U0010ffff" * 501,)

# Advisory locks of writing batches: a number of our own, and few enough that no batch fills the lock table.
LOCK_CLASS = 0x7E57
LOCK_BUCKETS = 256


def beyond(prefix: Labels) -> Labels:
    """The upper bound, exclusive, of the namespaces that begin with these labels (see the migration)."""
    return (*prefix[:-1], prefix[-1] + "\x01") if prefix else END


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what Postgres finds wrong with a caller's data into InvalidArgument."""
    try:
        yield
    except asyncpg.CheckViolationError as error:
        if error.constraint_name != "item_value_is_object":
            raise
        raise InvalidArgument("a value must be a JSON object") from error
    except asyncpg.UntranslatableCharacterError as error:
        raise InvalidArgument("JSON must not contain NUL characters (\\u0000)") from error
    except (asyncpg.DataError, asyncpg.ProgramLimitExceededError) as error:
        raise InvalidArgument(f"the data cannot be stored or compared: {error}") from error


class ItemRepo:
    """Reads and writes items on a connection that its caller has opened; holds no state."""

    def __init__(self) -> None:
        self._queries = load_queries(QUERIES)

    async def get(self, connection: Connection, gets: Sequence[Get]) -> list[Item | None]:
        """The live item of each, or None; one round trip."""
        found: list[Item | None] = [None] * len(gets)
        namespaces, keys = _identities(gets)
        async for row in self._queries.get_items(connection, namespaces=namespaces, keys=keys):
            found[row["position"] - 1] = _item(row)
        return found

    async def search(self, connection: Connection, search: Search) -> list[Item]:
        """Live items below a prefix that meet all conditions, in insertion order."""
        page = _page(search)
        if not search.conditions:
            return [_item(row) async for row in self._queries.search_items(connection, **page)]
        rows = self._queries.filter_items(connection, **page, **filter_parameters(search.conditions))
        return [_item(row) async for row in rows]

    async def search_nearest(self, connection: Connection, search: Search) -> list[Item]:
        """The same, nearest to the vector of the search first; needs the table of vectors."""
        conditions = filter_parameters(search.conditions)
        rows = self._queries.search_nearest(connection, **_page(search), **conditions, vector=_vector(search.vector))
        return [replace(_item(row), score=row["score"]) async for row in rows]

    async def replace_vectors(self, connection: Connection, ids: Sequence[int], puts: Sequence[Put]) -> None:
        """Gives written items, by their ids, the vectors of their puts and no others."""
        await self._queries.forget_vectors(connection, ids=ids)
        rows = [(item, found) for item, put in zip(ids, puts, strict=True) for found in put.embeddings]
        if rows:
            # A path given twice would touch one row twice in a statement; the last one counts.
            unique = {(item, found.path): _vector(found.vector) for item, found in rows}
            items, paths = zip(*unique, strict=True)
            await self._queries.put_vectors(connection, ids=items, paths=paths, vectors=list(unique.values()))

    async def list_namespaces(self, connection: Connection, listing: ListNamespaces) -> list[Labels]:
        """Namespaces of live items that match, sorted and distinct."""
        literal = _literal_part(listing.prefix)
        rows = self._queries.list_namespaces(
            connection,
            first=literal,
            beyond=beyond(literal),
            prefix=listing.prefix,
            suffix=listing.suffix,
            depth=listing.max_depth,
            limit=listing.limit,
            offset=listing.offset,
        )
        return [tuple(row["namespace"]) async for row in rows]

    async def refresh(self, connection: Connection, ids: list[int]) -> None:
        """Restarts the time to live of items; idempotent, and waits for nobody."""
        await self._queries.refresh_items(connection, ids=sorted(set(ids)))

    async def lock(self, connection: Connection, ops: Sequence[Put | Delete]) -> None:
        """Keeps apart transactions that write several items in the same namespaces, until this one ends."""
        buckets = {crc32(orjson.dumps(op.namespace)) % LOCK_BUCKETS for op in ops}
        await self._queries.lock_buckets(connection, lock_class=LOCK_CLASS, buckets=sorted(buckets))

    async def put(self, connection: Connection, puts: Sequence[Put]) -> list[int]:
        """Writes items, none twice, in one statement; answers their ids in order. InvalidArgument for bad JSON."""
        namespaces, keys = _identities(puts)
        rows = self._queries.put_items(
            connection,
            namespaces=namespaces,
            keys=keys,
            values=[put.value for put in puts],
            ttls=[put.ttl_minutes for put in puts],
        )
        ids = {(tuple(row["namespace"]), row["key"]): row["id"] async for row in rows}
        return [ids[put.namespace, put.key] for put in puts]

    async def delete(self, connection: Connection, deletes: Sequence[Delete]) -> None:
        """Deletes items; missing ones are no error."""
        namespaces, keys = _identities(deletes)
        await self._queries.delete_items(connection, namespaces=namespaces, keys=keys)

    async def sweep(self, connection: Connection, limit: int) -> int | None:
        """Deletes up to `limit` expired items and answers how many; None when another process is sweeping.

        The connection must be in a transaction, which holds the lock.
        """
        if not await self._queries.begin_sweep(connection):
            return None
        return int(await self._queries.sweep_items(connection, limit=limit))


def filter_parameters(conditions: Sequence[Condition]) -> dict[str, str]:
    """What an index can find of the conditions, and all of them, as JSON for the queries that filter."""
    # Null equals a missing key, which containment does not find; and what it finds too much is checked again.
    contained = {
        condition.key: orjson.Fragment(condition.operand)
        for condition in conditions
        if condition.operator == "eq" and condition.operand.strip() != b"null"
    }
    checked = [
        {"key": condition.key, "operator": condition.operator, "operand": orjson.Fragment(condition.operand)}
        for condition in conditions
    ]
    return {"contained": orjson.dumps(contained).decode(), "conditions": orjson.dumps(checked).decode()}


def _page(search: Search) -> dict[str, Any]:
    return {
        "first": search.prefix,
        "beyond": beyond(search.prefix),
        "limit": search.limit,
        "offset": search.offset,
    }


def _vector(components: Sequence[float]) -> str:
    return f"[{','.join(map(repr, components))}]"


def _literal_part(pattern: Labels) -> Labels:
    return pattern[: pattern.index("*")] if "*" in pattern else pattern


def _identities(ops: Sequence[Get] | Sequence[Put] | Sequence[Delete]) -> tuple[list[str], list[str]]:
    return [orjson.dumps(op.namespace).decode() for op in ops], [op.key for op in ops]


def _item(row: Any) -> Item:
    return Item(
        id=row["id"],
        namespace=tuple(row["namespace"]),
        key=row["key"],
        value=row["value"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        expires=row["expires"],
    )
