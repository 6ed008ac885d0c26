"""How to tell that each kind of process is ready to serve. All wait without a time limit; the caller sets one."""

import asyncio

import asyncpg
import grpc
import httpx
from grpc_health.v1 import health_pb2
from redis import asyncio as redis
from redis.exceptions import RedisError

INTERVAL_SECONDS = 0.05
CALL_SECONDS = 2.0


async def postgres_ready(dsn: str) -> None:
    """Waits until a connection opens; any refusal other than "still starting" is raised."""
    while True:
        try:
            connection = await asyncpg.connect(dsn, timeout=CALL_SECONDS)
        except (OSError, asyncpg.CannotConnectNowError):
            await asyncio.sleep(INTERVAL_SECONDS)
        else:
            await connection.close()
            return


async def redis_ready(uri: str) -> None:
    """Waits until Redis answers and has read its append-only file."""
    client = redis.from_url(uri)
    try:
        while True:
            try:
                await client.ping()
                return
            except (OSError, RedisError):
                await asyncio.sleep(INTERVAL_SECONDS)
    finally:
        await client.aclose()


async def grpc_ready(address: str) -> None:
    """Waits until the server at `address` reports SERVING over the standard health protocol."""
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        while True:
            try:
                answer = await check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(INTERVAL_SECONDS)
            else:
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
                await asyncio.sleep(INTERVAL_SECONDS)


async def http_ready(url: str) -> None:
    """Waits until `url` answers 200."""
    async with httpx.AsyncClient(trust_env=False, timeout=CALL_SECONDS) as client:
        while True:
            try:
                if (await client.get(url)).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(INTERVAL_SECONDS)
