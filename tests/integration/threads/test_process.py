"""`python -m threadmill_threads` serves, and stops cleanly when told to."""

import asyncio
import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from threadmill_threads.schema import MIGRATIONS, SCHEMA


async def test_standalone(make_database, tmp_path: Path):
    bind = f"unix:{tmp_path}/threads.sock"
    environment = {
        **os.environ,
        "THREADMILL_BIND": bind,
        "THREADMILL_POSTGRES_DSN": await make_database(SCHEMA, MIGRATIONS),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "threadmill_threads", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with grpc.aio.insecure_channel(bind) as channel:
            request = health_pb2.HealthCheckRequest(service="threadmill.threads.v1.Checkpoints")
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, wait_for_ready=True, timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    finally:
        process.terminate()
        _, errors = await process.communicate()
    assert process.returncode == 0, errors
    assert b'"stopping"' in errors
