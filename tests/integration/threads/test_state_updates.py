"""A state update is stored whole or not at all, on the state that it was made for, and before or after a run."""

import asyncio
from uuid import uuid4

import grpc
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.threads.v1 import checkpoints_pb2 as pb
from threadmill_protos.threads.v1 import threads_pb2

RESTING = threads_pb2.RestingState(
    state=threads_pb2.THREAD_STATE_INTERRUPTED, values_json=b'{"v":1}', interrupts_json=b"{}", error_json=b"null"
)


@pytest.fixture
async def thread_id(service) -> str:
    return (await service.threads.CreateThread(threads_pb2.CreateThreadRequest())).thread_id


async def state_micros(service, thread_id) -> int:
    return (await service.checkpoints.GetCheckpoint(pb.GetCheckpointRequest(thread_id=thread_id))).state_micros


async def commit(service, steps, thread_id, *ids: str, expected: int = 0) -> str:
    """The reason of the refusal; empty if there was none."""
    request = pb.WriteCheckpointsRequest(
        thread_id=thread_id,
        ops=[steps.put(checkpoint_id) for checkpoint_id in ids],
        resting=RESTING,
        expected_state_micros=expected,
    )
    try:
        await service.checkpoints.WriteCheckpoints(request)
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return ""


async def ids(service, steps, thread_id) -> list[str]:
    return [row.checkpoint_id for row in await steps.listed(service, thread_id=thread_id)]


async def row(service, thread_id) -> threads_pb2.Thread:
    return await service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))


async def begin(service, thread_id) -> str:
    run_id = str(uuid4())
    await service.threads.BeginRun(threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=run_id))
    return run_id


async def test_checkpoints_and_row_change_together(service, steps, thread_id):
    before = await state_micros(service, thread_id)
    assert await commit(service, steps, thread_id, "1", "2", expected=before) == ""
    assert await ids(service, steps, thread_id) == ["2", "1"]
    thread = await row(service, thread_id)
    assert (thread.state, thread.values_json) == (threads_pb2.THREAD_STATE_INTERRUPTED, b'{"v":1}')
    assert await state_micros(service, thread_id) > before


async def test_a_bad_part_takes_the_whole_back(service, steps, thread_id):
    request = pb.WriteCheckpointsRequest(
        thread_id=thread_id, ops=[steps.put("1"), steps.put("2", parent="2")], resting=RESTING
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.checkpoints.WriteCheckpoints(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await ids(service, steps, thread_id) == []
    assert (await row(service, thread_id)).values_json == b""


async def test_no_update_while_a_run_is_active(service, steps, thread_id):
    before = await state_micros(service, thread_id)
    await begin(service, thread_id)
    assert await commit(service, steps, thread_id, "1", expected=before) == "THREAD_BUSY"
    assert await ids(service, steps, thread_id) == []
    assert (await row(service, thread_id)).values_json == b""
    assert await commit(service, steps, str(uuid4()), "1") == "THREAD_NOT_FOUND"


async def test_a_run_that_came_and_went_since_the_read_refuses_the_update(service, steps, thread_id):
    before = await state_micros(service, thread_id)
    run_id = await begin(service, thread_id)
    await service.threads.EndRun(threads_pb2.EndRunRequest(thread_id=thread_id, fence={"run_id": run_id, "token": 7}))
    assert await commit(service, steps, thread_id, "1", expected=before) == "STATE_CHANGED"
    assert await commit(service, steps, thread_id, "1", expected=await state_micros(service, thread_id)) == ""


async def test_a_repeated_commit_changes_nothing(service, steps, thread_id):
    before = await state_micros(service, thread_id)
    assert await commit(service, steps, thread_id, "1", expected=before) == ""
    after = await row(service, thread_id)
    assert await commit(service, steps, thread_id, "1", expected=before) == ""
    await begin(service, thread_id)
    assert await commit(service, steps, thread_id, "1", expected=before) == ""
    assert await ids(service, steps, thread_id) == ["1"]
    assert (
        await row(service, thread_id)
    ).state_update_time.ToMicroseconds() >= after.state_update_time.ToMicroseconds()


async def test_of_updates_on_the_same_state_one_wins(service, steps, thread_id):
    before = await state_micros(service, thread_id)
    reasons = await asyncio.gather(
        *(commit(service, steps, thread_id, str(number), expected=before) for number in range(8))
    )
    assert sorted(reasons) == [""] + ["STATE_CHANGED"] * 7
    assert await ids(service, steps, thread_id) == [str(reasons.index(""))]


async def test_an_update_that_races_a_run_is_before_it_or_refused(service, steps):
    outcomes = set()
    for number in range(20):
        created = await service.threads.CreateThread(threads_pb2.CreateThreadRequest())
        before = await state_micros(service, created.thread_id)
        update = commit(service, steps, created.thread_id, "1", expected=before)
        racers = [update, begin(service, created.thread_id)]
        answers = await asyncio.gather(*(racers if number % 2 else reversed(racers)))
        reason = answers[0] if number % 2 else answers[1]
        assert reason in ("", "THREAD_BUSY")
        assert await ids(service, steps, created.thread_id) == ([] if reason else ["1"])
        thread = await row(service, created.thread_id)
        assert thread.values_json == (b"" if reason else b'{"v":1}')
        assert thread.state == threads_pb2.THREAD_STATE_BUSY
        outcomes.add(reason)
    assert outcomes == {"", "THREAD_BUSY"}


async def test_a_run_cannot_commit_an_update(service, steps, thread_id):
    request = pb.WriteCheckpointsRequest(
        thread_id=thread_id, resting=RESTING, fence={"run_id": str(uuid4()), "token": 1}
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.checkpoints.WriteCheckpoints(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
