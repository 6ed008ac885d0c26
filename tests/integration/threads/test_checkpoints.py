"""Storing, reading and listing checkpoints."""

from uuid import uuid4

import grpc
import pytest
from threadmill_protos.threads.v1 import checkpoints_pb2 as pb
from threadmill_protos.threads.v1 import threads_pb2


async def test_no_checkpoint_is_an_empty_response(service, steps):
    assert await steps.read(service, str(uuid4())) is None
    assert await steps.read(service, str(uuid4()), "some-id") is None


async def test_a_checkpoint_comes_back_whole(service, steps):
    thread_id = str(uuid4())
    await steps.write(
        service,
        thread_id,
        steps.put("1", new={"a": ("1", b"a1"), "b": ("1", b"b1")}, metadata=b'{"source":"input","step":-1}'),
        steps.writes("1", "task", [(0, "a", b"w0"), (1, "b", b"")], path="~p"),
        steps.put("2", parent="1", new={"a": ("2", None)}, versions={"b": "1"}),
    )
    first = await steps.read(service, thread_id, "1")
    assert first.thread_id == thread_id
    assert (first.checkpoint_id, first.parent_checkpoint_id, first.checkpoint_ns) == ("1", "", "")
    assert first.body == pb.TypedValue(type="msgpack", data=b"1")
    assert first.metadata_json == b'{"source":"input","step":-1}'
    assert dict(first.channel_versions) == {"a": "1", "b": "1"}
    assert steps.blobs(first) == {"a": b"a1", "b": b"b1"}
    assert [(w.task_id, w.idx, w.channel, w.value.data, w.task_path) for w in first.pending_writes] == [
        ("task", 0, "a", b"w0", "~p"),
        ("task", 1, "b", b"", "~p"),
    ]
    latest = await steps.read(service, thread_id)
    assert (latest.checkpoint_id, latest.parent_checkpoint_id) == ("2", "1")
    assert steps.blobs(latest) == {"b": b"b1"}, "b is shared with the parent, a holds nothing any more"
    assert (await steps.row_counts(service, thread_id))["channel_blob"] == 3
    assert await steps.read(service, thread_id, "1 ") is None
    assert await steps.read(service, thread_id, checkpoint_ns="other") is None


async def test_writes_come_in_replay_order(service, steps):
    thread_id = str(uuid4())
    await steps.write(
        service,
        thread_id,
        steps.put("1"),
        steps.writes("1", "z", [(10, "x", b"5"), (9, "x", b"4")], path="a"),
        steps.writes("1", "b", [(0, "x", b"6")], path="b"),
        steps.writes("1", "c", [(0, "x", b"2")]),
        steps.writes("1", "B", [(0, "x", b"1")]),
        steps.writes("1", "a", [(-1, "x", b"3")], path="Z"),
    )
    latest = await steps.read(service, thread_id)
    assert b"".join(write.value.data for write in latest.pending_writes) == b"123456"


async def test_regular_writes_are_kept_and_special_ones_replaced(service, steps):
    thread_id = str(uuid4())
    again = [(0, "x", b"again"), (-1, "e", b"again"), (1, "y", b"added")]
    await steps.write(service, thread_id, steps.writes("1", "t", [(0, "x", b"first"), (-1, "e", b"first")]))
    await steps.write(service, thread_id, steps.put("1"), steps.writes("1", "t", again))
    await steps.write(
        service,
        thread_id,
        steps.writes("1", "u", [(0, "x", b"first"), (-1, "e", b"first")]),
        steps.writes("1", "u", again),
    )
    latest = await steps.read(service, thread_id)
    found = {(write.task_id, write.idx): write.value.data for write in latest.pending_writes}
    one = {-1: b"again", 0: b"first", 1: b"added"}
    assert found == {(task, idx): data for task in "tu" for idx, data in one.items()}


async def test_putting_again_replaces_the_checkpoint_and_keeps_blobs(service, steps):
    thread_id = str(uuid4())
    await steps.write(service, thread_id, steps.put("1", new={"a": ("1", b"a")}, metadata=b'{"n":1}'))
    await steps.write(
        service,
        thread_id,
        steps.put("1", new={"a": ("1", b"other")}),
        steps.put("1", new={"a": ("1", b"a")}, metadata=b'{"n":2}'),
    )
    latest = await steps.read(service, thread_id)
    assert latest.metadata_json == b'{"n":2}'
    assert steps.blobs(latest) == {"a": b"a"}


