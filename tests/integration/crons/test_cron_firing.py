"""Ticks become runs: once each, whatever replicas, crashes and outages there are."""

from typing import Any
from uuid import UUID

import grpc
import orjson
import pytest
from eventually import until
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import assistants_pb2, crons_pb2, runs_pb2
from threadmill_protos.threads.v1 import threads_pb2


async def test_each_tick_makes_one_run_though_several_replicas_see_it(crons: Any) -> None:
    await crons.system.start_replica()
    made = [(await crons.create()).cron_id for _ in range(40)]
    for _ in range(3):
        await crons.make_due(*made)
        await until(crons.moved_on)
    counts = {cron_id: len(await crons.runs_of(cron_id)) for cron_id in made}
    assert counts == dict.fromkeys(made, 3)


async def test_ticks_missed_while_nothing_ran_become_one_run(crons: Any) -> None:
    cron = await crons.create("*/5 * * * *")
    await crons.make_due(cron.cron_id, ago="3 days")
    await until(crons.moved_on)
    assert len(await crons.runs_of(cron.cron_id)) == 1
    assert (await crons.get(cron.cron_id)).next_run_time.ToSeconds() % 300 == 0


async def test_tick_comes_on_time_without_the_slow_poll(start_crons: Any) -> None:
    crons = await start_crons(cron_poll_seconds=60)
    cron = await crons.create("* * * * * *")
    runs = await until(lambda: crons.runs_of(cron.cron_id), seconds=5)
    assert runs[0]["created_at"].microsecond < 500_000


async def test_tick_of_a_replica_that_died_gets_its_run_from_another(crons: Any) -> None:
    cron = await crons.create()
    run_id = new_id()
    await crons.system.sql.execute(
        "INSERT INTO runs.cron_firing VALUES ($1, $2, now() - interval '1 minute', now())", cron.cron_id, run_id
    )
    await until(crons.moved_on)
    assert [row["run_id"] for row in await crons.runs_of(cron.cron_id)] == [UUID(run_id)]


async def test_run_and_end_of_its_tick_are_one_statement(crons: Any) -> None:
    """A replica that dies right after the insert leaves nothing that another could repeat."""
    cron = await crons.create()
    run_id = new_id()
    await crons.system.sql.execute(
        "INSERT INTO runs.cron_firing VALUES ($1, $2, now(), now() + interval '1 day')", cron.cron_id, run_id
    )
    await crons.system.runs.CreateRun(crons.system.request(run_id=run_id))
    assert await crons.moved_on()


async def test_ticks_during_an_outage_merge_with_the_one_that_waits(crons: Any) -> None:
    cron = await crons.create()
    run_id = new_id()
    await crons.system.sql.execute(
        "INSERT INTO runs.cron_firing VALUES ($1, $2, now(), now() + interval '1 day')", cron.cron_id, run_id
    )
    await crons.make_due(cron.cron_id)
    due = "SELECT EXISTS (SELECT FROM runs.cron WHERE next_run_at > now())"
    await until(lambda: crons.system.sql.fetchval(due))
    await crons.system.sql.execute("UPDATE runs.cron_firing SET leased_until = now()")
    await until(crons.moved_on)
    assert [row["run_id"] for row in await crons.runs_of(cron.cron_id)] == [UUID(run_id)]


async def test_stateless_cron_keeps_run_and_thread_with_its_metadata(crons: Any) -> None:
    cron = await crons.create(
        payload={"input": {"n": 1}, "metadata": {"m": 1}}, on_run_completed=crons_pb2.ON_RUN_COMPLETED_KEEP
    )
    await crons.make_due(cron.cron_id)
    await until(crons.moved_on)
    [row] = await crons.runs_of(cron.cron_id)
    assert orjson.loads(row["metadata"])["m"] == 1
    kwargs = orjson.loads(row["kwargs"])
    assert kwargs["input"] == {"n": 1}
    assert kwargs["config"]["configurable"]["cron_id"] == cron.cron_id
    assert kwargs["config"]["configurable"]["langgraph_request_id"] is None
    assert (row["stateless"], row["keep_thread"], kwargs["temporary"]) == (True, True, False)
    thread = await crons.system.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=str(row["thread_id"])))
    assert orjson.loads(thread.metadata_json)["m"] == 1


async def test_stateless_cron_cleans_up_by_default(crons: Any) -> None:
    cron = await crons.create()
    await crons.make_due(cron.cron_id)
    await until(crons.moved_on)
    executor = crons.system.attached[0]
    assignment = await executor.assignment()
    await executor.finish(assignment)
    assert await crons.runs_of(cron.cron_id) == []
    with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
        await crons.system.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=assignment.thread_id))


