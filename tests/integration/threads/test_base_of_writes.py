"""A checkpoint shares values with the one that it goes on from. If that was deleted, it is not stored without them."""

import asyncio
from uuid import uuid4

import asyncpg
import grpc
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.threads.v1 import checkpoints_pb2 as pb
from threadmill_protos.threads.v1 import threads_pb2

RUN = str(uuid4())
KEY = b"k" * 16
REST = threads_pb2.RestingState(state=threads_pb2.THREAD_STATE_IDLE, values_json=b'{"v":1}')
COUNTED = b'{"counters_since_delta_snapshot":{"d":[1,1]}}'


@pytest.fixture
async def thread_id(service, steps) -> str:
    """A root checkpoint 1 of a run with a value in chunks, an empty one and a small one; 2 has others of them all."""
    thread_id = str(uuid4())
    for number, metadata in (("1", b'{"run_id":"%s"}' % RUN.encode()), ("2", b"{}")):
        new = {"big": (number, b"b"), "none": (number, None), "own": (number, b"o")}
        op = steps.put(number, new=new, metadata=metadata)
        if number == "1":
            op.put.channel_blobs[0].value.chunk_keys = KEY
        await steps.write(service, thread_id, op, chunks=[pb.Chunk(key=KEY, data=b"chunk")])
    return thread_id


def branch(steps, **fields) -> pb.WriteCheckpointsRequest.Op:
    """A child of 1 that has a value of its own and shares the others."""
    versions = {"big": "1", "none": "1"}
    return steps.put("3", parent="1", versions=versions, **{"new": {"own": ("3", b"mine")}, **fields})


def whole(steps) -> pb.WriteCheckpointsRequest.Op:
    return branch(steps, new={"own": ("3", b"mine"), "big": ("1", b"again"), "none": ("1", None)})


async def read(service, thread_id: str, checkpoint_id: str = "") -> pb.GetCheckpointResponse:
    request = pb.GetCheckpointRequest(thread_id=thread_id, checkpoint_id=checkpoint_id)
    return await service.checkpoints.GetCheckpoint(request)


async def prune(service, thread_id: str) -> None:
    await service.checkpoints.PruneCheckpoints(pb.PruneCheckpointsRequest(thread_ids=[thread_id]))


async def prune_by_rest(service, thread_id: str) -> None:
    strategy = threads_pb2.TTL_STRATEGY_KEEP_LATEST
    await service.threads.PruneThreads(threads_pb2.PruneThreadsRequest(thread_ids=[thread_id], strategy=strategy))


async def delete_run(service, thread_id: str) -> None:
    await service.checkpoints.DeleteCheckpointsForRuns(pb.DeleteCheckpointsForRunsRequest(run_ids=[RUN]))


async def delete_all(service, thread_id: str) -> None:
    await service.checkpoints.DeleteCheckpoints(pb.DeleteCheckpointsRequest(thread_id=thread_id))


async def sweep(service, thread_id: str) -> None:
    ttl = threads_pb2.ThreadTtl(ttl_minutes=1, strategy=threads_pb2.TTL_STRATEGY_KEEP_LATEST)
    await service.threads.UpdateThread(threads_pb2.UpdateThreadRequest(thread_id=thread_id, ttl=ttl))
    await service.sql.execute("UPDATE threads.thread SET updated_at = updated_at - interval '1 hour'")
    assert await service.sweeper.sweep() == 1


async def delete_thread(service, thread_id: str) -> None:
    await service.threads.DeleteThread(threads_pb2.DeleteThreadRequest(thread_id=thread_id))


async def reason(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return reason_of(caught.value)


@pytest.mark.parametrize("delete", [prune, prune_by_rest, delete_run, delete_all, sweep, delete_thread])
async def test_a_branch_from_what_was_deleted_is_refused_until_it_carries_all(service, steps, thread_id, delete):
    epoch = (await read(service, thread_id, "1")).chunk_epoch
    await delete(service, thread_id)
    before = await steps.row_counts(service)
    assert await reason(steps.write(service, thread_id, branch(steps), chunk_epoch=epoch)) == "CHUNKS_UNKNOWN"
    assert await reason(steps.write(service, thread_id, branch(steps))) == "CHECKPOINT_GONE"
    assert await steps.row_counts(service) == before
    await steps.write(service, thread_id, whole(steps))
    assert steps.blobs(await steps.read(service, thread_id)) == {"own": b"mine", "big": b"again"}


async def test_what_is_stored_need_not_be_carried(service, steps, thread_id):
    """Also after a deletion: it took away something else, or what was read since then."""
    await steps.write(service, thread_id, steps.put("3", parent="2", versions={"big": "2", "own": "2"}))
    await prune(service, thread_id)
    await steps.write(service, thread_id, steps.put("4", parent="3", versions={"big": "2", "own": "2"}))
    epoch = (await read(service, thread_id)).chunk_epoch
    await steps.write(service, thread_id, steps.put("5", parent="4", versions={"big": "2"}), chunk_epoch=epoch)
    assert steps.blobs(await steps.read(service, thread_id, "4")) == {"big": b"b", "own": b"o"}
    assert steps.blobs(await steps.read(service, thread_id)) == {"big": b"b"}


async def test_the_checkpoints_of_one_request_share_what_it_carries(service, steps):
    first = steps.put("1", new={"a": ("1", b"a")})
    second = steps.put("2", parent="1", versions={"a": "1"}, new={"b": ("1", b"b")})
    other = steps.put("2", ns="n", versions={"a": "1"})
    thread_id = str(uuid4())
    assert await reason(steps.write(service, thread_id, first, second, other)) == "CHECKPOINT_GONE"
    assert await service.sql.fetchval("SELECT count(*) FROM threads.thread") == 0
    await steps.write(service, thread_id, first, second)
    assert steps.blobs(await steps.read(service, thread_id)) == {"a": b"a", "b": b"b"}


async def test_chunks_without_an_epoch_are_looked_for(service, steps, thread_id):
    def write(key: bytes) -> pb.WriteCheckpointsRequest.Op:
        op = steps.writes("2", key.decode(), [(0, "big", b"w")])
        op.writes.writes[0].value.chunk_keys = key
        return op

    assert await reason(steps.write(service, thread_id, write(b"?" * 16))) == "CHECKPOINT_GONE"
    await steps.write(service, thread_id, write(KEY))
    assert [each.value.data for each in (await steps.read(service, thread_id)).pending_writes] == [b"wchunk"]


async def test_a_run_does_not_end_with_a_checkpoint_that_is_refused(service, steps, thread_id):
    run_id = str(uuid4())
    await service.threads.BeginRun(threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=run_id))
    ending = {"fence": {"run_id": run_id, "token": 4}, "end": threads_pb2.RunEnd(resting=REST)}
    await prune(service, thread_id)
    assert await reason(steps.write(service, thread_id, branch(steps), **ending)) == "CHECKPOINT_GONE"
    request = threads_pb2.GetThreadRequest(thread_id=thread_id)
    assert (await service.threads.GetThread(request)).state == threads_pb2.THREAD_STATE_BUSY
    await steps.write(service, thread_id, whole(steps), **ending)
    thread = await service.threads.GetThread(request)
    assert (thread.state, thread.values_json) == (threads_pb2.THREAD_STATE_IDLE, b'{"v":1}')


