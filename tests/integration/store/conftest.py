"""A store service on a fresh database, served over a unix socket, and clients of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from threadmill_chassis.grpc_client import open_channel
from threadmill_protos.store.v1 import store_pb2, store_pb2_grpc
from threadmill_store.schema import MIGRATIONS, SCHEMA
from threadmill_store.settings import StoreSettings
from threadmill_store.wiring import Application, build

from .embedding_application import Application as EmbeddingApplication

DatabaseFactory = Callable[[str, Path], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Service:
    """A running store: its parts and a stub."""

    settings: StoreSettings
    application: Application
    stub: "store_pb2_grpc.StoreAsyncStub"

    async def batch(self, *ops: store_pb2.Op) -> list[store_pb2.Result]:
        response = await self.stub.Batch(store_pb2.BatchRequest(ops=ops))
        return list(response.results)

    async def put(self, namespace: list[str], key: str, value: Any, **fields: Any) -> None:
        await self.batch(put(namespace, key, value, **fields))

    async def get(self, namespace: list[str], key: str, **fields: Any) -> Any:
        """The value, or None."""
        [result] = await self.batch(get(namespace, key, **fields))
        return orjson.loads(result.item.value_json) if result.HasField("item") else None

    async def found(self, prefix: list[str] | None = None, **fields: Any) -> list[str]:
        """Keys that a search finds, in order."""
        [result] = await self.batch(search(prefix or [], **fields))
        assert result.HasField("items")
        return [item.key for item in result.items.items]

    async def listed(self, **fields: Any) -> list[list[str]]:
        [result] = await self.batch(store_pb2.Op(list_namespaces=store_pb2.ListNamespacesOp(**fields)))
        assert result.HasField("namespaces")
        return [list(namespace.labels) for namespace in result.namespaces.namespaces]

    async def execute(self, sql: str, *arguments: Any) -> None:
        await self.application.pool.execute(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        return await self.application.pool.fetchval(sql, *arguments)

    async def expire(self, key: str) -> None:
        """Moves the end of an item's life into the past."""
        await self.execute("UPDATE store.item SET expires_at = now() - interval '1 second' WHERE key = $1", key)


def put(namespace: list[str], key: str, value: Any, **fields: Any) -> store_pb2.Op:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    return store_pb2.Op(put=store_pb2.PutOp(namespace=namespace, key=key, value_json=raw, **fields))


def get(namespace: list[str], key: str, **fields: Any) -> store_pb2.Op:
    return store_pb2.Op(get=store_pb2.GetOp(namespace=namespace, key=key, **fields))


def search(prefix: list[str], **fields: Any) -> store_pb2.Op:
    return store_pb2.Op(search=store_pb2.SearchOp(namespace_prefix=prefix, **fields))


ServiceFactory = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def start(make_database: DatabaseFactory, tmp_path: Path) -> ServiceFactory:
    """`async with start(store_ttl_default_minutes=…) as service`."""

    @asynccontextmanager
    async def starting(**settings: Any) -> AsyncIterator[Service]:
        chosen = StoreSettings(
            **{
                "postgres_dsn": SecretStr(await make_database(SCHEMA, MIGRATIONS)),
                "bind": f"unix:{tmp_path}/store.sock",
                "shutdown_grace_seconds": 0,
                **settings,
            }
        )
        async with build(chosen) as application, open_channel(chosen, chosen.bind) as channel:
            yield Service(chosen, application, store_pb2_grpc.StoreStub(channel))

    return starting


@pytest.fixture
async def service(start: ServiceFactory) -> AsyncIterator[Service]:
    """A store with default settings."""
    async with start() as running:
        yield running


@pytest.fixture
def application(tmp_path: Path) -> EmbeddingApplication:
    """An application that indexes the key `text` of its items; its executor is not started."""
    return EmbeddingApplication(tmp_path / "app")


@pytest.fixture
async def indexed(start: ServiceFactory, application: EmbeddingApplication) -> AsyncIterator[Service]:
    """A store that knows the application's embedder, whose executor runs."""
    async with application.executor(), start(executor_address=application.address) as running:
        await learned(running)
        yield running


async def learned(service: Service) -> None:
    """Lets the store ask now, rather than when its duty comes to it."""
    assert service.application.semantic is not None
    await service.application.semantic.watch.ask()
