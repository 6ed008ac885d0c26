"""Rows of threads: create, read, merge, delete."""

import asyncio
import json
from uuid import UUID, uuid4

import grpc
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.threads.v1 import checkpoints_pb2
from threadmill_protos.threads.v1 import threads_pb2 as pb


async def reason(call) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return reason_of(caught.value), caught.value.details()


async def test_a_new_thread_was_never_run(service):
    made = await service.threads.CreateThread(pb.CreateThreadRequest(metadata_json=b'{"z":1,"a":{"y":[2],"b":3}}'))
    assert UUID(made.thread_id).version == 7
    assert made.metadata_json == b'{"z":1,"a":{"y":[2],"b":3}}', "key order is the client's"
    assert (made.config_json, made.values_json, made.interrupts_json, made.error_json) == (b"{}", b"", b"", b"")
    assert made.state == pb.THREAD_STATE_IDLE
    assert made.create_time == made.update_time == made.state_update_time
    assert await service.threads.GetThread(pb.GetThreadRequest(thread_id=made.thread_id)) == made


async def test_a_taken_id(service):
    request = pb.CreateThreadRequest(thread_id=str(uuid4()), metadata_json=b'{"a":1}')
    made = await service.threads.CreateThread(request)
    assert await reason(service.threads.CreateThread(request)) == (
        "THREAD_EXISTS",
        f"Thread with ID {request.thread_id} already exists",
    )
    request.metadata_json, request.if_exists = b'{"b":2}', pb.IF_EXISTS_DO_NOTHING
    assert await service.threads.CreateThread(request) == made


