"""The SQL of assistants and graphs, from rows to domain objects."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from threadmill_chassis.postgres import Pool, PostgresSettings, all_rows, connection, transaction

from threadmill_runs.assistants.domain import (
    SYSTEM_METADATA,
    Assistant,
    Graph,
    merged,
    mirrored,
    replaced,
    system_assistant_id,
)
from threadmill_runs.errors import (
    AssistantExists,
    AssistantNotFound,
    GraphNotFound,
    InvalidAssistant,
    VersionNotFound,
)
from threadmill_runs.statement import Statement, storable

# Each order is one of the indexes of runs.assistant, read forwards or backwards.
ORDERS = {
    "assistant_id": ("assistant_id",),
    "created_at": ("created_at", "assistant_id"),
    "updated_at": ("updated_at", "assistant_id"),
    "name": ("left(name, 256)", "assistant_id"),
    "graph_id": ("graph_id", "assistant_id"),
}


_UUID = re.compile(r"[0-9a-fA-F-]{32,36}")


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID, with hyphens or without; what else Python takes for one, Postgres does not."""
    if not _UUID.fullmatch(text):
        return False
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def matching(metadata_json: bytes, graph_id: str, name: str) -> Statement:
    """The conditions of a search; what is empty matches anything."""
    statement = Statement()
    statement.holds("metadata @> ?::jsonb", metadata_json.decode())
    statement.holds("graph_id = ?", graph_id)
    statement.holds("position(lower(?) IN lower(name)) > 0", name)
    return statement


