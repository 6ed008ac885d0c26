"""Embedded PostgreSQL and Redis: real servers that start, keep their data and leave nothing behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from redis import asyncio as redis_client
from threadmill_cli.data_folder import hold_data_folder
from threadmill_cli.embedded import postgres, redis
from threadmill_cli.embedded.postgres import EmbeddedPostgres
from threadmill_cli.embedded.redis import EmbeddedRedis
from threadmill_cli.migrations import migrate_all
from threadmill_cli.output import Output
from threadmill_cli.preflight import check_postgres, check_redis, create_database
from threadmill_cli.readiness import postgres_ready, redis_ready
from threadmill_cli.refusal import CannotRun
from threadmill_cli.supervisor import Supervisor

OUTPUT = Output(hidden=frozenset({"postgres", "redis"}))


@asynccontextmanager
async def databases(data: Path) -> AsyncIterator[tuple[EmbeddedPostgres, EmbeddedRedis]]:
    with hold_data_folder(data) as folder:
        server = await postgres.prepare_postgres(folder, os.environ, OUTPUT)
        cache = redis.prepare_redis(folder, os.environ)
        supervisor = Supervisor(OUTPUT)
        try:
            await supervisor.add("postgres", lambda: server.spec, lambda: postgres_ready(server.dsn("postgres")))
            await supervisor.add("redis", lambda: cache.spec, lambda: redis_ready(cache.uri))
            yield server, cache
        finally:
            for name in reversed(supervisor.members):
                await supervisor.stop(name, 5)


async def test_data_survives_a_restart_below_a_closed_folder(tmp_path: Path) -> None:
    clone = tmp_path / "clone"  # as `mktemp -d` makes it: as root, Postgres runs as another user
    clone.mkdir(mode=0o700)
    async with databases(clone / ".threadmill") as (server, cache):
        assert await check_postgres(server.dsn()) >= 15  # creates the database
        await create_database(server.dsn())  # a second time: nothing happens
        await check_redis(cache.uri)
        connection = await asyncpg.connect(server.dsn())
        await connection.execute("CREATE EXTENSION vector; CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        await connection.close()
        async with redis_client.from_url(cache.uri) as client:
            await client.set("kept", "7")
    async with databases(clone / ".threadmill") as (server, cache):
        connection = await asyncpg.connect(server.dsn())
        assert await connection.fetchval("SELECT n FROM kept") == 7
        await connection.close()
        async with redis_client.from_url(cache.uri) as client:
            assert await client.get("kept") == b"7"


async def test_migrations_of_all_services_apply_once(postgres_dsn: str) -> None:
    dsn = postgres_dsn.replace("/postgres?", "/cli_migrations?")
    await create_database(dsn)
    dsns = dict.fromkeys(("threads", "store", "runs"), dsn)
    assert all(count >= 1 for count in (await migrate_all(dsns)).values())
    assert await migrate_all(dsns) == {"threads": 0, "store": 0, "runs": 0}


async def test_unreachable_servers_are_named_without_their_password() -> None:
    with pytest.raises(CannotRun, match=r"Postgres at 127\.0\.0\.1:1/x does not answer .*DATABASE_URI") as refusal:
        await check_postgres("postgresql://u:secret@127.0.0.1:1/x")
    assert "secret" not in refusal.value.message
    with pytest.raises(CannotRun, match=r"Redis at 127\.0\.0\.1:1 does not answer .*REDIS_URI"):
        await check_redis("redis://:secret@127.0.0.1:1")


PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from threadmill_cli.data_folder import hold_data_folder
from threadmill_cli.embedded import postgres, redis
from threadmill_cli.output import Output
from threadmill_cli.processes import Process

async def main():
    with hold_data_folder(Path(sys.argv[1])) as folder:
        quiet = Output(hidden=frozenset({"postgres", "redis"}))
        server = await postgres.prepare_postgres(folder, os.environ, quiet)
        pids = []
        for spec in (server.spec, redis.prepare_redis(folder, os.environ).spec):
            process = Process(spec, lambda line: None)
            await process.start()
            pids.append(process.pid)
        from threadmill_cli.readiness import postgres_ready
        await postgres_ready(server.dsn("postgres"))
        print("pids", *pids, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_servers_die_with_a_command_that_is_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(data), stdout=asyncio.subprocess.PIPE
    )
    assert command.stdout is not None
    pids: list[int] = []
    while not pids:
        line = await asyncio.wait_for(command.stdout.readline(), 60)
        assert line
        pids = [int(pid) for pid in line.split()[1:]] if line.startswith(b"pids") else []
    watched = [os.pidfd_open(pid) for pid in pids]
    command.send_signal(signal.SIGKILL)
    await command.wait()
    for descriptor in watched:
        await _readable(descriptor)  # a pidfd becomes readable when its process ends
        os.close(descriptor)
    async with databases(data):  # and the next start finds everything in order
        pass


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(descriptor, lambda: ended.done() or ended.set_result(None))
    try:
        await asyncio.wait_for(ended, 10)
    finally:
        loop.remove_reader(descriptor)
