"""How the service is put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from threadmill_chassis.grpc_server import Registration, serving
from threadmill_chassis.postgres import open_pool
from threadmill_protos.threads.v1 import checkpoints_pb2, checkpoints_pb2_grpc, threads_pb2, threads_pb2_grpc

from threadmill_threads.checkpoints_api import CheckpointsApi
from threadmill_threads.checkpoints_repo import CheckpointsRepo
from threadmill_threads.database import Database
from threadmill_threads.domain import Ttl, TtlStrategy
from threadmill_threads.pruning import Pruning
from threadmill_threads.settings import ThreadsSettings
from threadmill_threads.state_updates import StateUpdates
from threadmill_threads.sweeper import Sweeper
from threadmill_threads.threads_api import ThreadsApi
from threadmill_threads.threads_repo import ThreadsRepo


@dataclass(frozen=True, slots=True)
class Service:
    """A service that answers; its duties are the caller's to run."""

    sweeper: Sweeper


@asynccontextmanager
async def build(settings: ThreadsSettings) -> AsyncIterator[Service]:
    """Connects to Postgres and serves on `settings.bind` for the block. Raises Unavailable, AddressInUse."""
    async with open_pool(settings, "threads") as pool:
        database = Database(pool, settings)
        pruning = Pruning(database)
        threads = ThreadsApi(ThreadsRepo(database, pruning, _default_ttl(settings)))
        repo = CheckpointsRepo(database, pruning, _default_ttl(settings), settings.list_batch)
        checkpoints = CheckpointsApi(repo, StateUpdates(database))
        sweeper = Sweeper(
            database,
            pruning,
            settings.ttl_sweep_interval_minutes * 60,
            settings.ttl_sweep_batch,
            settings.ttl_sweep_limit,
        )
        async with serving(settings, settings.bind, _registrations(threads, checkpoints)):
            yield Service(sweeper)


def _default_ttl(settings: ThreadsSettings) -> Ttl | None:
    if settings.ttl_default_minutes is None:
        return None
    return Ttl(TtlStrategy(settings.ttl_default_strategy), settings.ttl_default_minutes)


def _registrations(threads: ThreadsApi, checkpoints: CheckpointsApi) -> list[Registration]:
    return [
        Registration(
            threads_pb2.DESCRIPTOR.services_by_name["Threads"].full_name,
            lambda server: threads_pb2_grpc.add_ThreadsServicer_to_server(threads, server),
        ),
        Registration(
            checkpoints_pb2.DESCRIPTOR.services_by_name["Checkpoints"].full_name,
            lambda server: checkpoints_pb2_grpc.add_CheckpointsServicer_to_server(checkpoints, server),
        ),
    ]
