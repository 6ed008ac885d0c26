"""Taking checkpoints away: what must stay stays, and nothing is left that nobody refers to."""

from uuid import uuid4

import pytest
from threadmill_protos.threads.v1 import checkpoints_pb2 as pb
from threadmill_protos.threads.v1 import threads_pb2

ORPHANS = """
SELECT
    (SELECT count(*) FROM threads.pending_write w WHERE NOT EXISTS (
        SELECT FROM threads.checkpoint c WHERE (c.thread_id, c.checkpoint_ns, c.checkpoint_id)
            = (w.thread_id, w.checkpoint_ns, w.checkpoint_id)))
  + (SELECT count(*) FROM threads.channel_blob b WHERE NOT EXISTS (
        SELECT FROM threads.checkpoint c WHERE (c.thread_id, c.checkpoint_ns) = (b.thread_id, b.checkpoint_ns)
            AND c.channel_versions ->> b.channel = b.version))
  + (SELECT count(*) FROM threads.chunk k WHERE NOT EXISTS (
        SELECT FROM threads.channel_blob b WHERE b.thread_id = k.thread_id AND b.chunk_keys = k.key))
"""
RUN_1, RUN_2 = str(uuid4()), str(uuid4())


def by(run_id: str) -> bytes:
    return f'{{"run_id":"{run_id}"}}'.encode()


@pytest.fixture
async def thread_id(service, steps) -> str:
    """Two checkpoints by run 1, then two by run 2, all sharing channel `s`; a subgraph of each; writes on each.

    Every value of channel `x` has a chunk, an empty one.
    """
    thread_id = str(uuid4())
    for run_id, ids, token in ((RUN_1, "12", 1), (RUN_2, "34", 2)):
        begin = threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=run_id, create_if_missing=True)
        await service.threads.BeginRun(begin)
        fence = {"run_id": run_id, "token": token}
        if run_id == RUN_2:  # its input is written onto the last checkpoint of the run before
            await steps.write(service, thread_id, steps.writes("2", "input", [(0, "x", b"i")]), fence=fence)
        for n in ids:
            parent = str(int(n) - 1) if n != "1" else ""
            shared = {"s": ("1", b"shared")} if n == "1" else {}
            put = steps.put(
                n, parent=parent, new={"x": (n, n.encode()), **shared}, versions={"s": "1"}, metadata=by(run_id)
            )
            put.put.channel_blobs[0].value.chunk_keys = n.encode() * 16
            await steps.write(
                service,
                thread_id,
                put,
                steps.writes(n, "t", [(0, "x", b"w"), (-3, "__interrupt__", b"w")]),
                steps.put(f"{n}c", ns="child:1", new={"y": (n, b"y")}, metadata=by(run_id)),
                fence=fence,
                chunks=[pb.Chunk(key=n.encode() * 16, data=b"")],
            )
        if run_id == RUN_1:
            await service.threads.EndRun(threads_pb2.EndRunRequest(thread_id=thread_id, fence=fence))
    return thread_id


async def ids(service, steps, thread_id: str) -> str:
    return " ".join(row.checkpoint_id for row in await steps.listed(service, thread_id=thread_id))


async def orphans(service) -> int:
    return await service.sql.fetchval(ORPHANS)


async def test_deleting_a_thread_leaves_nothing(service, steps, thread_id):
    end = threads_pb2.EndRunRequest(
        thread_id=thread_id, fence={"run_id": RUN_2, "token": 2}, resting={"values_json": b"{}"}
    )
    await service.threads.EndRun(end)
    assert 0 not in (await steps.row_counts(service)).values()
    await service.threads.DeleteThread(threads_pb2.DeleteThreadRequest(thread_id=thread_id))
    assert set((await steps.row_counts(service)).values()) == {0}


async def test_rollback_takes_the_run_away(service, steps, thread_id):
    end = threads_pb2.EndRunRequest(
        thread_id=thread_id,
        fence={"run_id": RUN_2, "token": 2},
        delete_checkpoints=True,
        resting={"values_json": b"null"},
    )
    await service.threads.EndRun(end)
    assert await ids(service, steps, thread_id) == "2c 2 1c 1"
    latest = await steps.read(service, thread_id)
    assert steps.blobs(latest) == {"x": b"2", "s": b"shared"}
    assert [write.task_id for write in latest.pending_writes] == ["t", "t"], "nor is the run's input left on it"
    assert await orphans(service) == 0
    read = await service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))
    assert read.values_json == b"null"


async def test_a_fenced_rollback_deletes_nothing(service, steps, thread_id):
    await steps.read(service, thread_id, fence={"run_id": RUN_2, "token": 9})
    end = threads_pb2.EndRunRequest(
        thread_id=thread_id, fence={"run_id": RUN_2, "token": 2}, delete_checkpoints=True, delete_thread=True
    )
    with pytest.raises(Exception, match="may no longer write"):
        await service.threads.EndRun(end)
    assert await ids(service, steps, thread_id) == "4c 4 3c 3 2c 2 1c 1"


async def test_delete_for_runs(service, steps, thread_id):
    await service.checkpoints.DeleteCheckpointsForRuns(
        pb.DeleteCheckpointsForRunsRequest(run_ids=[RUN_1, str(uuid4())])
    )
    assert await ids(service, steps, thread_id) == "4c 4 3c 3"
    latest = await steps.read(service, thread_id)
    assert steps.blobs(latest) == {"x": b"4", "s": b"shared"}, "the blob that run 1 stored is shared"
    assert await orphans(service) == 0
    await service.checkpoints.DeleteCheckpointsForRuns(pb.DeleteCheckpointsForRunsRequest())
    await service.checkpoints.DeleteCheckpointsForRuns(pb.DeleteCheckpointsForRunsRequest(run_ids=[RUN_2]))
    assert set((await steps.row_counts(service)).values()) == {0}


