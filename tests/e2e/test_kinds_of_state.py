"""States that are no plain dictionaries of JSON: what runs, states, histories and updates make of them."""

import pytest
from langgraph_sdk.client import LangGraphClient

from .driving import Document

ROUNDS = [f"note {n + 1}" for n in range(12)]


async def logs(client: LangGraphClient, thread_id: str) -> list[Document]:
    return list(await client.threads.get_history(thread_id, limit=100))  # type: ignore[arg-type]


async def test_state_of_dataclasses(client: LangGraphClient, thread_id: str) -> None:
    result = await client.runs.wait(thread_id, "dataclasses", input={"name": "mine"})
    assert result == {"origin": {"x": 1, "y": 2}, "name": "mine", "moves": 1}
    assert (await client.threads.get_state(thread_id))["values"] == result
    await client.threads.update_state(thread_id, {"origin": {"x": 5, "y": 5}, "moves": 10})
    again = await client.runs.wait(thread_id, "dataclasses", input={"name": "moved"})
    assert again == {"origin": {"x": 6, "y": 7}, "name": "moved", "moves": 12}
    assert (await client.threads.get(thread_id))["values"] == again


async def test_reducer_of_the_users_own(client: LangGraphClient, thread_id: str) -> None:
    result = await client.runs.wait(thread_id, "reduced", input={"recent": ["asked"]})
    assert result == {"recent": ["round 3", "round 4", "round 5"], "rounds": 5}
    await client.threads.update_state(thread_id, {"recent": ["by hand"]})
    assert (await client.threads.get_state(thread_id))["values"]["recent"] == ["round 4", "round 5", "by hand"]


async def test_private_channels_are_in_the_state_and_not_in_the_output(client: LangGraphClient, thread_id: str) -> None:
    result = await client.runs.wait(thread_id, "private", input={"question": "why"})
    assert result == {"question": "why", "answer": "DRAFT OF WHY"}
    paused = str((await client.threads.create())["thread_id"])
    await client.runs.wait(paused, "private", input={"question": "how"}, interrupt_before=["publish"])
    assert (await client.threads.get_state(paused))["next"] == ["publish"]
    assert await client.runs.wait(paused, "private", input=None) == {"question": "how", "answer": "DRAFT OF HOW"}


async def test_delta_channels_are_whole_at_every_checkpoint(client: LangGraphClient, thread_id: str) -> None:
    assert (await client.runs.wait(thread_id, "deltas", input={"log": []}))["log"] == ROUNDS[:6]
    assert (await client.runs.wait(thread_id, "deltas", input={}))["log"] == ROUNDS
    states = [state for state in await logs(client, thread_id) if state["metadata"]["source"] == "loop"]
    shown = [state["values"].get("log", []) for state in reversed(states)]
    assert shown == sorted(shown, key=len)
    assert all(log == ROUNDS[: len(log)] for log in shown)
    assert {len(log) for log in shown} == set(range(13))


async def test_delta_channels_branch_and_copy(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "deltas", input={"log": []})
    base = next(state for state in await logs(client, thread_id) if state["values"].get("log") == ROUNDS[:3])
    fork = await client.threads.update_state(thread_id, {"log": ["by hand"]}, checkpoint=base["checkpoint"])
    forked = await client.threads.get_state(thread_id, checkpoint=fork["checkpoint"])
    assert forked["values"]["log"] == [*ROUNDS[:3], "by hand"]
    copy = await client.threads.copy(thread_id)
    assert copy is not None
    ended = await client.runs.wait(copy["thread_id"], "deltas", input=None)
    assert ended["log"] == [*ROUNDS[:3], "by hand", *ROUNDS[3:6]]
    assert (await client.threads.get_state(thread_id))["values"]["log"] == [*ROUNDS[:3], "by hand"]


async def test_pruned_delta_channels_go_on(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "deltas", input={"log": []})
    await client.threads.prune([thread_id], strategy="keep_latest")
    assert len(await logs(client, thread_id)) < 6, "what the latest state is computed from stays"
    assert (await client.threads.get_state(thread_id))["values"]["log"] == ROUNDS[:6]
    assert (await client.runs.wait(thread_id, "deltas", input={}))["log"] == ROUNDS


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_values_that_json_does_not_know(client: LangGraphClient, thread_id: str, durability: str) -> None:
    given = {"unicode": "żółć \U0001f600 \u2028", "nested": [[], {}, None, True, 1.5, 2**53]}
    result = await client.runs.wait(thread_id, "rich", input={"given": given}, durability=durability)  # type: ignore[call-overload]
    values = result["values"]
    assert values["when"] == "2026-01-02T03:04:05+00:00"
    assert values["id"] == "01a22687-efca-710a-b8d8-6ae79f4eccc8"
    assert values["some"] == ["a"]
    assert values["pair"] == [1, 2]
    assert values["given"] == given
    state = await client.threads.get_state(thread_id)
    assert state["values"] == result
    assert (await client.threads.get(thread_id))["values"] == result
