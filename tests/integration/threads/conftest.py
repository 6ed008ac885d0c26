"""One threads service on a real Postgres, behind a unix socket, with real stubs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from threadmill_chassis.grpc_client import open_channel
from threadmill_protos.threads.v1 import checkpoints_pb2_grpc, threads_pb2_grpc
from threadmill_threads import wiring
from threadmill_threads.schema import MIGRATIONS, SCHEMA
from threadmill_threads.settings import ThreadsSettings
from threadmill_threads.sweeper import Sweeper


@dataclass(frozen=True, slots=True)
class Running:
    """Stubs of a running service, its sweeper, and a connection to look behind it."""

    threads: Any
    checkpoints: Any
    sweeper: Sweeper
    sql: "asyncpg.Connection[asyncpg.Record]"
    dsn: str


StartService = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start_service(
    make_database: Callable[[str, Path], Awaitable[str]], tmp_path: Path
) -> AsyncIterator[StartService]:
    """`await start_service(**settings)` → a service of its own, with its own database."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Running:
            dsn = await make_database(SCHEMA, MIGRATIONS)
            bind = f"unix:{tmp_path}/{uuid4().hex[:8]}.sock"
            read = ThreadsSettings(bind=bind, postgres_dsn=dsn, **settings)
            service = await stack.enter_async_context(wiring.build(read))
            channel = await stack.enter_async_context(open_channel(read, bind))
            sql = await asyncpg.connect(dsn)
            stack.push_async_callback(sql.close)
            return Running(
                threads_pb2_grpc.ThreadsStub(channel),
                checkpoints_pb2_grpc.CheckpointsStub(channel),
                service.sweeper,
                sql,
                dsn,
            )

        yield start


@pytest.fixture
async def service(start_service: StartService) -> Running:
    """A service with default settings."""
    return await start_service()


@pytest.fixture(scope="session")
def steps() -> ModuleType:
    """The functions of checkpoint_steps."""
    spec = spec_from_file_location("checkpoint_steps", Path(__file__).with_name("checkpoint_steps.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