async def test_thread_cron_enqueues_on_its_thread(crons: Any) -> None:
    thread_id = await crons.system.thread()
    cron = await crons.create(thread_id=thread_id)
    assert cron.on_run_completed == crons_pb2.ON_RUN_COMPLETED_UNSPECIFIED
    for _ in range(2):
        await crons.make_due(cron.cron_id)
        await until(crons.moved_on)
    rows = await crons.runs_of(cron.cron_id)
    assert {str(row["thread_id"]) for row in rows} == {thread_id}
    assert {row["multitask_strategy"] for row in rows} == {"enqueue"}
    assert len(rows) == 2


async def test_tick_is_skipped_when_the_thread_is_busy_and_the_strategy_reject(crons: Any) -> None:
    thread_id = await crons.system.thread()
    await crons.system.create(thread_id)
    cron = await crons.create(thread_id=thread_id, payload={"multitask_strategy": "reject"})
    await crons.make_due(cron.cron_id)
    await until(crons.moved_on)
    assert await crons.runs_of(cron.cron_id) == []
    assert (await crons.get(cron.cron_id)).enabled


async def test_end_time_ends_it(crons: Any) -> None:
    cron = await crons.create("* * * * * *", end=1)
    assert not cron.HasField("next_run_time")
    other = await crons.create()
    await crons.make_due(other.cron_id)
    end = "UPDATE runs.cron SET end_time = next_run_at WHERE cron_id = $1"
    await crons.system.sql.execute(end, other.cron_id)
    await until(crons.moved_on)
    assert await crons.runs_of(cron.cron_id) == []
    assert len(await crons.runs_of(other.cron_id)) == 1
    assert not (await crons.get(other.cron_id)).HasField("next_run_time")


async def test_disabled_cron_does_not_fire_and_starts_in_the_future(crons: Any) -> None:
    cron = await crons.create(disabled=True)
    other = await crons.create()
    await crons.make_due(cron.cron_id, other.cron_id)
    await until(lambda: crons.runs_of(other.cron_id))
    assert await crons.runs_of(cron.cron_id) == []
    started = await crons.stub.UpdateCron(crons_pb2.UpdateCronRequest(cron_id=cron.cron_id, enabled=True))
    assert started.next_run_time.ToSeconds() > started.update_time.ToSeconds()


async def test_cron_of_a_deleted_assistant_is_disabled(crons: Any) -> None:
    assistant = await crons.system.assistants.CreateAssistant(assistants_pb2.CreateAssistantRequest(graph_id="echo"))
    cron = await crons.create(assistant_id=assistant.assistant_id)
    request = assistants_pb2.DeleteAssistantRequest(assistant_id=assistant.assistant_id)
    await crons.system.assistants.DeleteAssistant(request)
    await crons.make_due(cron.cron_id)
    await until(crons.moved_on)
    assert not (await crons.get(cron.cron_id)).enabled


async def test_deleting_a_threads_runs_deletes_its_crons(crons: Any) -> None:
    thread_id = await crons.system.thread()
    cron = await crons.create(thread_id=thread_id)
    await crons.system.runs.DeleteThreadRuns(runs_pb2.DeleteThreadRunsRequest(thread_id=thread_id))
    with pytest.raises(grpc.aio.AioRpcError, match="not found"):
        await crons.get(cron.cron_id)


async def test_cron_whose_thread_is_gone_goes_too(crons: Any) -> None:
    thread_id = await crons.system.thread()
    cron = await crons.create(thread_id=thread_id)
    await crons.system.threads.DeleteThread(threads_pb2.DeleteThreadRequest(thread_id=thread_id))
    await crons.make_due(cron.cron_id)
    gone = "SELECT NOT EXISTS (SELECT FROM runs.cron WHERE cron_id = $1)"
    await until(lambda: crons.system.sql.fetchval(gone, cron.cron_id))


async def test_after_an_outage_beyond_its_end_a_cron_fires_no_more(crons):
    over, endless = await crons.create(), await crons.create()
    await crons.system.sql.execute(
        "UPDATE runs.cron SET end_time = now() - interval '10 min', next_run_at = now() - interval '1 h'"
        " WHERE cron_id = $1",
        over.cron_id,
    )
    await crons.make_due(endless.cron_id, ago="1 hour")
    await until(crons.moved_on)
    assert len(await crons.runs_of(endless.cron_id)) == 1
    assert await crons.runs_of(over.cron_id) == []
    assert not (await crons.get(over.cron_id)).HasField("next_run_time")