async def test_a_write_outside_a_run_creates_the_thread(service, steps):
    thread_id = str(uuid4())
    await steps.write(service, thread_id, steps.put("1"))
    made = await service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))
    assert made.state == threads_pb2.THREAD_STATE_IDLE


async def test_refused_content_is_the_callers_fault(service, steps):
    for op in (
        steps.put("1", metadata=b"[]"),
        steps.put("1", ns="a\0b"),
        steps.put(""),
        steps.put("1", parent="1"),
        steps.put("1", new={"a\0": ("1", b"")}),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await steps.write(service, str(uuid4()), op)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
async def history(start_service, steps):
    """A service that lists in batches of 2, with six checkpoints of thread A (one in a subgraph) and one of B."""
    service = await start_service(list_batch=2)
    a, b = sorted(str(uuid4()) for _ in range(2))
    sources = ["input", "loop", "loop", "input", "loop"]
    ops = [
        steps.put(str(n), new={"x": (str(n), str(n).encode())}, metadata=f'{{"source":"{source}","step":{n}}}'.encode())
        for n, source in enumerate(sources, 1)
    ]
    await steps.write(service, a, *ops, steps.put("3", ns="child:1"), steps.writes("3", "t", [(0, "x", b"w")]))
    await steps.write(service, b, steps.put("3"))
    return service, a, b


async def test_listing(history, steps):
    service, a, b = history

    async def ids(**fields) -> str:
        return "".join(row.checkpoint_id for row in await steps.listed(service, **fields))

    assert await ids(thread_id=a) == "543321"
    assert await ids(thread_id=a, checkpoint_ns="") == "54321"
    assert await ids(thread_id=a, checkpoint_ns="child:1") == "3"
    assert await ids() == "5433321"
    assert await ids(checkpoint_ns="") == "543321"
    assert await ids(thread_id=a, checkpoint_id="3") == "33"
    assert await ids(thread_id=a, checkpoint_ns="", checkpoint_id="3") == "3"
    assert await ids(checkpoint_id="3") == "333"
    assert await ids(thread_id=a, checkpoint_ns="", checkpoint_id="3", before_checkpoint_id="3") == ""
    assert await ids(thread_id=a, checkpoint_ns="", before_checkpoint_id="4") == "321"
    assert await ids(thread_id=a, before_checkpoint_id="3") == "21"
    assert await ids(before_checkpoint_id="4", limit=4) == "3332"
    for limit in range(1, 8):
        assert await ids(thread_id=a, limit=limit) == "543321"[:limit]
    assert await ids(thread_id=a, metadata_json=b'{"source":"loop"}') == "532"
    assert await ids(thread_id=a, metadata_json=b'{"source":"input"}', limit=1, before_checkpoint_id="4") == "1"
    assert await ids(thread_id=a, metadata_json=b'{"source":"loop","step":3}') == "3"
    assert await ids(thread_id=str(uuid4())) == ""
    # The one that reaches the bytes is the last; there is always one.
    assert await ids(thread_id=a, max_bytes=1) == "5"
    assert await ids(thread_id=a, max_bytes=1, before_checkpoint_id="5") == "4"
    assert [len(await ids(thread_id=a, checkpoint_ns="", max_bytes=most)) for most in (1, 40, 75, 1000)] == [1, 2, 3, 5]
    assert [row.thread_id for row in await steps.listed(service, checkpoint_id="3", checkpoint_ns="")] == [b, a]
    (third,) = await steps.listed(service, thread_id=a, checkpoint_ns="", checkpoint_id="3")
    assert steps.blobs(third) == {"x": b"3"}
    assert [write.value.data for write in third.pending_writes] == [b"w"]


async def test_delete_checkpoints_keeps_the_thread(history, steps):
    service, a, b = history
    await service.checkpoints.DeleteCheckpoints(pb.DeleteCheckpointsRequest(thread_id=a))
    assert set((await steps.row_counts(service, a)).values()) == {0}
    await service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=a))
    assert await steps.read(service, b)
    await service.checkpoints.PruneCheckpoints(pb.PruneCheckpointsRequest(thread_ids=[a, b], delete_all=True))
    assert set((await steps.row_counts(service)).values()) == {0}
