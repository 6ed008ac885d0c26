"""Fifty clients at one thread at once: every accepted run ends, in order, and the thread's state is consistent."""

import asyncio
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError
from threadmill_cli.stack import Stack

from .driving import Document, Gate, collect, run_has, thread_has

CLIENTS = 50
FINAL = {"success", "interrupted"}


async def fire(stack: Stack, thread_id: str, gate: Gate, strategy: Any) -> list[Document | ConflictError]:
    """Each client creates a run of its own; the runs that were accepted, and the refusals."""

    async def one(number: int) -> Document | ConflictError:
        async with get_client(url=stack.url) as client:
            try:
                run = await client.runs.create(
                    thread_id, "gated", input=gate.input(str(number)), multitask_strategy=strategy
                )
            except ConflictError as refusal:
                return refusal
            return {**run, "name": str(number)}

    return list(await asyncio.gather(*(one(number) for number in range(CLIENTS))))


async def runs_of(client: LangGraphClient, thread_id: str) -> list[Document]:
    """All runs of the thread, oldest first."""
    return [dict(run) for run in reversed(await client.runs.list(thread_id, limit=200))]


def names(runs: list[Document]) -> list[str]:
    return [run["kwargs"]["input"]["name"] for run in runs]


async def test_enqueued_runs_all_end_in_the_order_in_which_they_were_accepted(
    stack: Stack, client: LangGraphClient, thread_id: str, open_gate: Gate
) -> None:
    accepted = await fire(stack, thread_id, open_gate, "enqueue")
    assert not [each for each in accepted if isinstance(each, ConflictError)]
    runs = await runs_of(client, thread_id)
    assert len(runs) == CLIENTS
    for run in runs:
        await run_has(client, run, "success")
    thread: Any = await thread_has(client, thread_id, "idle")
    expected = [line for name in names(runs) for line in (f"entered {name}", f"left {name}")]
    assert thread["values"]["log"] == expected


async def test_interrupting_runs_leave_one_that_ends_and_others_that_were_cut_short(
    stack: Stack, client: LangGraphClient, thread_id: str, gate: Gate
) -> None:
    await fire(stack, thread_id, gate, "interrupt")
    gate.open()
    runs = await runs_of(client, thread_id)
    assert len(runs) == CLIENTS
    statuses = [(await run_has(client, run, *FINAL))["status"] for run in runs]
    assert statuses[-1] == "success", "nothing came after the last one"
    thread: Any = await thread_has(client, thread_id, "idle")
    log = thread["values"]["log"]
    assert log[-2:] == [f"entered {names(runs)[-1]}", f"left {names(runs)[-1]}"]
    # What those left behind that had begun is there, in order, and no run left the gate that was interrupted.
    places = [names(runs).index(line.removeprefix("entered ")) for line in log if line.startswith("entered")]
    assert places == sorted(set(places))
    left = {line.removeprefix("left ") for line in log if line.startswith("left")}
    assert left == {name for name, status in zip(names(runs), statuses, strict=True) if status == "success"}


async def test_rolling_back_runs_leave_only_the_last(
    stack: Stack, client: LangGraphClient, thread_id: str, gate: Gate
) -> None:
    await fire(stack, thread_id, gate, "rollback")
    gate.open()
    thread: Any = await thread_has(client, thread_id, "idle")
    runs = await runs_of(client, thread_id)
    succeeded = [run for run in runs if run["status"] == "success"]
    assert {run["status"] for run in runs} == {"success"}, "those that were rolled back are gone"
    expected = [line for name in names(succeeded) for line in (f"entered {name}", f"left {name}")]
    assert thread["values"]["log"] == expected


async def test_rejecting_runs_let_exactly_one_in(
    stack: Stack, client: LangGraphClient, thread_id: str, gate: Gate
) -> None:
    outcomes = await fire(stack, thread_id, gate, "reject")
    accepted = [each for each in outcomes if not isinstance(each, ConflictError)]
    assert len(accepted) == 1
    gate.open()
    await run_has(client, accepted[0], "success")
    thread: Any = await thread_has(client, thread_id, "idle")
    assert thread["values"]["log"] == [f"entered {accepted[0]['name']}", f"left {accepted[0]['name']}"]


@pytest.mark.parametrize("strategy", ["enqueue", "interrupt", "rollback"])
async def test_every_stream_ends(stack: Stack, thread_id: str, open_gate: Gate, strategy: Any) -> None:
    async def watch(number: int) -> str:
        async with get_client(url=stack.url) as client:
            stream = client.runs.stream(
                thread_id,
                "gated",
                input=open_gate.input(str(number)),
                multitask_strategy=strategy,
                stream_mode="updates",
            )
            parts = await collect(stream)
            assert "error" not in [part.event for part in parts]
            return parts[-1].event if parts else "closed"

    ends = await asyncio.gather(*(watch(number) for number in range(20)))
    assert len(ends) == 20
    if strategy == "enqueue":
        assert set(ends) == {"updates"}


async def test_a_thread_with_a_long_queue_keeps_no_other_thread_waiting(
    client: LangGraphClient, thread_id: str, gate: Gate
) -> None:
    queued = [await client.runs.create(thread_id, "gated", input=gate.input(str(n))) for n in range(CLIENTS)]
    other = await client.threads.create()
    answer: Any = await client.runs.wait(other["thread_id"], "echo", input={"text": "now"})
    assert answer["text"]
    assert (await client.runs.get(thread_id, queued[-1]["run_id"]))["status"] == "pending"
    await client.runs.cancel_many(thread_id=thread_id, run_ids=[run["run_id"] for run in queued])
    await thread_has(client, thread_id, "interrupted")
