"""Search and count: filters, order, pages, chosen columns, extracted values."""

import json
from uuid import uuid4

import grpc
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.threads.v1 import checkpoints_pb2
from threadmill_protos.threads.v1 import threads_pb2 as pb


async def create(service, metadata: dict, values: object = ..., **resting) -> str:
    made = await service.threads.CreateThread(pb.CreateThreadRequest(metadata_json=json.dumps(metadata).encode()))
    if values is not ... or resting:
        state = pb.RestingState(values_json=b"" if values is ... else json.dumps(values).encode(), **resting)
        await rest(service, made.thread_id, state)
    return made.thread_id


async def rest(service, thread_id: str, state: pb.RestingState) -> None:
    await service.checkpoints.WriteCheckpoints(
        checkpoints_pb2.WriteCheckpointsRequest(thread_id=thread_id, resting=state)
    )


async def search(service, **fields) -> list[str]:
    found = await service.threads.SearchThreads(pb.SearchThreadsRequest(**fields))
    return [row.thread_id for row in found.threads]


async def matching(service, **fields) -> set[str]:
    packed = {
        name: json.dumps(value).encode() if name in ("metadata_json", "values_json") else value
        for name, value in fields.items()
    }
    found = set(await search(service, filter=pb.ThreadFilter(**packed), limit=1000))
    counted = await service.threads.CountThreads(pb.CountThreadsRequest(filter=pb.ThreadFilter(**packed)))
    assert counted.count == len(found)
    return found


async def refused(service, **fields) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await search(service, **fields)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.details()


async def test_metadata_matches_by_containment_with_equal_arrays(service):
    a = await create(service, {"owner": "me", "tags": [1, 2], "deep": {"x": {"y": 1, "z": [{"k": 1, "l": 2}]}}})
    b = await create(service, {"owner": "you", "tags": [2], "deep": {"x": {"y": None}}})
    everything = {a, b}
    for pattern, expected in [
        ({}, everything),
        ({"owner": "me"}, {a}),
        ({"owner": "nobody"}, set()),
        ({"deep": {}}, everything),
        ({"deep": {"x": {"y": 1}}}, {a}),
        ({"deep": {"x": {"y": 1.0}}}, {a}),
        ({"deep": {"x": {"y": None}}}, {b}),
        ({"deep": {"w": None}}, set()),
        ({"tags": [2]}, {b}),
        ({"tags": [1, 2]}, {a}),
        ({"tags": [2, 1]}, set()),
        ({"tags": []}, set()),
        ({"tags": 2}, set()),
        ({"deep": {"x": {"z": [{"k": 1}]}}}, set()),
        ({"deep": {"x": {"z": [{"l": 2, "k": 1}]}}}, {a}),
        ({"owner": "me", "tags": [2]}, set()),
        ({"owner": ["me"]}, set()),
    ]:
        assert await matching(service, metadata_json=pattern) == expected, pattern


async def test_values_filter_and_threads_without_values(service):
    """The reference answers 500 while any thread's values are null; here they do not match."""
    await create(service, {})
    await create(service, {}, None)
    a = await create(service, {}, {"n": 12, "log": ["a", "b"]})
    b = await create(service, {}, {"n": 13, "log": []})
    assert await matching(service, values_json={}) == {a, b}
    assert await matching(service, values_json={"n": 12}) == {a}
    assert await matching(service, values_json={"log": ["a", "b"]}) == {a}
    assert await matching(service, values_json={"log": ["a"]}) == set()
    assert await matching(service, values_json={"log": []}) == {b}


async def test_filters_are_anded(service):
    a = await create(service, {"k": 1}, {"n": 1}, state=pb.THREAD_STATE_ERROR)
    b = await create(service, {"k": 1}, {"n": 2})
    busy = await create(service, {"k": 2}, {"n": 1})
    await service.threads.BeginRun(pb.BeginRunRequest(thread_id=busy, run_id=str(uuid4())))
    assert await matching(service, state=pb.THREAD_STATE_ERROR) == {a}
    assert await matching(service, state=pb.THREAD_STATE_IDLE) == {b}
    assert await matching(service, state=pb.THREAD_STATE_BUSY) == {busy}
    assert await matching(service, state=pb.THREAD_STATE_INTERRUPTED) == set()
    assert await matching(service, thread_ids=[a, busy, str(uuid4())]) == {a, busy}
    assert await matching(service, thread_ids=[a, b], metadata_json={"k": 1}, values_json={"n": 2}) == {b}
    assert await matching(service, thread_ids=[a, b], values_json={"n": 2}, state=pb.THREAD_STATE_ERROR) == set()


async def test_the_last_changed_comes_first_and_a_metadata_patch_moves_to_the_front(service):
    ids = [await create(service, {"n": n}) for n in range(3)]
    assert await search(service) == ids[::-1]
    await service.threads.UpdateThread(pb.UpdateThreadRequest(thread_id=ids[0], metadata_json=b'{"n":9}'))
    assert await search(service) == [ids[0], ids[2], ids[1]]


