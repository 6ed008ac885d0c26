"""Execution of a batch: its vectors, then its reads, then its writes; in one transaction if that takes several."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from threadmill_chassis.postgres import Connection, Pool, connection, transaction

from threadmill_store.domain import Delete, Get, Item, ListNamespaces, Op, Put, Result, Search
from threadmill_store.repo import ItemRepo, in_time, refusals
from threadmill_store.semantic.repo import SemanticRepo
from threadmill_store.semantic.vectors import Vectorizer, Vectors
from threadmill_store.settings import StoreSettings
from threadmill_store.validation import check_batch


class Memory:
    """Executes batches of operations.

    Reads see the state before the writes of their own batch, wherever these stand in it, as the stores of LangGraph
    have it; of several writes to one item the last wins, in the place of the first. Texts are embedded before any
    connection is taken. `vectorizer` is None where no executor is there to embed.
    """

    def __init__(
        self,
        settings: StoreSettings,
        pool: Pool,
        items: ItemRepo,
        semantic: SemanticRepo,
        vectorizer: Vectorizer | None,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._items = items
        self._semantic = semantic
        self._vectorizer = vectorizer

    async def execute(self, ops: list[Op]) -> list[Result]:
        """One result for each operation, in order. All writes happen or none. Raises DomainErrors."""
        check_batch(ops)
        writes = _last_writes(ops)
        puts = [self._with_default_ttl(op) for op in writes if isinstance(op, Put)]
        deletes = [op for op in writes if isinstance(op, Delete)]
        vectors = await self._vectors(ops, puts)
        with refusals():
            async with self._session(ops, writes) as acquired:
                with in_time(self._settings.postgres_statement_timeout_seconds):
                    results, stale = await self._read(acquired, ops, vectors)
                    await self._write(acquired, writes, puts, deletes, vectors)
                    if stale:
                        # Last in its transaction: it takes locks without waiting, but would hold them while writes
                        # wait.
                        await self._items.refresh(acquired, stale)
        return results

    async def _write(
        self,
        acquired: Connection,
        writes: Sequence[Put | Delete],
        puts: Sequence[Put],
        deletes: Sequence[Delete],
        vectors: Vectors | None,
    ) -> None:
        if len(deletes) > 1 or (deletes and puts):
            await self._items.lock(acquired, writes)
        if deletes:
            await self._items.delete(acquired, deletes)
        if puts:
            await self._put(acquired, puts, vectors)

    def _session(self, ops: Sequence[Op], writes: Sequence[Put | Delete]) -> AbstractAsyncContextManager[Connection]:
        """One statement needs no transaction around it, whatever it writes; nor do reads."""
        alone = not writes or len(ops) == 1 or all(isinstance(op, Put) for op in ops)
        return (connection if alone else transaction)(self._pool, self._settings)

    async def _vectors(self, ops: Sequence[Op], puts: Sequence[Put]) -> Vectors | None:
        if self._vectorizer is None:
            return None
        return await self._vectorizer.vectors(puts, [op for op in ops if isinstance(op, Search)])

    async def _read(
        self, acquired: Connection, ops: Sequence[Op], vectors: Vectors | None
    ) -> tuple[list[Result], list[int]]:
        """Results by position, and the ids of items whose TTL is to restart."""
        results: list[Result] = [None] * len(ops)
        gets = {position: op for position, op in enumerate(ops) if isinstance(op, Get)}
        stale: list[int] = []
        if gets:
            found = await self._items.get(acquired, list(gets.values()))
            for (position, get), item in zip(gets.items(), found, strict=True):
                results[position] = item
                stale += self._to_refresh(get, [item] if item else [])
        for position, op in enumerate(ops):
            if isinstance(op, Search):
                results[position] = items = await self._search(acquired, op, vectors)
                stale += self._to_refresh(op, items)
            elif isinstance(op, ListNamespaces):
                results[position] = await self._items.list_namespaces(acquired, op)
        return results, stale

    async def _search(self, acquired: Connection, search: Search, vectors: Vectors | None) -> list[Item]:
        if vectors is not None and (vector := vectors.queries.get(search.query)) is not None:
            return await self._semantic.search(acquired, vectors.index, search, vector)
        return await self._items.search(acquired, search)

    def _to_refresh(self, op: Get | Search, items: Sequence[Item]) -> list[int]:
        wanted = self._settings.store_ttl_refresh_on_read if op.refresh_ttl is None else op.refresh_ttl
        return [item.id for item in items if item.expires] if wanted else []

    async def _put(self, acquired: Connection, puts: Sequence[Put], vectors: Vectors | None) -> None:
        if vectors is None:
            await self._items.put(acquired, puts)
        else:
            await self._semantic.put(acquired, vectors.index, puts, vectors.puts)

    def _with_default_ttl(self, put: Put) -> Put:
        if put.keep_forever or put.ttl_minutes is not None or self._settings.store_ttl_default_minutes is None:
            return put
        return replace(put, ttl_minutes=self._settings.store_ttl_default_minutes)


def _last_writes(ops: Sequence[Op]) -> list[Put | Delete]:
    return list({(op.namespace, op.key): op for op in ops if isinstance(op, Put | Delete)}.values())
