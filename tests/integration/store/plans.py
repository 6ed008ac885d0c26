"""Plans of what the store's repositories execute."""

from typing import Any


class Explaining:
    """In place of a connection: executes each statement for its plan, and finds nothing."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plan = ""

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        rows = await self._connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS OFF) {sql}", *arguments)
        self.plan = "\n".join(row[0] for row in rows)
        return []
