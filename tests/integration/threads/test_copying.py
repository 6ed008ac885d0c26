"""Copies are whole, apart from their source, and at rest."""

import json
from uuid import UUID, uuid4

from threadmill_protos.threads.v1 import checkpoints_pb2 as pb
from threadmill_protos.threads.v1 import threads_pb2


async def source(service, steps) -> str:
    """A busy thread with values, and two checkpoints whose metadata name it."""
    thread_id, run_id = str(uuid4()), str(uuid4())
    await service.threads.CreateThread(
        threads_pb2.CreateThreadRequest(thread_id=thread_id, metadata_json=b'{"graph_id":"g","a":1}')
    )
    resting = threads_pb2.RestingState(
        state=threads_pb2.THREAD_STATE_INTERRUPTED, values_json=b"{}", interrupts_json=b"{}", error_json=b"null"
    )
    await service.checkpoints.WriteCheckpoints(pb.WriteCheckpointsRequest(thread_id=thread_id, resting=resting))
    begin = threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=run_id, config_json=b'{"tags":[]}')
    await service.threads.BeginRun(begin)
    metadata = json.dumps({"step": 1, "thread_id": thread_id, "run_id": run_id}).encode()
    await steps.write(
        service,
        thread_id,
        steps.put("1", new={"x": ("1", b"x1")}),
        steps.put("2", parent="1", versions={"x": "1"}, metadata=metadata),
        steps.writes("2", "t", [(-3, "__interrupt__", b"paused")]),
        steps.put("3", ns="child:1", new={"y": ("1", b"y1")}),
    )
    return thread_id


def without_thread(checkpoint: pb.Checkpoint) -> pb.Checkpoint:
    plain = pb.Checkpoint()
    plain.CopyFrom(checkpoint)
    plain.ClearField("thread_id")
    plain.ClearField("metadata_json")
    return plain


async def test_copy_thread(service, steps):
    thread_id = await source(service, steps)
    copy = await service.threads.CopyThread(threads_pb2.CopyThreadRequest(thread_id=thread_id))
    assert UUID(copy.thread_id).version == 4
    assert copy.metadata_json == b'{"graph_id":"g","a":1}'
    assert (copy.state, copy.config_json) == (threads_pb2.THREAD_STATE_IDLE, b"{}")
    assert (copy.values_json, copy.interrupts_json, copy.error_json) == (b"", b"", b"")
    assert await service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=copy.thread_id)) == copy

    theirs = await steps.listed(service, thread_id=copy.thread_id)
    ours = await steps.listed(service, thread_id=thread_id)
    assert list(map(without_thread, theirs)) == list(map(without_thread, ours))
    assert {row.thread_id for row in theirs} == {copy.thread_id}
    renamed = json.loads(theirs[1].metadata_json)
    assert list(renamed) == ["step", "thread_id", "run_id"]
    assert renamed["thread_id"] == copy.thread_id
    assert theirs[2].metadata_json == b"{}"

    await steps.write(service, copy.thread_id, steps.put("4", parent="2", new={"x": ("2", b"x2")}))
    await service.threads.DeleteThread(threads_pb2.DeleteThreadRequest(thread_id=copy.thread_id))
    assert await steps.listed(service, thread_id=thread_id) == ours


async def test_copy_checkpoints_into_a_new_and_an_existing_thread(service, steps):
    thread_id, target = await source(service, steps), str(uuid4())
    request = pb.CopyCheckpointsRequest(source_thread_id=thread_id, target_thread_id=target)
    await service.checkpoints.CopyCheckpoints(request)
    await steps.write(service, target, steps.put("4", parent="2", versions={"x": "1"}))
    await service.checkpoints.CopyCheckpoints(request)
    latest = await steps.read(service, target)
    assert (latest.checkpoint_id, steps.blobs(latest)) == ("4", {"x": b"x1"})
    assert [row.checkpoint_id for row in await steps.listed(service, thread_id=target)] == ["4", "3", "2", "1"]
    await service.checkpoints.CopyCheckpoints(
        pb.CopyCheckpointsRequest(source_thread_id=str(uuid4()), target_thread_id=target)
    )


async def test_storage(service, steps):
    thread_id = await source(service, steps)
    request = threads_pb2.GetThreadStorageRequest(thread_id=thread_id)
    used = await service.threads.GetThreadStorage(request)
    assert used.checkpoint_count == 3
    assert used.checkpoint_bytes > 3
    channels = {row.channel: (row.version_count, row.size_bytes) for row in used.channels}
    assert channels == {"x": (1, 2), "y": (1, 2)}
    assert (used.pending_write_count, used.pending_write_bytes) == (1, 6)
    await service.checkpoints.DeleteCheckpoints(pb.DeleteCheckpointsRequest(thread_id=thread_id))
    assert await service.threads.GetThreadStorage(request) == threads_pb2.ThreadStorage()
