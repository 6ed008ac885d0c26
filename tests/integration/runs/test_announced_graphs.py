"""Graphs come with the executors that serve them, stay through restarts, and go when nobody serves them."""

import asyncio
import uuid

import grpc
import pytest
from eventually import until
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import assistants_pb2 as pb
from threadmill_protos.runs.v1 import runs_pb2

NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


async def graphs(system):
    return [each.graph_id for each in (await system.assistants.ListGraphs(pb.ListGraphsRequest())).graphs]


async def system_assistant(system, graph_id):
    return await system.assistants.GetAssistant(pb.GetAssistantRequest(assistant_id=graph_id, allow_graph_id=True))


async def detached(system, executor):
    await executor.detach()

    async def forgotten():
        return not await system.sql.fetchval(
            "SELECT count(*) FROM runs.executor WHERE executor_id = $1", executor.executor_id
        )

    await until(forgotten)


async def test_every_graph_has_a_system_assistant(system):
    executor = system.executor("zeta", "alpha")
    executor.graphs[0].description = "the last letter"
    await executor.attach()
    assert await graphs(system) == ["zeta", "alpha"], "in the order of declaration"
    found = await system_assistant(system, "zeta")
    assert found.assistant_id == str(uuid.uuid5(NAMESPACE, "zeta"))
    assert (found.name, found.description, found.metadata_json) == (
        "zeta",
        "the last letter",
        b'{"created_by": "system"}',
    )


async def test_a_deleted_system_assistant_is_made_again_when_its_graph_is_announced(system):
    await system.executor("echo").attach()
    found = await system_assistant(system, "echo")
    await system.assistants.DeleteAssistant(pb.DeleteAssistantRequest(assistant_id=found.assistant_id))
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await system_assistant(system, "echo")
    assert reason_of(missing.value) == "ASSISTANT_NOT_FOUND"
    await system.executor("echo").attach()
    assert (await system_assistant(system, "echo")).assistant_id == found.assistant_id


async def test_a_changed_system_assistant_stays_changed(system):
    await system.executor("echo").attach()
    found = await system_assistant(system, "echo")
    await system.assistants.UpdateAssistant(pb.UpdateAssistantRequest(assistant_id=found.assistant_id, name="renamed"))
    await system.executor("echo").attach()
    assert (await system_assistant(system, "echo")).name == "renamed"


async def test_a_system_assistant_says_what_the_application_says_now(system):
    executor = system.executor("echo")
    executor.graphs[0].description = "before"
    await executor.attach()
    before = await system_assistant(system, "echo")
    again = system.executor("echo")
    again.graphs[0].description = "after"
    await again.attach()
    after = await system_assistant(system, "echo")
    assert (after.assistant_id, after.version, after.description) == (before.assistant_id, 1, "after")
    listed = await system.assistants.ListAssistantVersions(
        pb.ListAssistantVersionsRequest(assistant_id=after.assistant_id, limit=10)
    )
    assert [each.description for each in listed.versions] == ["after"]


async def served_before(system):
    """A graph that no executor serves any more, the id of its system assistant, and a run that waits for it."""
    old = await system.executor("old").attach()
    await detached(system, old)
    run = await system.create(await system.thread(), assistant_id="old")
    found = await system_assistant(system, "old")
    await system.executor("new").attach()
    return found.assistant_id, run


async def test_runs_of_a_graph_that_is_gone_are_refused(system):
    assistant_id, _ = await served_before(system)
    for name in (assistant_id, "old"):
        thread_id = await system.thread()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await system.create(thread_id, assistant_id=name)
        assert reason_of(refused.value) == "GRAPH_NOT_FOUND"
        assert refused.value.details() == "Graph 'old' not found. Expected one of: ['new']"
        assert await system.thread_state(thread_id) == "idle"


async def test_a_replica_that_knows_the_assistant_notices_that_its_graph_is_gone(system):
    executor = await system.executor("old").attach()
    await system.create(assistant_id="old")
    await executor.finish(await executor.assignment())
    await detached(system, executor)
    await system.executor("new").attach()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await system.create(assistant_id="old")
    assert reason_of(refused.value) == "GRAPH_NOT_FOUND"


async def test_a_waiting_run_of_a_graph_that_is_gone_ends_in_an_error(start_system):
    system = await start_system(reconcile_seconds=0.1, unserved_run_seconds=0.5)
    _, run = await served_before(system)
    waiting = system.wait(run.run_id)
    async with asyncio.timeout(10):
        await waiting.read()
        outcome = (await waiting.read()).outcome
    assert outcome.state == runs_pb2.RUN_STATE_ERROR
    assert b"no executor serves graph 'old' any more" in outcome.body_json
    assert await system.run_state(run.run_id) == "error"
    assert await system.thread_state(run.thread_id) == "error"


async def test_a_waiting_run_of_a_graph_that_comes_back_is_carried_out(start_system):
    system = await start_system(reconcile_seconds=0.1, unserved_run_seconds=3600)
    _, run = await served_before(system)
    back = await system.executor("old").attach()
    assert (await back.assignment()).fence.run_id == run.run_id


async def test_executors_with_different_graphs_coexist(system):
    await system.executor("one").attach()
    await system.executor("two").attach()
    assert set(await graphs(system)) == {"one", "two"}


async def test_graphs_outlive_a_restart_and_go_when_something_else_is_served(system):
    executor = await system.executor("old").attach()
    await detached(system, executor)
    assert await graphs(system) == ["old"], "a restart makes no graph unknown"
    await system.executor("new").attach()
    assert await graphs(system) == ["new"]


async def test_a_graph_that_another_executor_still_serves_stays(system):
    await system.executor("shared").attach()
    second = await system.executor("shared", "own").attach()
    await detached(system, second)
    await system.executor("other").attach()
    assert set(await graphs(system)) == {"shared", "other"}


async def test_an_executor_that_vanished_without_a_word_is_forgotten(hasty):
    ghost = await hasty.executor("ghost").attach()
    await hasty.sql.execute("UPDATE runs.executor SET seen_at = now() - interval '1 day'")
    passing = await hasty.executor("passing").attach()
    await detached(hasty, passing)
    await hasty.executor("living").attach()
    assert await graphs(hasty) == ["living"]
    await ghost.heartbeat()
