"""Items in Postgres."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from zlib import crc32

import asyncpg
import orjson
from threadmill_chassis.postgres import Connection, load_queries

from threadmill_store.clauses import WILDCARD, filter_parameters, matches, queries, search_parameters, search_queries
from threadmill_store.domain import Delete, Get, Item, Labels, ListNamespaces, Put, Search
from threadmill_store.errors import InvalidArgument, TooSlow
from threadmill_store.rows import beyond, identity_parameters, item_of, put_parameters
from threadmill_store.schema import QUERIES, TEMPLATES

# Advisory locks of writing batches: a number of our own, and few enough that no batch fills the lock table.
LOCK_CLASS = 0x7E57
LOCK_BUCKETS = 256


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


@contextmanager
def in_time(seconds: float) -> Iterator[None]:
    """Turns the end of a statement that took too long into TooSlow. For within a session: to wait for one in vain is
    another matter."""
    try:
        yield
    except (TimeoutError, asyncpg.QueryCanceledError) as error:
        raise TooSlow(
            f"the database needed longer than {seconds:g} seconds; a longer prefix or a condition of equality makes a"
            " search quicker"
        ) from error


class ItemRepo:
    """Reads and writes items on a connection that its caller has opened; holds no state."""

    def __init__(self) -> None:
        self._queries = load_queries(QUERIES)

    async def get(self, connection: Connection, gets: Sequence[Get]) -> list[Item | None]:
        """The live item of each, or None; one round trip."""
        if len(gets) == 1:
            row = await self._queries.get_item(connection, namespace=gets[0].namespace, key=gets[0].key)
            return [item_of(row) if row else None]
        found: list[Item | None] = [None] * len(gets)
        async for row in self._queries.get_items(connection, **identity_parameters(gets)):
            found[row["position"] - 1] = item_of(row)
        return found

    async def search(self, connection: Connection, search: Search) -> list[Item]:
        """Live items below a prefix that meet all conditions, in insertion order."""
        templates, parameters = search_queries("items", search), search_parameters(search)
        if not search.conditions:
            return [item_of(row) async for row in templates.search_items(connection, **parameters)]
        rows = templates.filter_items(connection, **parameters, **filter_parameters(search.conditions))
        return [item_of(row) async for row in rows]

    async def list_namespaces(self, connection: Connection, listing: ListNamespaces) -> list[Labels]:
        """Namespaces of live items that match, sorted and distinct."""
        literal = _literal_part(listing.prefix)
        query, own = self._listing(listing)
        rows = query(
            connection,
            **own,
            first=literal,
            beyond=beyond(literal),
            prefix=listing.prefix,
            suffix=listing.suffix,
            depth=listing.max_depth,
            limit=listing.limit,
            offset=listing.offset,
        )
        return [tuple(row["namespace"]) async for row in rows]

    def _listing(self, listing: ListNamespaces) -> tuple[Any, dict[str, Any]]:
        """The query that serves the patterns best, and its own parameters: a label that it can look for."""
        templates = queries(TEMPLATES / "namespaces.sql", MATCHES=matches(listing.prefix, listing.suffix))
        literals = [position for position, label in enumerate(listing.suffix) if label != WILDCARD]
        if literals:
            label, distance = listing.suffix[literals[-1]], len(listing.suffix) - 1 - literals[-1]
            if distance == 0:
                return templates.list_namespaces_ending, {"last": label}
            return templates.list_namespaces_nearly_ending, {"label": label, "distance": distance}
        beyond_wildcard = range(len(_literal_part(listing.prefix)), len(listing.prefix))
        position = next((place for place in beyond_wildcard if listing.prefix[place] != WILDCARD), None)
        if position is None:
            return templates.list_namespaces, {"position": None, "label": None}
        return templates.list_namespaces, {"position": position + 1, "label": listing.prefix[position]}

    async def refresh(self, connection: Connection, ids: list[int]) -> None:
        """Restarts the time to live of items; idempotent, and waits for nobody."""
        await self._queries.refresh_items(connection, ids=sorted(set(ids)))

    async def lock(self, connection: Connection, ops: Sequence[Put | Delete]) -> None:
        """Keeps apart transactions that write several items in the same namespaces, until this one ends."""
        buckets = {crc32(orjson.dumps(op.namespace)) % LOCK_BUCKETS for op in ops}
        await self._queries.lock_buckets(connection, lock_class=LOCK_CLASS, buckets=sorted(buckets))

    async def put(self, connection: Connection, puts: Sequence[Put]) -> None:
        """Writes items without vectors, none twice, in one statement. InvalidArgument for bad JSON."""
        if len(puts) > 1:
            await self._queries.put_items(connection, **put_parameters(puts))
            return
        [put] = puts
        await self._queries.put_item(
            connection,
            namespace=put.namespace,
            key=put.key,
            value=put.value,
            ttl=put.ttl_minutes,
            paths=put.paths,
        )

    async def delete(self, connection: Connection, deletes: Sequence[Delete]) -> None:
        """Deletes items; missing ones are no error."""
        await self._queries.delete_items(connection, **identity_parameters(deletes))

    async def sweep(self, connection: Connection, limit: int) -> int | None:
        """Deletes up to `limit` expired items and answers how many; None when another process is sweeping.

        The connection must be in a transaction, which holds the lock.
        """
        if not await self._queries.begin_sweep(connection):
            return None
        return int(await self._queries.sweep_items(connection, limit=limit))


def _literal_part(pattern: Labels) -> Labels:
    return pattern[: pattern.index(WILDCARD)] if WILDCARD in pattern else pattern