class AssistantRepo:
    """Reads and writes assistants, their versions, and the announced graphs."""

    def __init__(self, pool: Pool, settings: PostgresSettings, queries: Any) -> None:
        self._pool = pool
        self._settings = settings
        self._sql = queries

    async def announce(self, executor_id: str, graphs: Sequence[Graph]) -> None:
        """Records what an executor serves and makes sure that every graph has its system assistant."""
        graph_ids = [graph.graph_id for graph in graphs]
        async with transaction(self._pool, self._settings) as db:
            await self._sql.lock_announcements(db)
            await self._sql.see_executor(db, executor_id=executor_id, graph_ids=graph_ids)
            for position, graph in enumerate(graphs):
                await self._sql.upsert_graph(
                    db,
                    graph_id=graph.graph_id,
                    executor_id=executor_id,
                    position=position,
                    name=graph.name,
                    description=graph.description,
                    error=graph.error,
                )
                await self._insert(
                    db,
                    assistant_id=system_assistant_id(graph.graph_id),
                    graph_id=graph.graph_id,
                    config_json=b"{}",
                    context_json=b"{}",
                    metadata_json=SYSTEM_METADATA,
                    name=graph.name,
                    description=graph.description,
                )
                await self._sql.refresh_system_assistant(
                    db,
                    assistant_id=system_assistant_id(graph.graph_id),
                    metadata=SYSTEM_METADATA.decode(),
                    name=graph.name,
                    description=graph.description,
                )
            await self._sql.delete_stale_graphs(db)

    async def see(self, executor_id: str, graph_ids: Sequence[str]) -> None:
        """The executor is alive, and serves these graphs."""
        async with connection(self._pool, self._settings) as db:
            await self._sql.see_executor(db, executor_id=executor_id, graph_ids=list(graph_ids))

    async def forget(self, executor_id: str, seconds: float) -> None:
        """The executor has detached; so has, presumably, every one that was not seen for so many seconds."""
        async with connection(self._pool, self._settings) as db:
            await self._sql.forget_executors(db, executor_id=executor_id, seconds=seconds)

    async def graphs(self) -> list[Graph]:
        """The announced graphs in declaration order."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.list_graphs(db))
        return [Graph(row["graph_id"], row["name"], row["description"], row["error"]) for row in rows]

    async def require_graph(self, graph_id: str) -> None:
        """Raises GraphNotFound unless some executor has announced the graph."""
        known = sorted(graph.graph_id for graph in await self.graphs())
        if graph_id not in known:
            raise GraphNotFound(f"Graph '{graph_id}' not found. Expected one of: {known}")

    async def resolve(self, name: str) -> Assistant:
        """The assistant with this id, or the system assistant of the graph with this name, for a run of its graph.

        Raises InvalidAssistant, AssistantNotFound, and GraphNotFound for an assistant whose graph is no longer there.
        """
        by_id = is_uuid(name)
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.find_assistant(db, assistant_id=name if by_id else system_assistant_id(name))
        if row is not None and not row["is_served"]:
            await self.require_graph(row["graph_id"])
        if row is None and by_id:
            raise AssistantNotFound(f"Assistant {name} not found")
        if row is None:
            known = [graph.graph_id for graph in await self.graphs()]
            if name in known:  # its system assistant was deleted
                raise AssistantNotFound(f"Assistant {name} not found")
            raise InvalidAssistant(
                f"Invalid assistant: '{name}'. Must be either:\n- A valid assistant UUID, or\n"
                f"- One of the registered graphs: {', '.join(known)}"
            )
        return Assistant.from_record(row)

    async def get(self, assistant_id: str) -> Assistant:
        """One assistant; raises AssistantNotFound."""
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.get_assistant(db, assistant_id=assistant_id)
        if row is None:
            raise AssistantNotFound(f"Assistant {assistant_id} not found")
        return Assistant.from_record(row)

    async def create(
        self,
        assistant_id: str,
        graph_id: str,
        config_json: bytes,
        context_json: bytes,
        metadata_json: bytes,
        name: str,
        description: str | None,
        *,
        do_nothing_if_exists: bool,
    ) -> Assistant:
        """Creates version 1; raises GraphNotFound, AssistantExists."""
        await self.require_graph(graph_id)
        config_json, context_json = mirrored(config_json, context_json)
        async with connection(self._pool, self._settings) as db:
            row = await self._insert(
                db,
                assistant_id=assistant_id,
                graph_id=graph_id,
                config_json=config_json,
                context_json=context_json,
                metadata_json=metadata_json or b"{}",
                name=name or "Untitled",
                description=description,
            )
        if row is not None:
            return Assistant.from_record(row)
        if do_nothing_if_exists:
            return await self.get(assistant_id)
        raise AssistantExists(f"Assistant {assistant_id} already exists")

    async def _insert(
        self,
        db: Any,
        assistant_id: str,
        graph_id: str,
        config_json: bytes,
        context_json: bytes,
        metadata_json: bytes,
        name: str,
        description: str | None,
    ) -> Any:
        with storable():
            return await self._sql.insert_assistant(
                db,
                assistant_id=assistant_id,
                graph_id=graph_id,
                config=config_json,
                context=context_json,
                metadata=metadata_json.decode(),
                name=name,
                description=description,
            )

    async def update(
        self,
        assistant_id: str,
        graph_id: str | None,
        config_json: bytes,
        context_json: bytes,
        metadata_json: bytes,
        name: str | None,
        description: str | None,
        *,
        clear_description: bool = False,
    ) -> Assistant:
        """Adds a version in which what is given replaces (metadata: is merged), and makes it current."""
        if graph_id is not None:
            await self.require_graph(graph_id)
        async with transaction(self._pool, self._settings) as db:
            row = await self._sql.lock_assistant(db, assistant_id=assistant_id)
            if row is None:
                raise AssistantNotFound(f"Assistant {assistant_id} not found")
            old = Assistant.from_record(row)
            config_json, context_json = replaced(old, config_json, context_json)
            with storable():
                saved = await self._sql.save_assistant(
                    db,
                    assistant_id=assistant_id,
                    graph_id=old.graph_id if graph_id is None else graph_id,
                    config=config_json,
                    context=context_json,
                    metadata=merged(old.metadata_json, metadata_json).decode(),
                    name=old.name if name is None else name,
                    description=None if clear_description else old.description if description is None else description,
                )
        return Assistant.from_record(saved)

    async def delete(self, assistant_id: str) -> None:
        """Deletes an assistant and its versions; raises AssistantNotFound."""
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.delete_assistant(db, assistant_id=assistant_id)
        if row is None:
            raise AssistantNotFound(f"Assistant with ID {assistant_id} not found")

    async def search(
        self, metadata_json: bytes, graph_id: str, name: str, sort_by: str, limit: int, offset: int, *, ascending: bool
    ) -> tuple[list[Assistant], bool]:
        """A page of matching assistants, and whether more follow; raises GraphNotFound for an unknown graph."""
        if graph_id:
            await self.require_graph(graph_id)
        statement = matching(metadata_json, graph_id, name)
        sql = statement.page("runs.assistant", ORDERS[sort_by], limit + 1, offset, ascending=ascending)
        async with connection(self._pool, self._settings) as db:
            with storable():
                rows = await db.fetch(sql, *statement.parameters)
        return [Assistant.from_record(row) for row in rows[:limit]], len(rows) > limit

    async def count(self, metadata_json: bytes, graph_id: str, name: str) -> int:
        """Number of matching assistants; raises GraphNotFound for an unknown graph."""
        if graph_id:
            await self.require_graph(graph_id)
        statement = matching(metadata_json, graph_id, name)
        async with connection(self._pool, self._settings) as db:
            with storable():
                count: int = await db.fetchval(statement.count("runs.assistant"), *statement.parameters)
        return count

    async def versions(self, assistant_id: str, metadata_json: bytes, limit: int, offset: int) -> list[Assistant]:
        """A page of versions, newest first; raises AssistantNotFound."""
        await self.get(assistant_id)
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(
                self._sql.list_versions(
                    db, assistant_id=assistant_id, metadata=metadata_json.decode() or None, limit=limit, offset=offset
                )
            )
        return [Assistant.from_record(row) for row in rows]

    async def restore(self, assistant_id: str, version: int) -> Assistant:
        """Makes an old version current; raises AssistantNotFound, VersionNotFound."""
        await self.get(assistant_id)
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.restore_version(db, assistant_id=assistant_id, version=version)
        if row is None:
            raise VersionNotFound(f"Version {version or None} not found for assistant {assistant_id}")
        return Assistant.from_record(row)
