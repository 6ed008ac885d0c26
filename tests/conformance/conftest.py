"""A real threads service on a real Postgres, and channels to it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr
from threadmill_chassis.grpc_client import open_channel
from threadmill_protos.threads.v1 import checkpoints_pb2_grpc, threads_pb2_grpc
from threadmill_threads import wiring
from threadmill_threads.schema import MIGRATIONS, SCHEMA
from threadmill_threads.settings import ThreadsSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ThreadsService:
    """Stubs of the running service and the loop that they belong to."""

    checkpoints: "checkpoints_pb2_grpc.CheckpointsAsyncStub"
    threads: "threads_pb2_grpc.ThreadsAsyncStub"
    control_loop: asyncio.AbstractEventLoop


@pytest.fixture
async def threads_service(
    make_database: Callable[[str, Path], Awaitable[str]], tmp_path: Path
) -> AsyncIterator[ThreadsService]:
    """The service, in-process, on a unix socket; the test's own loop plays the control loop."""
    dsn = await make_database(SCHEMA, MIGRATIONS)
    settings = ThreadsSettings(bind=f"unix:{tmp_path}/threads", postgres_dsn=SecretStr(dsn), shutdown_grace_seconds=0.1)
    async with wiring.build(settings), open_channel(settings, settings.bind) as channel:
        yield ThreadsService(
            checkpoints=checkpoints_pb2_grpc.CheckpointsStub(channel),
            threads=threads_pb2_grpc.ThreadsStub(channel),
            control_loop=asyncio.get_running_loop(),
        )


class UserThread:
    """An event loop in a thread of its own, as user code has."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="user-loop")
        self._thread.start()

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Awaits `coroutine` on the user loop from the calling loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.loop))

    def stop(self) -> None:
        """Ends the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def user_thread() -> Iterator[UserThread]:
    """A user loop for the test."""
    thread = UserThread()
    yield thread
    thread.stop()