@pytest.mark.parametrize("bad", ["bad", "1234", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}", "x" * 36])
async def test_malformed_ids_are_refused(service, bad):
    for call in (
        service.threads.CreateThread(pb.CreateThreadRequest(thread_id=bad)),
        service.threads.GetThread(pb.GetThreadRequest(thread_id=bad)),
        service.threads.CopyThread(pb.CopyThreadRequest(thread_id=bad)),
    ):
        assert await reason(call) == ("INVALID_THREAD_ID", "Invalid thread ID: must be a UUID")


async def test_unknown_threads(service):
    unknown = str(uuid4())
    expected = ("THREAD_NOT_FOUND", f"Thread with ID {unknown} not found")
    assert await reason(service.threads.GetThread(pb.GetThreadRequest(thread_id=unknown))) == expected
    assert await reason(service.threads.UpdateThread(pb.UpdateThreadRequest(thread_id=unknown))) == expected
    assert await reason(service.threads.DeleteThread(pb.DeleteThreadRequest(thread_id=unknown))) == expected
    assert await reason(service.threads.CopyThread(pb.CopyThreadRequest(thread_id=unknown))) == expected
    assert await reason(service.threads.GetThreadStorage(pb.GetThreadStorageRequest(thread_id=unknown))) == expected
    update = checkpoints_pb2.WriteCheckpointsRequest(thread_id=unknown, resting=pb.RestingState())
    assert await reason(service.checkpoints.WriteCheckpoints(update)) == expected
    begin = pb.BeginRunRequest(thread_id=unknown, run_id=str(uuid4()))
    assert await reason(service.threads.BeginRun(begin)) == expected


async def test_metadata_merges_one_level_deep_and_keeps_null(service):
    made = await service.threads.CreateThread(
        pb.CreateThreadRequest(metadata_json=b'{"b":{"x":1},"a":1,"c":"\xc3\xa9"}')
    )
    update = pb.UpdateThreadRequest(thread_id=made.thread_id, metadata_json=b'{"d":[1, 2],"a":null,"b":{"y":2}}')
    updated = await service.threads.UpdateThread(update)
    assert updated.metadata_json.decode() == '{"b":{"y":2},"a":null,"c":"é","d":[1,2]}'
    assert updated.update_time.ToNanoseconds() > made.update_time.ToNanoseconds()
    assert updated.state_update_time == made.state_update_time
    unchanged = await service.threads.UpdateThread(pb.UpdateThreadRequest(thread_id=made.thread_id))
    assert unchanged.metadata_json == updated.metadata_json


@pytest.mark.parametrize("bad", [b"[]", b"null", b"{", b'"x"', b'{"a":\xff}'])
async def test_metadata_must_be_an_object(service, bad):
    assert (await reason(service.threads.CreateThread(pb.CreateThreadRequest(metadata_json=bad))))[
        0
    ] == "INVALID_ARGUMENT"


async def test_nul_characters_are_kept_in_values_and_replaced_in_metadata(service):
    text = r'{"a\u0000":"x\u0000y","b":"\\u0000","c":["\\\u0000"]}'
    made = await service.threads.CreateThread(pb.CreateThreadRequest(metadata_json=text.encode()))
    assert json.loads(made.metadata_json) == {"a\ufffd": "x\ufffdy", "b": "\\u0000", "c": ["\\\ufffd"]}
    await service.checkpoints.WriteCheckpoints(
        checkpoints_pb2.WriteCheckpointsRequest(
            thread_id=made.thread_id, resting=pb.RestingState(values_json=text.encode())
        )
    )
    read = await service.threads.GetThread(pb.GetThreadRequest(thread_id=made.thread_id))
    assert read.values_json == text.encode()
    for matching in (pb.ThreadFilter(metadata_json=text.encode()), pb.ThreadFilter(values_json=text.encode())):
        found = await service.threads.SearchThreads(
            pb.SearchThreadsRequest(filter=matching, extract={"c": "values.c[-1]"})
        )
        assert [json.loads(row.extracted_json) for row in found.threads] == [{"c": "\\\ufffd"}]


async def test_delete_while_busy(service):
    thread_id, run_id = str(uuid4()), str(uuid4())
    await service.threads.BeginRun(pb.BeginRunRequest(thread_id=thread_id, run_id=run_id, create_if_missing=True))
    await service.threads.DeleteThread(pb.DeleteThreadRequest(thread_id=thread_id))
    await service.threads.EndRun(pb.EndRunRequest(thread_id=thread_id, fence={"run_id": run_id, "token": 1}))
    assert (await reason(service.threads.GetThread(pb.GetThreadRequest(thread_id=thread_id))))[0] == "THREAD_NOT_FOUND"


async def test_a_new_ttl_without_strategy_keeps_the_old_one(service):
    keep = pb.ThreadTtl(strategy=pb.TTL_STRATEGY_KEEP_LATEST, ttl_minutes=9)
    for first, expected in ((keep, pb.TTL_STRATEGY_KEEP_LATEST), (None, pb.TTL_STRATEGY_DELETE)):
        made = await service.threads.CreateThread(pb.CreateThreadRequest(ttl=first))
        await service.threads.UpdateThread(
            pb.UpdateThreadRequest(thread_id=made.thread_id, ttl=pb.ThreadTtl(ttl_minutes=5))
        )
        found = await service.threads.GetThread(pb.GetThreadRequest(thread_id=made.thread_id, include_ttl=True))
        assert (found.ttl.strategy, found.ttl.ttl_minutes) == (expected, 5)


async def test_threads_that_are_created_at_the_same_time_are_each_their_callers(service):
    ids = [str(uuid4()) for _ in range(40)]

    def create(place, thread_id, **fields):
        metadata = b'{"n":%d}' % place
        request = pb.CreateThreadRequest(thread_id=thread_id, metadata_json=metadata, **fields)
        return service.threads.CreateThread(request)

    twice = [*enumerate(ids), *enumerate(ids)]
    answers = await asyncio.gather(*(create(*each) for each in twice), return_exceptions=True)
    made = [answer for answer in answers if isinstance(answer, pb.Thread)]
    refused = [reason_of(answer) for answer in answers if not isinstance(answer, pb.Thread)]
    assert sorted(thread.thread_id for thread in made) == sorted(ids)
    assert all(thread.metadata_json == b'{"n":%d}' % ids.index(thread.thread_id) for thread in made)
    assert refused == ["THREAD_EXISTS"] * len(ids)
    keeping = {"if_exists": pb.IF_EXISTS_DO_NOTHING}
    kept = await asyncio.gather(*(create(999, thread_id, **keeping) for thread_id in [*ids, str(uuid4())]))
    assert [thread.metadata_json for thread in kept] == [b'{"n":%d}' % place for place in [*range(40), 999]]
