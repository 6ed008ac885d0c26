"""Deletes expired items in the background; reads do not see them anyway."""

import asyncio

import structlog
from threadmill_chassis.errors import Unavailable
from threadmill_chassis.postgres import Pool, transaction

from threadmill_store.repo import ItemRepo
from threadmill_store.settings import StoreSettings

log = structlog.get_logger(__name__)


class Sweeper:
    """Sweeps in small batches, so that no lock is held for long; one process of the cluster at a time."""

    def __init__(self, settings: StoreSettings, pool: Pool, items: ItemRepo) -> None:
        self._settings = settings
        self._pool = pool
        self._items = items

    async def run(self) -> None:
        """Sweeps at every interval until cancelled."""
        while True:
            await asyncio.sleep(self._settings.store_ttl_sweep_interval_minutes * 60)
            try:
                deleted = await self.sweep()
            except Unavailable as error:
                log.warning("sweep_skipped", reason=error.message)
                continue
            if deleted:
                log.info("swept", items=deleted)

    async def sweep(self) -> int:
        """Deletes all items that have expired, unless another process is at it; answers how many."""
        total, batch = 0, self._settings.store_ttl_sweep_batch_count
        while True:
            async with transaction(self._pool, self._settings) as acquired:
                deleted = await self._items.sweep(acquired, batch)
            total += deleted or 0
            if deleted is None or deleted < batch:
                return total
