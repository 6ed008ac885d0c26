"""Cuts large payloads where their content says so, so that versions which share content share chunks.

A conversation's channel is written whole at every step, and agents put it into the payloads of their tool calls too.
Cuts at fixed places would find nothing in common between these: they follow the messages instead, and which of their
borders become cuts depends on the message before it alone. So the same messages in a row become the same chunks,
wherever they stand and whatever is added, removed or changed around them.
"""

from collections.abc import Iterator
from hashlib import blake2b
from zlib import crc32

from threadmill_protos.threads.v1 import checkpoints_pb2

Op = checkpoints_pb2.WriteCheckpointsRequest.Op
Chunks = dict[bytes, bytes]

# Smaller payloads cost less whole than cut.
MIN_PAYLOAD_BYTES = 8192
# Two to a page of Postgres, which stores a chunk inline.
MAX_CHUNK_BYTES = 4000
_KEY_BYTES = 16
# How LangGraph's serializer begins a message of LangChain, a few bytes in. Of other payloads only the end may grow.
_MESSAGE = b"langchain_core.messages."
# A cut after one message in four, in chunks that are worth a row.
_CUT_MASK = 3
_MIN_CHUNK_BYTES = 1000
# The header of a list or map, which counts its items and so changes when one is added.
_HEADER_BYTES = 16
_MAX_HEAD_BYTES = 512


def split(op: Op) -> tuple[Op, Chunks]:
    """The operation with its large payloads cut, and their chunks by key; the same operation if none is large."""
    if all(len(value.data) < MIN_PAYLOAD_BYTES for value in _values(op)):
        return op, {}
    cut, chunks = Op(), Chunks()
    cut.CopyFrom(op)
    for value in _values(cut):
        if len(value.data) >= MIN_PAYLOAD_BYTES:
            head, parts = cut_up(value.data)
            keys = [blake2b(part, digest_size=_KEY_BYTES).digest() for part in parts]
            chunks.update(zip(keys, parts, strict=True))
            value.data, value.chunk_keys = head, b"".join(keys)
    return cut, chunks


def keys_of(checkpoint: checkpoints_pb2.Checkpoint) -> Iterator[bytes]:
    """Keys of all chunks that a checkpoint was read from."""
    values = [blob.value for blob in checkpoint.channel_blobs]
    values += [write.value for write in checkpoint.pending_writes]
    for keys in (value.chunk_keys for value in values if value.chunk_keys):
        yield from (keys[place : place + _KEY_BYTES] for place in range(0, len(keys), _KEY_BYTES))


def cut_up(data: bytes) -> tuple[bytes, list[bytes]]:
    """A head, which is likely to change, and the chunks that follow it."""
    first = data.find(_MESSAGE)
    start = first if 0 < first <= _MAX_HEAD_BYTES else _HEADER_BYTES
    chunks: list[bytes] = []
    chunk_start = start
    for piece_start, piece_end in _pieces(data, start):
        while piece_end - chunk_start > MAX_CHUNK_BYTES:
            # What was gathered goes first, so that a long message is cut alike wherever it stands.
            end = piece_start if chunk_start < piece_start else chunk_start + MAX_CHUNK_BYTES
            chunks.append(data[chunk_start:end])
            chunk_start = end
        long_enough = piece_end - chunk_start >= _MIN_CHUNK_BYTES
        if long_enough and crc32(data[piece_start:piece_end]) & _CUT_MASK == 0:
            chunks.append(data[chunk_start:piece_end])
            chunk_start = piece_end
    if chunk_start < len(data):
        chunks.append(data[chunk_start:])
    return data[:start], chunks


def _values(op: Op) -> list[checkpoints_pb2.TypedValue]:
    if op.HasField("put"):
        return [blob.value for blob in op.put.channel_blobs]
    return [write.value for write in op.writes.writes]


def _pieces(data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Bounds of the messages, or of all that is left if there are none."""
    while start < len(data):
        end = data.find(_MESSAGE, start + 1)
        end = len(data) if end < 0 else end
        yield start, end
        start = end
