"""Histories of channels are those that LangGraph's own in-memory saver answers."""

from random import Random
from uuid import uuid4

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from threadmill_protos.threads.v1 import checkpoints_pb2 as pb


async def ask(service, thread_id, channels, checkpoint_id="") -> dict[str, tuple[list[bytes], bytes | None]]:
    response = await service.checkpoints.GetChannelHistory(
        pb.GetChannelHistoryRequest(thread_id=thread_id, checkpoint_id=checkpoint_id, channels=channels)
    )
    return {
        row.channel: ([write.value.data for write in row.writes], row.seed.data if row.HasField("seed") else None)
        for row in response.channels
    }


async def test_each_channel_ends_at_its_own_seed(service, steps):
    thread_id = str(uuid4())
    await steps.write(
        service,
        thread_id,
        steps.put("1", new={"a": ("1", b"A1"), "b": ("1", b"B1")}),
        steps.writes("1", "t", [(0, "a", b"a1"), (1, "b", b"b1"), (2, "c", b"c1")]),
        steps.put("2", parent="1", new={"a": ("2", None), "b": ("2", b"B2")}),
        steps.writes("2", "u", [(0, "a", b"a2-later")], path="2"),
        steps.writes("2", "v", [(0, "a", b"a2-first"), (1, "b", b"b2")], path="1"),
        steps.put("3", parent="2", versions={"a": "2", "b": "2"}),
        steps.writes("3", "t", [(0, "a", b"own")]),
        steps.put("2x", parent="1"),
        steps.writes("2x", "t", [(0, "a", b"other branch")]),
    )
    expected = {
        "b": ([b"b2"], b"B2"),
        "a": ([b"a1", b"a2-first", b"a2-later"], b"A1"),
        "c": ([b"c1"], None),
        "unknown": ([], None),
    }
    assert list((await ask(service, thread_id, ["b", "a", "c", "unknown", "b"])).items()) == list(expected.items())
    assert await ask(service, thread_id, ["a"], "2") == {"a": ([b"a1"], b"A1")}
    assert await ask(service, thread_id, ["a"], "1") == {"a": ([], None)}
    assert await ask(service, thread_id, ["a"], "9") == {"a": ([], None)}
    assert await ask(service, thread_id, []) == {}
    assert await ask(service, str(uuid4()), ["a"]) == {"a": ([], None)}


@pytest.mark.parametrize("seed", range(5))
async def test_random_trees_agree_with_langgraph(service, steps, seed):
    random, saver, thread_id = Random(seed), InMemorySaver(), str(uuid4())
    channels, ids = ["a", "b", "c"], []
    for n in range(12):
        checkpoint_id, parent = f"{n:02}", random.choice([*ids[-3:], *ids[:1]]) if ids else ""
        new = {channel: random.choice([None, b"%d" % n]) for channel in channels if random.random() < 0.6}
        config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        if parent:
            config["configurable"]["checkpoint_id"] = parent
        checkpoint = empty_checkpoint() | {"id": checkpoint_id}
        checkpoint["channel_values"] = {channel: value for channel, value in new.items() if value is not None}
        checkpoint["channel_versions"] = {channel: str(n) for channel in new}
        stored = saver.put(config, checkpoint, {}, checkpoint["channel_versions"])
        items = [(random.choice(channels), b"%d.%d" % (n, k)) for k in range(3)]
        saver.put_writes(stored, items, "task", "path")
        await steps.write(
            service,
            thread_id,
            steps.put(checkpoint_id, parent=parent, new={channel: (str(n), data) for channel, data in new.items()}),
            steps.writes(checkpoint_id, "task", [(k, *item) for k, item in enumerate(items)], path="path"),
        )
        ids.append(checkpoint_id)
        config["configurable"]["checkpoint_id"] = checkpoint_id
        theirs = saver.get_delta_channel_history(config=config, channels=channels)
        assert await ask(service, thread_id, channels) == {
            channel: ([value for _, _, value in found["writes"]], found.get("seed"))
            for channel, found in theirs.items()
        }