async def test_an_update_whose_base_is_gone_changes_nothing(service, steps, thread_id):
    found = await read(service, thread_id, "1")
    await prune(service, thread_id)
    for epoch, refusal in ((found.chunk_epoch, "CHUNKS_UNKNOWN"), (0, "CHECKPOINT_GONE")):
        request = pb.WriteCheckpointsRequest(
            thread_id=thread_id, ops=[branch(steps)], resting=REST, chunk_epoch=epoch,
            expected_state_micros=found.state_micros,
        )  # fmt: skip
        assert await reason(service.checkpoints.WriteCheckpoints(request)) == refusal
    assert (await read(service, thread_id)).checkpoint.checkpoint_id == "2"
    thread = await service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))
    assert not thread.values_json


async def test_a_delta_channel_needs_the_checkpoint_that_it_is_rebuilt_from(service, steps, thread_id):
    def delta(data: bytes | None, parent: str) -> pb.WriteCheckpointsRequest.Op:
        return steps.put("3", parent=parent, new={"d": ("3", data)}, metadata=COUNTED)

    assert await reason(steps.write(service, thread_id, delta(None, "0"))) == "CHECKPOINT_GONE"
    await steps.write(service, thread_id, delta(b"snapshot", "0"))
    await steps.write(service, thread_id, delta(None, "2"))
    await steps.write(service, thread_id, delta(None, ""))


@pytest.mark.parametrize("knows_epoch", [True, False])
@pytest.mark.parametrize("ends", [True, False])
async def test_a_write_that_waits_for_a_deletion_sees_it(service, steps, thread_id, knows_epoch, ends):
    """Its statement began before the deletion was committed, when all that it refers to was there."""
    run_id = str(uuid4())
    await service.threads.BeginRun(threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=run_id))
    fields = {"fence": {"run_id": run_id, "token": 4}, "end": threads_pb2.RunEnd(resting=REST)} if ends else {}
    epoch = (await read(service, thread_id, "1")).chunk_epoch if knows_epoch else 0
    holder = await asyncpg.connect(service.dsn)
    under_way = holder.transaction()
    await under_way.start()
    await holder.execute("SELECT FROM threads.thread WHERE thread_id = $1 FOR UPDATE", thread_id)
    pruning = asyncio.create_task(prune(service, thread_id))
    await until_blocked(service.sql, 1)
    writing = asyncio.create_task(steps.write(service, thread_id, branch(steps), chunk_epoch=epoch, **fields))
    await until_blocked(service.sql, 2)  # the lock is given in the order in which it was asked for
    await under_way.commit()
    await holder.close()
    await pruning
    assert await reason(writing) == ("CHUNKS_UNKNOWN" if knows_epoch else "CHECKPOINT_GONE")
    assert (await read(service, thread_id)).checkpoint.checkpoint_id == "2"


async def test_branches_that_race_pruning_are_whole_or_refused(service, steps):
    thread_id = str(uuid4())
    refused = 0
    for number in range(30):
        old = steps.put(f"{number:02}0", new={"shared": (f"{number}", b"shared")})
        await steps.write(service, thread_id, old, steps.put(f"{number:02}1"))
        epoch = (await read(service, thread_id)).chunk_epoch if number % 2 else 0
        branching = steps.put(f"{number:02}2", parent=f"{number:02}0", versions={"shared": f"{number}"})
        answers = await asyncio.gather(
            prune(service, thread_id),
            steps.write(service, thread_id, branching, chunk_epoch=epoch),
            return_exceptions=True,
        )
        refused += isinstance(answers[1], BaseException)
        for row in await steps.listed(service, thread_id=thread_id):
            assert "shared" not in row.channel_versions or steps.blobs(row) == {"shared": b"shared"}
    assert refused


async def until_blocked(sql, count: int) -> None:
    """Returns when so many statements of the service wait for a lock."""
    async with asyncio.timeout(20):
        while count > await sql.fetchval(  # noqa: ASYNC110 - Postgres offers no event for a blocked statement
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)
