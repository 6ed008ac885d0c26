"""Two replicas of the runs api over the fixtures of tests/integration/runs, with hurried crons and webhooks."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from threadmill_protos.runs.v1 import crons_pb2, crons_pb2_grpc

from ..runs.conftest import redis, redis_socket, start_system

__all__ = ["redis", "redis_socket", "start_system"]

HURRIED = {
    "cron_poll_seconds": 0.05,
    "webhook_poll_seconds": 0.05,
    "webhook_backoff_seconds": 0.05,
    "webhook_allow_loopback": True,
}
# Once a year: fires only when a test makes it due.
YEARLY = "0 0 1 1 *"


@dataclass(slots=True)
class Crons:
    """A system with crons, and a look behind them."""

    system: Any
    stub: Any

    async def create(self, schedule: str = YEARLY, *, end: int | None = None, **fields: Any) -> crons_pb2.Cron:
        payload = fields.pop("payload", {})
        request = crons_pb2.CreateCronRequest(
            assistant_id=fields.pop("assistant_id", "echo"),
            schedule=schedule,
            payload_json=orjson.dumps(payload),
            metadata_json=orjson.dumps(payload.get("metadata", {})),
            end_time=None if end is None else Timestamp(seconds=end),
            **fields,
        )
        return await self.stub.CreateCron(request)

    async def get(self, cron_id: str) -> crons_pb2.Cron:
        return await self.stub.GetCron(crons_pb2.GetCronRequest(cron_id=cron_id))

    async def make_due(self, *cron_ids: str, ago: str = "1 second") -> None:
        """Moves the next tick into the past."""
        await self.system.sql.execute(
            "UPDATE runs.cron SET next_run_at = now() - $2::text::interval WHERE cron_id = ANY($1::uuid[])",
            list(cron_ids),
            ago,
        )

    async def runs_of(self, cron_id: str) -> list[Any]:
        """Rows of the runs that the cron has created, oldest first."""
        return await self.system.sql.fetch(
            "SELECT * FROM runs.run WHERE convert_from(kwargs, 'UTF8')::jsonb #>> '{config,configurable,cron_id}' = $1"
            " ORDER BY seq",
            cron_id,
        )

    async def moved_on(self) -> bool:
        """Whether nothing is due, and every tick has had its run."""
        return not await self.system.sql.fetchval(
            "SELECT EXISTS (SELECT FROM runs.cron WHERE enabled AND next_run_at <= now())"
            " OR EXISTS (SELECT FROM runs.cron_firing)"
        )


StartCrons = Callable[..., Awaitable[Crons]]


@pytest.fixture
async def start_crons(start_system: Any) -> StartCrons:
    """`await start_crons(**settings)` → two replicas; the stub talks to the second."""

    async def start(**settings: Any) -> Crons:
        system = await start_system(**{**HURRIED, **settings})
        crons = Crons(system, crons_pb2_grpc.CronsStub(await system.start_replica()))
        await system.executor("echo").attach()
        return crons

    return start


@pytest.fixture
async def crons(start_crons: StartCrons) -> Crons:
    """The usual one."""
    return await start_crons()
