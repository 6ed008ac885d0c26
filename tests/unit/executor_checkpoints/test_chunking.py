"""Large payloads come apart so that what grows, shrinks or moves shares its chunks with what it was."""

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Send
from threadmill_protos.threads.v1 import checkpoints_pb2
from threadmill_runs.executor.checkpoints import chunking

Op = checkpoints_pb2.WriteCheckpointsRequest.Op


def encoded(value: object) -> bytes:
    kind, data = JsonPlusSerializer().dumps_typed(value)
    assert kind == "msgpack"
    return data


def conversation(count: int) -> list[BaseMessage]:
    return [
        (AIMessage if number % 2 else HumanMessage)(f"message {number} " + "word " * (number % 90), id=str(number))
        for number in range(count)
    ]


def new_bytes(old: bytes, new: bytes) -> int:
    """What storing `new` takes when the chunks of `old` are there."""
    head, parts = chunking.cut_up(new)
    return len(head) + sum(map(len, set(parts) - set(chunking.cut_up(old)[1])))


MESSAGES = conversation(400)
WHOLE = encoded(MESSAGES)


@pytest.mark.parametrize(
    "data",
    [
        WHOLE,
        encoded(MESSAGES[:1]),
        encoded({"text": "x" * 50_000}),
        encoded([HumanMessage("long " * 5_000), AIMessage("short")]),
        bytes(9_000),
        b"langchain_core.messages." * 1_000,
        b"",
        b"x",
    ],
)
def test_the_parts_are_the_whole(data: bytes) -> None:
    head, parts = chunking.cut_up(data)
    assert head + b"".join(parts) == data
    assert all(0 < len(part) <= chunking.MAX_CHUNK_BYTES for part in parts)
    assert len(head) <= 512


@pytest.mark.parametrize(
    "changed",
    [
        [*MESSAGES, AIMessage("one more", id="new")],
        MESSAGES[:-1],
        MESSAGES[1:],
        [*MESSAGES[:200], AIMessage("edited", id="200"), *MESSAGES[201:]],
        [HumanMessage("summary", id="first"), *MESSAGES[100:]],
    ],
    ids=["appended", "shortened", "trimmed in front", "edited in the middle", "summarised"],
)
def test_a_changed_conversation_costs_little(changed: list[BaseMessage]) -> None:
    assert len(WHOLE) > 100_000
    assert new_bytes(WHOLE, encoded(changed)) < 3 * chunking.MAX_CHUNK_BYTES


def test_a_conversation_inside_a_tool_call_shares_its_chunks() -> None:
    sent = encoded([Send("tools", {"tool_call": {"name": "search", "args": {}}, "state": {"messages": MESSAGES}})])
    assert new_bytes(WHOLE, sent) < 3 * chunking.MAX_CHUNK_BYTES


def test_a_growing_list_of_anything_costs_its_end() -> None:
    rows = [{"role": "user", "content": f"row {number} " * 20} for number in range(500)]
    assert new_bytes(encoded(rows), encoded([*rows, {"role": "user", "content": "new"}])) < 2 * chunking.MAX_CHUNK_BYTES


def put(data: bytes) -> Op:
    blob = checkpoints_pb2.ChannelBlob(channel="m", version="1", value={"type": "msgpack", "data": data})
    return Op(put=checkpoints_pb2.Checkpoint(checkpoint_id="1", channel_blobs=[blob]))


def test_small_operations_stay_as_they_are() -> None:
    op = put(bytes(chunking.MIN_PAYLOAD_BYTES - 1))
    same, chunks = chunking.split(op)
    assert same is op
    assert chunks == {}


def test_large_operations_refer_to_their_chunks() -> None:
    write = checkpoints_pb2.PendingWrite(task_id="t", value={"type": "msgpack", "data": WHOLE})
    for op in (put(WHOLE), Op(writes=checkpoints_pb2.TaskWrites(checkpoint_id="1", writes=[write]))):
        before = op.SerializeToString(deterministic=True)
        cut, chunks = chunking.split(op)
        assert op.SerializeToString(deterministic=True) == before
        value = cut.put.channel_blobs[0].value if cut.HasField("put") else cut.writes.writes[0].value
        keys = [value.chunk_keys[place : place + 16] for place in range(0, len(value.chunk_keys), 16)]
        assert value.data + b"".join(chunks[key] for key in keys) == WHOLE
        assert cut.ByteSize() < len(WHOLE) / 50
