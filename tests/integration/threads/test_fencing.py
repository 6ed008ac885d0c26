"""An attempt that lost its run can neither read for writing nor write, whenever its calls arrive."""

import asyncio
from uuid import uuid4

import asyncpg
import grpc
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.threads.v1 import threads_pb2


@pytest.fixture
async def thread_id(service) -> str:
    made = await service.threads.CreateThread(threads_pb2.CreateThreadRequest())
    return made.thread_id


def fence(token: int) -> dict[str, object]:
    return {"run_id": "5a6c0f6a-0000-7000-8000-000000000000", "token": token}


async def assert_fenced(call) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert (reason_of(caught.value), caught.value.code()) == ("FENCED", grpc.StatusCode.ABORTED)


async def test_a_read_shuts_out_older_attempts(service, steps, thread_id):
    await steps.read(service, thread_id, fence=fence(3))
    await steps.write(service, thread_id, steps.put("1"), fence=fence(3))
    assert (await steps.read(service, thread_id, fence=fence(5))).checkpoint_id == "1"
    await assert_fenced(steps.write(service, thread_id, steps.put("2"), fence=fence(3)))
    await assert_fenced(steps.read(service, thread_id, fence=fence(4)))
    await steps.write(service, thread_id, steps.put("3"), fence=fence(5))
    await steps.write(service, thread_id, steps.put("4"), fence=fence(7))
    assert (await steps.read(service, thread_id)).checkpoint_id == "4", "readers without a fence are never refused"
    await steps.write(service, thread_id, steps.put("5"))


async def test_the_end_of_a_run_shuts_it_out_itself(service, steps, thread_id):
    run_id = str(uuid4())
    await service.threads.BeginRun(threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=run_id))
    token = {"run_id": run_id, "token": 4}
    await steps.read(service, thread_id, fence=token)
    await steps.write(service, thread_id, steps.put("1"), fence=token)
    await service.threads.EndRun(threads_pb2.EndRunRequest(thread_id=thread_id, fence=token))
    await assert_fenced(steps.write(service, thread_id, steps.put("2"), fence=token))
    await assert_fenced(steps.read(service, thread_id, fence=token))
    await steps.write(service, thread_id, steps.put("3"), fence=fence(5))


async def test_a_run_on_a_deleted_thread_is_told_so_and_makes_none(service, steps, thread_id):
    await service.threads.DeleteThread(threads_pb2.DeleteThreadRequest(thread_id=thread_id))
    for call in (
        steps.write(service, thread_id, steps.put("1"), fence=fence(1)),
        steps.read(service, thread_id, fence=fence(1)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert reason_of(refused.value) == "THREAD_NOT_FOUND"
    assert await service.sql.fetchval("SELECT count(*) FROM threads.thread") == 0


async def test_a_newer_attempt_waits_for_writes_under_way_and_sees_them(service, steps, thread_id):
    """The zombie's statement holds the row's lock; what it then commits must be in what the newer attempt reads."""
    zombie = await asyncpg.connect(service.dsn)
    under_way = zombie.transaction()
    await under_way.start()
    await zombie.execute("SELECT FROM threads.thread WHERE thread_id = $1 AND fence <= 1 FOR SHARE", thread_id)
    await zombie.execute(
        "INSERT INTO threads.checkpoint (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, body_type,"
        " body, metadata, channel_versions) VALUES ($1, '', 'zombie', '', 'null', '', '{}', '{}')",
        thread_id,
    )
    reading = asyncio.create_task(steps.read(service, thread_id, fence=fence(2)))
    await until_blocked(service.sql)
    await under_way.commit()
    await zombie.close()
    assert (await reading).checkpoint_id == "zombie"


async def test_a_write_that_waits_for_a_newer_attempt_is_refused(service, steps, thread_id):
    newer = await asyncpg.connect(service.dsn)
    under_way = newer.transaction()
    await under_way.start()
    await newer.execute("UPDATE threads.thread SET fence = 2 WHERE thread_id = $1", thread_id)
    writing = asyncio.create_task(steps.write(service, thread_id, steps.put("1"), fence=fence(1)))
    await until_blocked(service.sql)
    await under_way.commit()
    await newer.close()
    await assert_fenced(writing)
    assert await steps.read(service, thread_id) is None


async def until_blocked(sql) -> None:
    """Returns when a statement of the service waits for a lock."""
    async with asyncio.timeout(20):
        while not await sql.fetchval(  # noqa: ASYNC110 - Postgres offers no event for a blocked statement
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)


async def test_racing_attempts_never_write_after_being_read_over(service, steps, thread_id):
    """Each attempt reads, then writes one checkpoint onto what it read; the history must stay one chain."""

    async def attempt(token: int) -> str | None:
        found = await steps.read(service, thread_id, fence=fence(token))
        parent = found.checkpoint_id if found else ""
        checkpoint_id = f"{int(parent or 0) + 1:04}"
        await steps.write(service, thread_id, steps.put(checkpoint_id, parent=parent), fence=fence(token))
        return checkpoint_id

    results = await asyncio.gather(*(attempt(token) for token in range(1, 26)), return_exceptions=True)
    written = [result for result in results if isinstance(result, str)]
    refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert len(written) + len(refused) == 25
    assert {reason_of(error) for error in refused} <= {"FENCED"}
    assert results[-1] in written, "the newest attempt always gets through"
    assert len(set(written)) == len(written)
    chain = await steps.listed(service, thread_id=thread_id)
    assert [row.checkpoint_id for row in chain] == sorted(written, reverse=True)
