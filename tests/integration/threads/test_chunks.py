"""Chunks are stored once, read back whole, never missing where they are named, and gone with the last reference."""

import asyncio
from uuid import uuid4

import grpc
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.threads.v1 import checkpoints_pb2 as pb
from threadmill_protos.threads.v1 import threads_pb2

A, B, C = (letter * 16 for letter in (b"a", b"b", b"c"))
DATA = {A: b"aaa", B: b"bbbb", C: b"ccccc"}


def put(steps, checkpoint_id, keys, head=b"h", **fields) -> pb.WriteCheckpointsRequest.Op:
    op = steps.put(checkpoint_id, new={"m": (checkpoint_id, head)}, **fields)
    op.put.channel_blobs[0].value.chunk_keys = b"".join(keys)
    return op


def chunks(*keys) -> list[pb.Chunk]:
    return [pb.Chunk(key=key, data=DATA[key]) for key in keys]


async def write(service, thread_id, *ops, **fields) -> int:
    request = pb.WriteCheckpointsRequest(thread_id=thread_id, ops=ops, **fields)
    return (await service.checkpoints.WriteCheckpoints(request)).chunk_epoch


async def stored(service, thread_id) -> set[bytes]:
    rows = await service.sql.fetch("SELECT key FROM threads.chunk WHERE thread_id = $1", thread_id)
    return {row["key"] for row in rows}


async def test_values_are_read_whole_in_every_way(service, steps):
    thread_id = str(uuid4())
    task = steps.writes("1", "t", [(0, "m", b"w"), (1, "n", b"small")])
    task.writes.writes[0].value.chunk_keys = B + B
    epoch = await write(service, thread_id, put(steps, "1", [B, A]), task, chunks=chunks(A, B))
    await write(service, thread_id, put(steps, "2", [B, A, C], b"", parent="1"), chunks=chunks(C), chunk_epoch=epoch)
    latest = await service.checkpoints.GetCheckpoint(pb.GetCheckpointRequest(thread_id=thread_id))
    assert steps.blobs(latest.checkpoint) == {"m": b"bbbbaaaccccc"}
    assert latest.checkpoint.channel_blobs[0].value.chunk_keys == B + A + C
    assert latest.chunk_epoch == epoch
    for query in ({}, {"checkpoint_ns": ""}):
        newer, older = await steps.listed(service, thread_id=thread_id, **query)
        assert steps.blobs(newer) == {"m": b"bbbbaaaccccc"}
        assert steps.blobs(older) == {"m": b"hbbbbaaa"}
        assert [write.value.data for write in older.pending_writes] == [b"wbbbbbbbb", b"small"]
    history = await service.checkpoints.GetChannelHistory(
        pb.GetChannelHistoryRequest(thread_id=thread_id, checkpoint_id="2", channels=["m"])
    )
    assert history.channels[0].seed.data == b"hbbbbaaa"
    assert [write.value.data for write in history.channels[0].writes] == [b"wbbbbbbbb"]
    assert await stored(service, thread_id) == {A, B, C}


async def test_storage_counts_a_chunk_once_per_channel(service, steps):
    thread_id = str(uuid4())
    await write(service, thread_id, put(steps, "1", [A, B]), put(steps, "2", [A, C]), chunks=chunks(A, B, C))
    used = await service.threads.GetThreadStorage(threads_pb2.GetThreadStorageRequest(thread_id=thread_id))
    (channel,) = used.channels
    assert (channel.version_count, channel.size_bytes) == (2, 2 * (1 + 32) + 3 + 4 + 5)


async def test_copies_have_their_own_chunks(service, steps):
    thread_id, into = str(uuid4()), str(uuid4())
    await write(service, thread_id, put(steps, "1", [A, B]), chunks=chunks(A, B))
    copy = (await service.threads.CopyThread(threads_pb2.CopyThreadRequest(thread_id=thread_id))).thread_id
    request = pb.CopyCheckpointsRequest(source_thread_id=thread_id, target_thread_id=into)
    await service.checkpoints.CopyCheckpoints(request)
    await service.checkpoints.CopyCheckpoints(request)
    await service.threads.DeleteThread(threads_pb2.DeleteThreadRequest(thread_id=thread_id))
    for other in (copy, into):
        assert steps.blobs(await steps.read(service, other)) == {"m": b"haaabbbb"}
    assert await stored(service, thread_id) == set()


