"""The table of vectors: it needs pgvector and a dimension that only the settings know, so it is made at start."""

import asyncpg
from threadmill_chassis.postgres import Connection

from threadmill_store.errors import IndexMismatch

LOCK = 0x7E58
CREATE = """
CREATE TABLE IF NOT EXISTS store.item_vector (
    item_id bigint NOT NULL REFERENCES store.item (id) ON DELETE CASCADE ON UPDATE CASCADE,
    path text NOT NULL,
    embedding vector({dims}) NOT NULL,
    PRIMARY KEY (item_id, path)
)
"""
DIMENSION = (
    "SELECT atttypmod FROM pg_attribute WHERE attrelid = 'store.item_vector'::regclass AND attname = 'embedding'"
)


async def install(connection: Connection, dims: int) -> None:
    """Makes the table for vectors of `dims` components unless it is there; replicas that start at once wait in turn.

    Raises IndexMismatch when pgvector is missing or the table holds vectors of another dimension.
    """
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
        await connection.execute(CREATE.format(dims=dims))
        found = await connection.fetchval(DIMENSION)
    if found != dims:
        raise IndexMismatch(f"the store holds vectors of {found} components, not the configured {dims}")
