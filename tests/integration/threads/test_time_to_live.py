"""TTLs: defaults, answers, and what the sweeper does when they are over."""

import asyncio
from uuid import uuid4

import grpc
import pytest
from threadmill_protos.threads.v1 import threads_pb2 as pb


def ttl(minutes: float, strategy: pb.TtlStrategy.ValueType = pb.TTL_STRATEGY_DELETE) -> pb.ThreadTtl:
    return pb.ThreadTtl(ttl_minutes=minutes, strategy=strategy)


async def create(service, **fields) -> str:
    return (await service.threads.CreateThread(pb.CreateThreadRequest(**fields))).thread_id


async def get(service, thread_id) -> pb.Thread:
    return await service.threads.GetThread(pb.GetThreadRequest(thread_id=thread_id, include_ttl=True))


async def age(service, minutes: float) -> None:
    """Makes every thread look as if it had last changed so long ago."""
    await service.sql.execute(
        "UPDATE threads.thread SET updated_at = updated_at - make_interval(secs => $1::float * 60),"
        " swept_at = swept_at - make_interval(secs => $1::float * 60)",
        minutes,
    )


async def remaining(service) -> set[str]:
    return {str(row["thread_id"]) for row in await service.sql.fetch("SELECT thread_id FROM threads.thread")}


async def test_ttl_is_told_when_asked_for(service):
    plain, mortal = await create(service), await create(service, ttl=ttl(1.5, pb.TTL_STRATEGY_KEEP_LATEST))
    assert not (await get(service, plain)).HasField("ttl")
    row = await get(service, mortal)
    assert (row.ttl.ttl_minutes, row.ttl.strategy) == (1.5, pb.TTL_STRATEGY_KEEP_LATEST)
    assert row.ttl.expire_time.ToNanoseconds() - row.update_time.ToNanoseconds() == 90 * 10**9
    without = await service.threads.GetThread(pb.GetThreadRequest(thread_id=mortal))
    assert not without.HasField("ttl")
    await service.threads.UpdateThread(pb.UpdateThreadRequest(thread_id=mortal, ttl=pb.ThreadTtl(ttl_minutes=60)))
    row = await get(service, mortal)
    assert (row.ttl.ttl_minutes, row.ttl.strategy) == (60, pb.TTL_STRATEGY_KEEP_LATEST)
    await service.threads.UpdateThread(pb.UpdateThreadRequest(thread_id=mortal, metadata_json=b'{"a":1}'))
    assert (await get(service, mortal)).ttl.ttl_minutes == 60


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), 1e300])
async def test_ttl_must_be_positive_and_finite(service, bad):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await create(service, ttl=ttl(bad))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_copy_lives_as_long_as_any_new_thread(service):
    mortal = await create(service, ttl=ttl(1.5))
    copy = await service.threads.CopyThread(pb.CopyThreadRequest(thread_id=mortal))
    assert not (await get(service, copy.thread_id)).HasField("ttl")


async def test_default_ttl(start_service, steps):
    service = await start_service(ttl_default_minutes=5, ttl_default_strategy="keep_latest")
    run = pb.BeginRunRequest(thread_id=str(uuid4()), run_id=str(uuid4()), create_if_missing=True)
    await service.threads.BeginRun(run)
    written = str(uuid4())
    await steps.write(service, written, steps.put("1"))
    for thread_id in (await create(service), run.thread_id, written):
        row = await get(service, thread_id)
        assert (row.ttl.ttl_minutes, row.ttl.strategy) == (5, pb.TTL_STRATEGY_KEEP_LATEST)
    assert (await get(service, await create(service, ttl=ttl(1)))).ttl.ttl_minutes == 1


async def test_sweep_deletes_what_is_expired_and_at_rest(start_service, steps):
    service = await start_service(ttl_sweep_batch=2)
    expired = [await create(service, ttl=ttl(10)) for _ in range(5)]
    kept = {await create(service), await create(service, ttl=ttl(30))}
    busy = await create(service, ttl=ttl(10))
    run_id = str(uuid4())
    await service.threads.BeginRun(pb.BeginRunRequest(thread_id=busy, run_id=run_id))
    await steps.write(service, expired[0], steps.put("1", new={"x": ("1", b"x")}))
    assert await service.sweeper.sweep() == 0
    await age(service, 11)
    assert await service.sweeper.sweep() == 5
    assert await remaining(service) == kept | {busy}
    assert set((await steps.row_counts(service)).values()) == {0}
    await service.threads.EndRun(pb.EndRunRequest(thread_id=busy, fence={"run_id": run_id, "token": 1}))
    assert await service.sweeper.sweep() == 0, "the end of the run was a change"
    await age(service, 11)
    assert await service.sweeper.sweep() == 1


async def test_sweep_leaves_what_exceeds_its_limit_to_the_next_one(start_service):
    service = await start_service(ttl_sweep_batch=2, ttl_sweep_limit=3)
    for _ in range(4):
        await create(service, ttl=ttl(10))
    await age(service, 11)
    assert [await service.sweeper.sweep() for _ in range(3)] == [3, 1, 0]


async def test_sweep_keeps_the_latest_once_per_change(service, steps):
    thread_id = await create(service, ttl=ttl(10, pb.TTL_STRATEGY_KEEP_LATEST))
    await steps.write(service, thread_id, steps.put("1"), steps.put("2", parent="1"))
    await age(service, 11)
    assert await service.sweeper.sweep() == 1
    assert [row.checkpoint_id for row in await steps.listed(service, thread_id=thread_id)] == ["2"]
    assert await service.sweeper.sweep() == 0
    await service.threads.UpdateThread(pb.UpdateThreadRequest(thread_id=thread_id, metadata_json=b'{"a":1}'))
    await age(service, 11)
    assert await service.sweeper.sweep() == 1


async def test_a_sweep_ends_at_its_limit(start_service):
    service = await start_service(ttl_sweep_batch=2, ttl_sweep_limit=3)
    for _ in range(7):
        await create(service, ttl=ttl(1))
    await age(service, 2)
    assert [await service.sweeper.sweep() for _ in range(4)] == [3, 3, 1, 0]


async def test_a_run_that_begins_during_the_sweep_is_spared(service):
    """The sweeper locks what it takes away: a run that came first is seen, one that comes later finds no thread."""
    for _ in range(10):
        thread_id = await create(service, ttl=ttl(1))
        await age(service, 2)
        begin = pb.BeginRunRequest(thread_id=thread_id, run_id=str(uuid4()))
        swept, began = await asyncio.gather(
            service.sweeper.sweep(), service.threads.BeginRun(begin), return_exceptions=True
        )
        survived = thread_id in await remaining(service)
        assert survived == (not isinstance(began, BaseException)) == (swept == 0)


async def test_sweepers_of_several_replicas_share_the_work(start_service):
    service = await start_service(ttl_sweep_batch=3)
    for _ in range(10):
        await create(service, ttl=ttl(1))
    await age(service, 2)
    swept = await asyncio.gather(*(service.sweeper.sweep() for _ in range(3)))
    assert sum(swept) + await service.sweeper.sweep() == 10
    assert await remaining(service) == set()


async def test_the_sweep_reads_an_index(service):
    await service.sql.execute("SET enable_seqscan = off")
    text = "\n".join(
        row[0]
        for row in await service.sql.fetch(
            "EXPLAIN SELECT thread_id FROM threads.thread WHERE ttl_minutes IS NOT NULL"
            " AND (swept_at IS NULL OR swept_at < updated_at) AND expires_epoch < 5 ORDER BY expires_epoch LIMIT 5"
        )
    )
    assert "using thread_expiry" in text