async def test_deletions_leave_the_chunks_in_use(service, steps):
    thread_id, run_id = str(uuid4()), str(uuid4())
    task = steps.writes("2", "t", [(0, "x", b"")])
    task.writes.writes[0].value.chunk_keys = B
    metadata = b'{"run_id":"%s"}' % run_id.encode()
    await write(service, thread_id, put(steps, "1", [A]), chunks=chunks(A))
    await write(service, thread_id, put(steps, "2", [A, B], parent="1"), task, chunks=chunks(A, B))
    await write(service, thread_id, put(steps, "3", [A, C], parent="2", metadata=metadata), chunks=chunks(A, C))
    await service.checkpoints.DeleteCheckpointsForRuns(pb.DeleteCheckpointsForRunsRequest(run_ids=[run_id]))
    assert await stored(service, thread_id) == {A, B}
    await service.checkpoints.PruneCheckpoints(pb.PruneCheckpointsRequest(thread_ids=[thread_id]))
    assert await stored(service, thread_id) == {A, B}
    latest = await steps.read(service, thread_id)
    assert (steps.blobs(latest), latest.pending_writes[0].value.data) == ({"m": b"haaabbbb"}, b"bbbb")
    await service.checkpoints.DeleteCheckpoints(pb.DeleteCheckpointsRequest(thread_id=thread_id))
    assert await stored(service, thread_id) == set()


async def test_chunks_left_out_are_refused_once_any_were_deleted(service, steps):
    thread_id = str(uuid4())
    epoch = await write(service, thread_id, put(steps, "1", [A]), chunks=chunks(A))
    assert await write(service, thread_id, put(steps, "2", [B]), chunks=chunks(B), chunk_epoch=epoch) == epoch
    await service.checkpoints.PruneCheckpoints(pb.PruneCheckpointsRequest(thread_ids=[thread_id]))
    assert await stored(service, thread_id) == {B}
    for fields in ({}, {"fence": {"run_id": str(uuid4()), "token": 5}}):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await write(service, thread_id, put(steps, "3", [A]), chunk_epoch=epoch, **fields)
        assert reason_of(caught.value) == "CHUNKS_UNKNOWN"
    assert (await steps.read(service, thread_id)).checkpoint_id == "2"
    assert await write(service, thread_id, put(steps, "3", [A]), chunks=chunks(A)) > epoch
    assert steps.blobs(await steps.read(service, thread_id)) == {"m": b"haaa"}


async def test_a_thread_made_again_starts_another_epoch(service, steps):
    thread_id = str(uuid4())
    epoch = await write(service, thread_id, put(steps, "1", [A]), chunks=chunks(A))
    await service.threads.DeleteThread(threads_pb2.DeleteThreadRequest(thread_id=thread_id))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await write(service, thread_id, put(steps, "2", [A]), chunk_epoch=epoch)
    assert reason_of(caught.value) == "CHUNKS_UNKNOWN"
    await service.threads.CreateThread(threads_pb2.CreateThreadRequest(thread_id=thread_id))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await write(service, thread_id, put(steps, "2", [A]), chunk_epoch=epoch)
    assert reason_of(caught.value) == "CHUNKS_UNKNOWN"


async def test_writes_that_race_pruning_are_whole_or_refused(service, steps):
    thread_id = str(uuid4())
    epoch = await write(service, thread_id, put(steps, "00", [A]), put(steps, "01", [C]), chunks=chunks(A, C))
    refused = 0
    for number in range(10, 40):
        prune = service.checkpoints.PruneCheckpoints(pb.PruneCheckpointsRequest(thread_ids=[thread_id]))
        writing = write(service, thread_id, put(steps, str(number), [A]), chunk_epoch=epoch)
        answers = await asyncio.gather(writing, prune, return_exceptions=True)
        if isinstance(answers[0], BaseException):
            assert reason_of(answers[0]) == "CHUNKS_UNKNOWN"
            refused += 1
        assert all(len(steps.blobs(row)["m"]) >= 4 for row in await steps.listed(service, thread_id=thread_id))
        refs = put(steps, f"{number}x", [A if number % 2 else B])
        epoch = await write(service, thread_id, refs, chunks=chunks(A, B))
    assert refused


@pytest.mark.parametrize(("key", "value_keys"), [(b"short", b""), (A, b"not sixteen")])
async def test_keys_have_sixteen_bytes(service, steps, key, value_keys):
    op = put(steps, "1", [value_keys])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await write(service, str(uuid4()), op, chunks=[pb.Chunk(key=key, data=b"x")])
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
