"""Every gRPC service says that it serves, and lists what it serves."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from threadmill_cli.stack import Stack

SERVICES = {
    "threads": {"threadmill.threads.v1.Threads", "threadmill.threads.v1.Checkpoints"},
    "store": {"threadmill.store.v1.Store"},
    "runs": {
        "threadmill.runs.v1.Runs",
        "threadmill.runs.v1.Assistants",
        "threadmill.runs.v1.Crons",
        "threadmill.runs.v1.Executors",
    },
    "executor": {"threadmill.runs.v1.Graphs", "threadmill.store.v1.Embeddings"},
}


@pytest.mark.parametrize("process", SERVICES)
async def test_health_answers_for_the_process_and_each_service(stack: Stack, process: str) -> None:
    async with grpc.aio.insecure_channel(stack.plan.address(process)) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", *SERVICES[process]):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("process", SERVICES)
async def test_reflection_lists_the_services(stack: Stack, process: str) -> None:
    async with grpc.aio.insecure_channel(stack.plan.address(process)) as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(timeout=10)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await call.read()
        await call.done_writing()
        listed = {service.name for service in answer.list_services_response.service}
    assert listed == SERVICES[process] | {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


@pytest.mark.parametrize("process", SERVICES)
async def test_reflection_describes_each_service(stack: Stack, process: str) -> None:
    async with grpc.aio.insecure_channel(stack.plan.address(process)) as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(timeout=10)
        for service in SERVICES[process]:
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=service))
            assert (await call.read()).file_descriptor_response.file_descriptor_proto
        await call.done_writing()
