"""`python -m threadmill_store.reindex`: has every item embedded again, in the background, by the running service.

For an embedder that answers differently though its name in langgraph.json is the same: a function that was rewritten, a
model that its provider has replaced. Search goes on with the old vectors until an item has its new ones.
"""

import asyncio

from threadmill_chassis import logs
from threadmill_chassis.postgres import connection, open_pool

from threadmill_store.semantic.repo import SemanticRepo
from threadmill_store.settings import StoreSettings

BATCH_COUNT = 1000


async def reindex(settings: StoreSettings) -> None:
    """Marks all items; idempotent, and may be interrupted and begun again."""
    repo = SemanticRepo()
    async with open_pool(settings, "store-reindex") as pool:
        after: int | None = 0
        while after is not None:
            async with connection(pool, settings) as acquired:
                after = await repo.forget(acquired, after, BATCH_COUNT)


def main() -> None:
    """Reads the settings of the store process from the environment."""
    settings = StoreSettings()
    logs.configure(settings, "store-reindex")
    asyncio.run(reindex(settings))


if __name__ == "__main__":
    main()
