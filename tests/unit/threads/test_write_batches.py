"""A batch is what remains of operations applied in order."""

from uuid import uuid4

from threadmill_threads.checkpoints import ChannelBlob, Checkpoint, CheckpointKey, PendingWrite, TypedValue, WriteBatch
from threadmill_threads.domain import Json, ThreadId

THREAD = ThreadId(uuid4())
KEY = CheckpointKey("", "1")


def checkpoint(body: bytes, *blobs: ChannelBlob) -> Checkpoint:
    return Checkpoint(THREAD, KEY, "", TypedValue("json", body), Json("{}"), Json("{}"), blobs)


def blob(version: str, data: bytes) -> ChannelBlob:
    return ChannelBlob("x", version, TypedValue("json", data))


def pending(idx: int, data: bytes) -> PendingWrite:
    return PendingWrite("task", idx, "x", TypedValue("json", data), "")


def test_the_last_put_and_the_first_blob_win():
    batch = WriteBatch()
    batch.put(checkpoint(b"1", blob("1", b"first")))
    batch.put(checkpoint(b"2", blob("1", b"second"), blob("2", b"third")))
    assert [put.body.data for put in batch.puts.values()] == [b"2"]
    assert [kept.value.data for kept in batch.blobs.values()] == [b"first", b"third"]


def test_the_first_regular_and_the_last_special_write_win():
    batch = WriteBatch()
    batch.write(KEY, [pending(0, b"first"), pending(-1, b"first")])
    batch.write(KEY, [pending(0, b"last"), pending(-1, b"last")])
    batch.write(CheckpointKey("", "2"), [pending(0, b"other")])
    assert [write.value.data for write in batch.writes.values()] == [b"first", b"last", b"other"]
