"""Removal and writing at once: a checkpoint that is read back has all its values, whichever came first."""

import asyncio
from uuid import uuid4

from threadmill_protos.threads.v1 import checkpoints_pb2 as pb


async def test_pruning_never_takes_a_blob_that_a_new_checkpoint_shares(service, steps):
    thread_id = str(uuid4())
    await steps.write(service, thread_id, steps.put("0000", new={"shared": ("1", b"s")}))
    stop = asyncio.Event()

    async def prune() -> None:
        while not stop.is_set():
            await service.checkpoints.PruneCheckpoints(pb.PruneCheckpointsRequest(thread_ids=[thread_id]))

    async def write() -> None:
        for n in range(1, 41):
            own = {"own": (str(n), b"o")}
            put = steps.put(f"{n:04}", parent=f"{n - 1:04}", new=own, versions={"shared": "1"})
            await steps.write(service, thread_id, put, steps.writes(f"{n:04}", "t", [(0, "own", b"w")]))
            assert steps.blobs(await steps.read(service, thread_id)) == {"shared": b"s", "own": b"o"}
        stop.set()

    await asyncio.wait_for(asyncio.gather(prune(), prune(), write()), 60)
    await service.checkpoints.PruneCheckpoints(pb.PruneCheckpointsRequest(thread_ids=[thread_id]))
    assert await steps.row_counts(service, thread_id) == {
        "checkpoint": 1,
        "channel_blob": 2,
        "chunk": 0,
        "pending_write": 1,
        "thread_values": 0,
    }
