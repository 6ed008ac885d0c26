"""Execution of a batch: its reads, then its writes, in one transaction when it has any write."""

from collections.abc import Sequence
from dataclasses import replace

from threadmill_chassis.postgres import Connection, Pool, connection, transaction

from threadmill_store.domain import Delete, Get, Item, ListNamespaces, Op, Put, Result, Search
from threadmill_store.repo import ItemRepo, refusals
from threadmill_store.settings import StoreSettings
from threadmill_store.validation import check_batch, check_vectors


class Memory:
    """Executes batches of operations.

    Reads see the state before the writes of their own batch, wherever these stand in it, as the stores of LangGraph
    have it; of several writes to one item the last wins, in the place of the first.
    """

    def __init__(self, settings: StoreSettings, pool: Pool, items: ItemRepo) -> None:
        self._settings = settings
        self._pool = pool
        self._items = items

    async def execute(self, ops: list[Op]) -> list[Result]:
        """One result for each operation, in order. All writes happen or none. Raises DomainErrors."""
        check_batch(ops)
        if self._settings.store_index_dims is not None:
            check_vectors(ops, self._settings.store_index_dims)
        writes = _last_writes(ops)
        if not writes:
            with refusals():
                async with connection(self._pool, self._settings) as acquired:
                    results, stale = await self._read(acquired, ops)
                    await self._refresh(acquired, stale)
            return results
        with refusals():
            async with transaction(self._pool, self._settings) as acquired:
                results, stale = await self._read(acquired, ops)
                await self._write(acquired, writes)
                await self._refresh(acquired, stale)
        return results

    async def _read(self, acquired: Connection, ops: Sequence[Op]) -> tuple[list[Result], list[int]]:
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
                results[position] = items = await self._search(acquired, op)
                stale += self._to_refresh(op, items)
            elif isinstance(op, ListNamespaces):
                results[position] = await self._items.list_namespaces(acquired, op)
        return results, stale

    async def _refresh(self, acquired: Connection, ids: list[int]) -> None:
        # Last in its transaction: it takes locks without waiting, but would hold them while the writes wait.
        if ids:
            await self._items.refresh(acquired, ids)

    async def _search(self, acquired: Connection, search: Search) -> list[Item]:
        if search.vector and self._settings.store_index_dims is not None:
            return await self._items.search_nearest(acquired, search)
        return await self._items.search(acquired, search)

    def _to_refresh(self, op: Get | Search, items: Sequence[Item]) -> list[int]:
        wanted = self._settings.ttl_refresh_on_read if op.refresh_ttl is None else op.refresh_ttl
        return [item.id for item in items if item.expires] if wanted else []

    async def _write(self, acquired: Connection, writes: Sequence[Put | Delete]) -> None:
        if len(writes) > 1:
            await self._items.lock(acquired, writes)
        deletes = [op for op in writes if isinstance(op, Delete)]
        if deletes:
            await self._items.delete(acquired, deletes)
        puts = [self._with_default_ttl(op) for op in writes if isinstance(op, Put)]
        if puts:
            ids = await self._items.put(acquired, puts)
            if self._settings.store_index_dims is not None:
                await self._items.replace_vectors(acquired, ids, puts)

    def _with_default_ttl(self, put: Put) -> Put:
        if put.ttl_minutes is not None or self._settings.ttl_default_minutes is None:
            return put
        return replace(put, ttl_minutes=self._settings.ttl_default_minutes)


def _last_writes(ops: Sequence[Op]) -> list[Put | Delete]:
    return list({(op.namespace, op.key): op for op in ops if isinstance(op, Put | Delete)}.values())
