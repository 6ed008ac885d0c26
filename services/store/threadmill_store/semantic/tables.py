"""The table of vectors and its indexes: they need pgvector and a dimension that only executors know, so the service
makes them itself when it learns of an embedder."""

import asyncpg
import structlog
from threadmill_chassis.postgres import Connection

from threadmill_store.errors import IndexMismatch
from threadmill_store.semantic.index import MAX_DIMS, Index

log = structlog.get_logger(__name__)

LOCK = 0x7E58
# Of the whole build, which goes on beside reads and writes.
BUILD_TIMEOUT_SECONDS = 24 * 3600.0
CREATE = """
CREATE TABLE IF NOT EXISTS store.item_embedding (
    item_id bigint NOT NULL REFERENCES store.item (id) ON DELETE CASCADE ON UPDATE CASCADE,
    -- Of the item when it had the text.
    version bigint NOT NULL,
    embedder_id int NOT NULL REFERENCES store.embedder (id),
    -- Tells the vectors of one item apart.
    position bigint NOT NULL,
    embedding vector NOT NULL,
    PRIMARY KEY (item_id, version, embedder_id, position)
)
"""
# Vectors of other embedders have other dimensions: each embedder has an index of its own over its part of the table.
INDEXES = {
    "item_embedding_nearest_{id}": "ON store.item_embedding USING hnsw ((embedding::{type}) {operators})"
    " WHERE embedder_id = {id}",
    # Almost empty once everything is embedded.
    "item_backlog_{id}": "ON store.item (id) WHERE embedder_id IS DISTINCT FROM {id}",
}
IS_VALID = """
SELECT pg_index.indisvalid FROM pg_index
WHERE pg_index.indexrelid = to_regclass('store.' || $1)
"""


async def create_table(connection: Connection, dims: int) -> None:
    """Makes the table unless it is there; replicas that do it at once wait in turn. IndexMismatch without pgvector."""
    if dims > MAX_DIMS:
        raise IndexMismatch(f"vectors of {dims} components cannot be indexed; at most {MAX_DIMS} can")
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except (
            asyncpg.FeatureNotSupportedError,
            asyncpg.UndefinedFileError,
            asyncpg.InsufficientPrivilegeError,
        ) as error:
            raise IndexMismatch(f"semantic search needs the Postgres extension vector: {error}") from error
        await connection.execute(CREATE)


async def build_indexes(connection: Connection, index: Index) -> None:
    """Makes the indexes of an embedder beside reads and writes; one that a crash left half built is made again.

    For one process at a time, and outside of a transaction.
    """
    for name, definition in INDEXES.items():
        await _build(connection, name.format(id=index.id), definition, index)


async def _build(connection: Connection, name: str, definition: str, index: Index) -> None:
    valid = await connection.fetchval(IS_VALID, name)
    if valid:
        return
    if valid is not None:
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS store.{name}", timeout=BUILD_TIMEOUT_SECONDS)
    text = definition.format(id=index.id, type=index.column_type, operators=index.operator_class)
    await connection.execute(f"CREATE INDEX CONCURRENTLY {name} {text}", timeout=BUILD_TIMEOUT_SECONDS)
    log.info("index_built", name=name)
