"""How a run begins, resumes and ends on its thread when its executor says so together with reads and writes."""

import asyncio
from uuid import uuid4

import asyncpg
import grpc
import orjson
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.threads.v1 import checkpoints_pb2, threads_pb2

REST = threads_pb2.RestingState(
    state=threads_pb2.THREAD_STATE_INTERRUPTED, values_json=b'{"a":1}', interrupts_json=b"{}", error_json=b"null"
)
END = threads_pb2.RunEnd(resting=REST, stamp_metadata_json=b'{"graph_id":"g"}')


@pytest.fixture
async def thread_id(service) -> str:
    made = await service.threads.CreateThread(threads_pb2.CreateThreadRequest(metadata_json=b'{"m":1}'))
    return made.thread_id


async def begin(service, thread_id: str, **fields) -> tuple[str, threads_pb2.BeginRunResponse]:
    run_id = str(uuid4())
    request = threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=run_id, **fields)
    return run_id, await service.threads.BeginRun(request)


async def end(service, thread_id: str, run_id: str, token: int, **fields) -> None:
    fence = {"run_id": run_id, "token": token}
    await service.threads.EndRun(threads_pb2.EndRunRequest(thread_id=thread_id, fence=fence, **fields))


async def get(service, thread_id: str) -> threads_pb2.Thread:
    return await service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))


async def read(service, thread_id: str, fence=None) -> checkpoints_pb2.GetCheckpointResponse:
    return await service.checkpoints.GetCheckpoint(
        checkpoints_pb2.GetCheckpointRequest(thread_id=thread_id, fence=fence), timeout=30
    )


async def reason(call) -> str | None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return reason_of(caught.value)


# The beginning


async def test_a_thread_is_empty_for_its_first_run_only(service, steps, thread_id):
    first, begun = await begin(service, thread_id)
    assert (begun.created, begun.is_empty) == (False, True)
    _, beside = await begin(service, thread_id)
    assert not beside.is_empty, "the other run may write before this one starts"
    await end(service, thread_id, first, 1)
    other = str(uuid4())
    run_id, created = await begin(service, other, create_if_missing=True)
    assert (created.created, created.is_empty) == (True, True)
    await steps.write(service, other, steps.put("1", ns="node"), fence={"run_id": run_id, "token": 1})
    await end(service, other, run_id, 1)
    assert not (await begin(service, other))[1].is_empty


async def test_a_run_that_begins_behind_an_update_sees_what_it_wrote(service, steps, thread_id):
    """BeginRun waits for the row; what it says about checkpoints is true after the wait."""
    update = await asyncpg.connect(service.dsn)
    try:
        transaction = update.transaction()
        await transaction.start()
        await update.execute("SELECT FROM threads.thread WHERE thread_id = $1 FOR UPDATE", thread_id)
        beginning = asyncio.ensure_future(begin(service, thread_id))
        while not await service.sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not beginning.done()
        await update.execute(
            "INSERT INTO threads.checkpoint VALUES ($1, '', '1', '', 'msgpack', '', '{}', DEFAULT, '{}')", thread_id
        )
        await transaction.commit()
        assert not (await beginning)[1].is_empty
    finally:
        await update.close()


# The end, with the last writes


async def test_an_end_with_writes_does_what_both_do(service, steps, thread_id):
    run_id, _ = await begin(service, thread_id)
    fence = {"run_id": run_id, "token": 4}
    await steps.write(service, thread_id, steps.put("1"), fence=fence)
    await steps.write(
        service, thread_id, steps.put("2", parent="1"), steps.writes("2", "t", [(0, "c", b"x")]), fence=fence, end=END
    )
    ended = await get(service, thread_id)
    assert (ended.state, ended.values_json, ended.interrupts_json) == (REST.state, b'{"a":1}', b"{}")
    assert (ended.error_json, ended.metadata_json) == (b"null", b'{"m":1,"graph_id":"g"}')
    newest = await steps.read(service, thread_id)
    assert (newest.checkpoint_id, len(newest.pending_writes)) == ("2", 1)
    assert await reason(steps.write(service, thread_id, steps.put("3"), fence=fence)) == "FENCED"
    assert await reason(read(service, thread_id, fence)) == "FENCED"


async def test_an_end_without_writes_and_beside_another_run(service, steps, thread_id):
    run_id, _ = await begin(service, thread_id)
    other, _ = await begin(service, thread_id)
    await steps.write(service, thread_id, fence={"run_id": run_id, "token": 4}, end=END)
    assert (await get(service, thread_id)).state == threads_pb2.THREAD_STATE_BUSY
    await end(service, thread_id, other, 5)
    assert (await get(service, thread_id)).state == REST.state


async def test_a_repeated_end_changes_nothing_not_even_after_others(service, steps, thread_id):
    run_id, _ = await begin(service, thread_id)
    fence = {"run_id": run_id, "token": 4}

    async def again() -> None:
        await steps.write(service, thread_id, steps.put("1"), fence=fence, end=END)

    await asyncio.gather(*(again() for _ in range(8)))
    ended = await get(service, thread_id)
    await again()
    assert await get(service, thread_id) == ended
    await end(service, thread_id, run_id, 4, resting=threads_pb2.RestingState(state=threads_pb2.THREAD_STATE_ERROR))
    assert await get(service, thread_id) == ended, "the runs api may say it too"
    second, _ = await begin(service, thread_id)
    await steps.write(service, thread_id, steps.put("2"), fence={"run_id": second, "token": 9})
    await again()
    assert (await get(service, thread_id)).state == threads_pb2.THREAD_STATE_BUSY
    assert (await steps.read(service, thread_id)).checkpoint_id == "2"