async def test_sorting(service):
    asc, desc = common_pb2.SORT_ORDER_ASCENDING, common_pb2.SORT_ORDER_DESCENDING
    sort = pb.SearchThreadsRequest
    ids = [await create(service, {}) for _ in range(3)]
    error = pb.RestingState(state=pb.THREAD_STATE_ERROR)
    await rest(service, ids[1], error)
    await service.threads.UpdateThread(pb.UpdateThreadRequest(thread_id=ids[0]))
    await service.threads.BeginRun(pb.BeginRunRequest(thread_id=ids[2], run_id=str(uuid4())))
    zero, one, two = ids
    for column, expected in [
        (sort.SORT_BY_THREAD_ID, sorted(ids)),
        (sort.SORT_BY_CREATE_TIME, ids),
        (sort.SORT_BY_UPDATE_TIME, [one, zero, two]),
        (sort.SORT_BY_STATE_UPDATE_TIME, [zero, one, two]),
        (sort.SORT_BY_STATE, [two, one, zero]),
    ]:
        assert await search(service, sort_by=column, sort_order=asc) == expected
        assert await search(service, sort_by=column, sort_order=desc) == expected[::-1]
        assert await search(service, sort_by=column) == expected[::-1]


async def test_pages(service):
    ids = [await create(service, {}) for _ in range(12)][::-1]
    for request, expected, more in [
        ({}, ids[:10], True),
        ({"limit": 12}, ids, False),
        ({"limit": 11}, ids[:11], True),
        ({"limit": 5, "offset": 7}, ids[7:], False),
        ({"limit": 5, "offset": 6}, ids[6:11], True),
        ({"offset": 50}, [], False),
    ]:
        found = await service.threads.SearchThreads(pb.SearchThreadsRequest(**request))
        assert [row.thread_id for row in found.threads] == expected
        assert found.has_more is more


async def test_select_leaves_the_other_columns_empty(service):
    thread_id = await create(service, {"a": 1}, {"n": 1}, interrupts_json=b"{}", error_json=b"null")
    whole = await service.threads.GetThread(pb.GetThreadRequest(thread_id=thread_id))
    (row,) = (await service.threads.SearchThreads(pb.SearchThreadsRequest())).threads
    assert row == whole
    fields = {
        "thread_id": "thread_id",
        "created_at": "create_time",
        "updated_at": "update_time",
        "state_updated_at": "state_update_time",
        "metadata": "metadata_json",
        "config": "config_json",
        "status": "state",
        "values": "values_json",
        "interrupts": "interrupts_json",
    }
    for column, field in fields.items():
        (row,) = (await service.threads.SearchThreads(pb.SearchThreadsRequest(select=[column]))).threads
        assert [descriptor.name for descriptor, _ in row.ListFields()] == [field]
        assert getattr(row, field) == getattr(whole, field)


async def test_extract(service):
    values = {"messages": [{"content": "first"}, {"content": {"z": 1, "a": "last"}}], "0": "key", "n": None, "$1": "d"}
    await create(service, {"a": {"b": [[1, 2], [3]]}}, values, interrupts_json=b'{"task":[{"id":"i"}]}')
    await create(service, {})
    paths = {
        "first": "values.messages[0].content",
        "last": "values.messages[-1].content",
        "beyond": "values.messages[2]",
        "key": "values.0",
        "no_array": "values[0]",
        "null": "values.n",
        "dollar": "values.$1",
        "nested": "metadata.a.b[0][-1]",
        "config": "config",
        "interrupt": "interrupts.task[0].id",
    }
    found = await service.threads.SearchThreads(pb.SearchThreadsRequest(extract=paths, select=["thread_id"]))
    empty, full = (json.loads(row.extracted_json) for row in found.threads)
    assert full == {
        "first": "first",
        "last": {"z": 1, "a": "last"},
        "beyond": None,
        "key": "key",
        "no_array": None,
        "null": None,
        "dollar": "d",
        "nested": 2,
        "config": {},
        "interrupt": "i",
    }
    assert empty == dict.fromkeys(paths) | {"config": {}}
    assert not found.threads[0].HasField("create_time")


async def test_refusals_name_the_field(service):
    assert await refused(service, extract={"a": "status"}) == (
        "Extract path 'status' must start with one of: config, interrupts, metadata, values"
    )
    assert (await refused(service, extract={"x-y": "values"})).startswith(
        "Extract key 'x-y' must be a valid identifier"
    )
    assert "10" in await refused(service, extract={f"a{n}": "values" for n in range(11)})
    assert "bogus" in await refused(service, select=["thread_id", "bogus"])
    assert "limit" in await refused(service, limit=1001)
    assert "limit" in await refused(service, limit=-1)
    assert "offset" in await refused(service, offset=-1)
    assert "object" in await refused(service, filter={"values_json": b"[1]"})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await search(service, filter={"thread_ids": [str(uuid4()), "bad"]})
    assert (reason_of(caught.value), caught.value.details()) == ("INVALID_THREAD_ID", "Invalid thread ID bad")