async def test_prune_keeps_the_latest_of_each_namespace(service, steps, thread_id):
    request = threads_pb2.PruneThreadsRequest(
        thread_ids=[thread_id, str(uuid4())], strategy=threads_pb2.TTL_STRATEGY_KEEP_LATEST
    )
    before = await steps.read(service, thread_id)
    assert (await service.threads.PruneThreads(request)).pruned_count == 1
    assert await ids(service, steps, thread_id) == "4c 4"
    assert await steps.read(service, thread_id) == before
    assert await orphans(service) == 0
    assert (await steps.row_counts(service))["channel_blob"] == 3


async def test_prune_drops_what_tasks_of_steps_that_are_over_left(service, steps):
    """Tasks of the newest root checkpoint may go on; a namespace without a task is a subgraph with its own memory."""
    thread_id = str(uuid4())

    def child(checkpoint_id: str, ns: str, root: str | None) -> pb.WriteCheckpointsRequest.Op:
        metadata = b"{}" if root is None else b'{"parents":{"":"%s"}}' % root.encode()
        return steps.put(checkpoint_id, ns=ns, new={"x": (checkpoint_id, b"x")}, metadata=metadata)

    await steps.write(
        service,
        thread_id,
        *(steps.put(n, parent=str(int(n) - 1), new={"s": (n, b"s")}) for n in "12"),
        child("11", "over:t1", "1"),
        child("12", "over:t1", "1"),
        child("13", "over:t1|inner:t2", "1"),
        child("21", "now:t3", "2"),
        child("22", "now:t3", "2"),
        child("31", "next:t4", "3"),
        child("14", "memory", "1"),
        child("15", "unknown:t5", None),
        *(steps.writes(each, "t", [(0, "x", b"w")], ns=ns) for each, ns in (("12", "over:t1"), ("22", "now:t3"))),
    )
    await service.checkpoints.PruneCheckpoints(pb.PruneCheckpointsRequest(thread_ids=[thread_id]))
    assert await ids(service, steps, thread_id) == "31 22 2 15 14"
    assert await orphans(service) == 0
    assert (await steps.row_counts(service, thread_id))["pending_write"] == 1


async def test_prune_delete(service, steps, thread_id):
    request = threads_pb2.PruneThreadsRequest(thread_ids=[thread_id, str(uuid4())])
    assert (await service.threads.PruneThreads(request)).pruned_count == 1
    assert set((await steps.row_counts(service)).values()) == {0}
    assert (await service.threads.PruneThreads(request)).pruned_count == 0
    assert (await service.threads.PruneThreads(threads_pb2.PruneThreadsRequest())).pruned_count == 0


async def test_prune_keeps_writes_whose_checkpoint_is_on_its_way(service, steps, thread_id):
    await steps.write(service, thread_id, steps.writes("5", "t", [(0, "x", b"early")]))
    await steps.write(service, thread_id, steps.writes("0", "t", [(0, "x", b"stranded")]))
    await service.checkpoints.PruneCheckpoints(pb.PruneCheckpointsRequest(thread_ids=[thread_id]))
    await steps.write(service, thread_id, steps.put("5", parent="4"))
    assert [write.value.data for write in (await steps.read(service, thread_id)).pending_writes] == [b"early"]
    assert await orphans(service) == 0


COUNTED = b'{"counters_since_delta_snapshot":{"d":[1,1]}}'


@pytest.mark.parametrize("unset", [None, "missing"])
async def test_prune_keeps_what_delta_channels_are_rebuilt_from(service, steps, unset):
    """`d` is a delta channel with snapshots at 2 and 5, `e` a plain one that merely holds nothing."""
    thread_id = str(uuid4())
    for n in range(1, 5):
        snapshot = n == 2
        delta = {"d": (str(n), b"snapshot")} if snapshot else ({} if unset else {"d": (str(n), None)})
        await steps.write(
            service,
            thread_id,
            steps.put(
                str(n),
                parent=str(n - 1) if n > 1 else "",
                new={**delta, "e": (str(n), b"e" if n == 1 else None)},
                versions={"d": str(n)},
                metadata=b"{}" if snapshot else COUNTED,
            ),
            steps.writes(str(n), "t", [(0, "d", f"d{n}".encode())]),
        )
    history = pb.GetChannelHistoryRequest(thread_id=thread_id, channels=["d"])
    before = await service.checkpoints.GetChannelHistory(history)
    await service.checkpoints.PruneCheckpoints(pb.PruneCheckpointsRequest(thread_ids=[thread_id]))
    assert await ids(service, steps, thread_id) == "4 3 2"
    assert await service.checkpoints.GetChannelHistory(history) == before
    assert [write.value.data for write in before.channels[0].writes] == [b"d2", b"d3"]
    assert await orphans(service) == 0
    await steps.write(service, thread_id, steps.put("5", parent="4", new={"d": ("5", b"snapshot")}))
    await service.checkpoints.PruneCheckpoints(pb.PruneCheckpointsRequest(thread_ids=[thread_id]))
    assert await ids(service, steps, thread_id) == "5"