async def test_a_stale_attempt_ends_nothing(service, steps, thread_id):
    run_id, _ = await begin(service, thread_id)
    await read(service, thread_id, {"run_id": run_id, "token": 5})
    stale = steps.write(service, thread_id, steps.put("1"), fence={"run_id": run_id, "token": 4}, end=END)
    assert await reason(stale) == "FENCED"
    assert (await get(service, thread_id)).state == threads_pb2.THREAD_STATE_BUSY
    assert await steps.read(service, thread_id) is None
    gone = steps.write(service, str(uuid4()), fence={"run_id": run_id, "token": 6}, end=END)
    assert await reason(gone) == "THREAD_NOT_FOUND"


async def forget_beginning(service, thread_id: str) -> None:
    """What a Postgres that is killed may do to a beginning, which does not wait for the disk."""
    connection = await asyncpg.connect(service.dsn)
    await connection.execute(
        "UPDATE threads.thread SET active_run_ids = '{}', active_since = '{}' WHERE thread_id = $1", thread_id
    )
    await connection.close()


async def test_a_run_whose_beginning_was_forgotten_is_carried_out_and_ends(service, steps, thread_id):
    run_id, _ = await begin(service, thread_id)
    await forget_beginning(service, thread_id)
    fence = {"run_id": run_id, "token": 5}
    assert not (await read(service, thread_id, fence)).run_settled
    await steps.write(service, thread_id, steps.put("1"), fence=fence, end=END)
    thread = await get(service, thread_id)
    assert (thread.state, orjson.loads(thread.values_json)) == (threads_pb2.THREAD_STATE_INTERRUPTED, {"a": 1})
    assert (await read(service, thread_id, {"run_id": run_id, "token": 7})).run_settled
    other, _ = await begin(service, thread_id)
    await forget_beginning(service, thread_id)
    await end(service, thread_id, other, 8, resting=threads_pb2.RestingState(state=threads_pb2.THREAD_STATE_ERROR))
    assert (await get(service, thread_id)).state == threads_pb2.THREAD_STATE_ERROR


async def test_an_end_that_cannot_be_stored_stores_nothing(service, steps, thread_id):
    run_id, _ = await begin(service, thread_id)
    fence = {"run_id": run_id, "token": 4}
    broken = threads_pb2.RunEnd(resting=threads_pb2.RestingState(values_json=b"{"))
    assert await reason(steps.write(service, thread_id, steps.put("1"), fence=fence, end=broken)) == "INVALID_ARGUMENT"
    assert await steps.read(service, thread_id) is None
    unknown = {"fence": fence, "end": END, "chunk_epoch": 10**9}
    assert await reason(steps.write(service, thread_id, steps.put("1"), **unknown)) == "CHUNKS_UNKNOWN"
    assert (await get(service, thread_id)).state == threads_pb2.THREAD_STATE_BUSY
    await steps.write(service, thread_id, steps.put("1"), fence=fence, end=END)


@pytest.mark.parametrize(
    "fields",
    [
        {"end": END},
        {"end": END, "resting": REST},
        {"end": END, "resting": REST, "fence": {"run_id": str(uuid4()), "token": 1}},
        {"end": END, "fence": {"run_id": "no uuid", "token": 1}},
        {
            "end": threads_pb2.RunEnd(resting={"state": threads_pb2.THREAD_STATE_BUSY}),
            "fence": {"run_id": str(uuid4()), "token": 1},
        },
    ],
)
async def test_ends_that_make_no_sense(service, steps, thread_id, fields):
    assert await reason(steps.write(service, thread_id, **fields)) in ("INVALID_ARGUMENT", "INVALID_RUN_ID")


# After the end


async def test_the_next_attempt_learns_that_the_run_has_ended(service, steps, thread_id):
    run_id, _ = await begin(service, thread_id)
    first, second = {"run_id": run_id, "token": 4}, {"run_id": run_id, "token": 9}
    assert not (await read(service, thread_id, first)).run_settled
    await steps.write(service, thread_id, steps.put("1"), fence=first, end=END)
    found = await read(service, thread_id, second)
    assert (found.run_settled, found.checkpoint.checkpoint_id) == (True, "1")
    assert not (await read(service, thread_id)).run_settled, "without a fence nobody asks"


async def test_a_run_is_undone_though_it_has_ended(service, steps, thread_id):
    """A cancel with rollback may meet a run whose executor has just ended it."""
    run_id, _ = await begin(service, thread_id)
    mine = steps.put("1", metadata=b'{"run_id":"' + run_id.encode() + b'"}')
    await steps.write(service, thread_id, mine, fence={"run_id": run_id, "token": 4}, end=END)
    idle = threads_pb2.RestingState(state=threads_pb2.THREAD_STATE_IDLE, error_json=b'{"error":"UserRollback"}')
    await end(service, thread_id, run_id, 4, resting=idle, delete_checkpoints=True)
    undone = await get(service, thread_id)
    assert (undone.state, undone.error_json) == (threads_pb2.THREAD_STATE_IDLE, b'{"error":"UserRollback"}')
    assert await steps.read(service, thread_id) is None


async def test_a_run_is_not_undone_once_another_has_started(service, steps, thread_id):
    run_id, _ = await begin(service, thread_id)
    mine = steps.put("1", metadata=b'{"run_id":"' + run_id.encode() + b'"}')
    await steps.write(service, thread_id, mine, fence={"run_id": run_id, "token": 4}, end=END)
    second, _ = await begin(service, thread_id)
    await read(service, thread_id, {"run_id": second, "token": 9})
    await end(service, thread_id, run_id, 4, delete_checkpoints=True)
    assert (await steps.read(service, thread_id)).checkpoint_id == "1"
