"""Stopping runs wherever they are: in synchronous code, between two steps, by status, and clients that go."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from eventually import until_line
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

from .driving import Gate, run_has, thread_has, until

# The grace in which a graph may stop by itself is two seconds; the rest is for a busy machine.
MOMENTS = 8.0


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
@pytest.mark.parametrize("graph", ["sleeping", "blocking"])
async def test_run_that_is_blocked_in_synchronous_code_is_cancelled(
    client: LangGraphClient, thread_id: str, graph: str, action: Any
) -> None:
    """`sleeping` blocks a thread of its own, `blocking` the event loop that other runs use too."""
    run = dict(await client.runs.create(thread_id, graph, input={"seconds": 12}))
    await run_has(client, run, "running")
    begun = monotonic()
    await client.runs.cancel(thread_id, run["run_id"], wait=True, action=action)
    assert monotonic() - begun < MOMENTS
    if action == "interrupt":
        assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "interrupted"
    else:
        with pytest.raises(NotFoundError):
            await client.runs.get(thread_id, run["run_id"])
    # The thread is free, though the code that nobody can stop is still at it.
    result: Any = await client.runs.wait(thread_id, "echo", input={"text": "on"})
    assert result["answer"] == "echo: on"


async def test_cancel_between_steps_keeps_those_that_ended(
    client: LangGraphClient, thread_id: str, tmp_path: Path
) -> None:
    notes = tmp_path / "steps"
    run = await client.runs.create(thread_id, "steps", input={"file": str(notes), "seconds": 0.05}, durability="sync")
    await until_line(notes, "end 3")
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    state: Any = await client.threads.get_state(thread_id)
    done = state["values"]["done"]
    assert 3 <= len(done) < 10
    assert done == list(range(1, len(done) + 1))
    assert state["next"] == [f"step{len(done) + 1}"]
    rest: Any = await client.runs.wait(thread_id, "steps", input=None)
    assert rest["done"] == list(range(1, 11))


async def test_cancel_at_every_moment_of_a_run_is_never_lost(
    client: LangGraphClient, gate: Gate, open_gate: Gate
) -> None:
    """A cancel meets the run when it is pending, claimed, running, ending or over: it ends, and its thread is free."""

    async def one(delay: float, at: Gate) -> str:
        thread_id = (await client.threads.create())["thread_id"]
        run = dict(await client.runs.create(thread_id, "gated", input=at.input("A")))
        await asyncio.sleep(delay)
        try:
            await client.runs.cancel(thread_id, run["run_id"], wait=True)
        except (NotFoundError, httpx.HTTPStatusError):  # over already; which of the two depends on the SDK's path
            assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "success"
        final = await run_has(client, run, "success", "interrupted")
        assert (await client.threads.get(thread_id))["status"] in ("idle", "interrupted")
        return str(final["status"])

    delays = [number * 0.004 for number in range(20)]
    racing, held = (
        asyncio.gather(*(one(at, open_gate) for at in delays)),
        asyncio.gather(*(one(at, gate) for at in delays)),
    )
    assert set(await racing) <= {"success", "interrupted"}
    assert set(await held) == {"interrupted"}, "these cannot end by themselves"


@pytest.mark.parametrize("status", ["pending", "running", "all"])
async def test_runs_are_cancelled_by_status(
    http: httpx.AsyncClient, client: LangGraphClient, thread_id: str, gate: Gate, status: str
) -> None:
    runs = [dict(await client.runs.create(thread_id, "gated", input=gate.input(name))) for name in "AB"]
    await run_has(client, runs[0], "running")
    assert (await http.post("/runs/cancel", json={"status": status})).status_code == 204
    expected = {"pending": ["B"], "running": ["A"], "all": ["A", "B"]}[status]
    for run in runs:
        if run["kwargs"]["input"]["name"] in expected:
            await run_has(client, run, "interrupted")
    gate.open()
    for run in runs:
        final = (await run_has(client, run, "interrupted", "success"))["status"]
        assert (final == "interrupted") == (run["kwargs"]["input"]["name"] in expected)


async def test_cancelled_run_ends_the_streams_of_all_who_watch(
    client: LangGraphClient, thread_id: str, gate: Gate
) -> None:
    run = await client.runs.create(
        thread_id, "gated", input=gate.input("A"), stream_mode=["updates", "custom"], stream_resumable=True
    )
    seen: list[list[str]] = [[] for _ in range(5)]

    async def watch(names: list[str]) -> None:
        async for part in client.runs.join_stream(thread_id, run["run_id"], last_event_id="-1"):
            names.append(part.event)

    watching = [asyncio.create_task(watch(names)) for names in seen]

    async def all_are_there() -> bool:
        return all("custom" in names for names in seen)

    await until(all_are_there)
    await client.runs.cancel(thread_id, run["run_id"])
    await asyncio.wait_for(asyncio.gather(*watching), 30)
    assert seen == [["metadata", "updates", "custom"]] * 5


async def test_client_that_goes_takes_a_blocked_run_along_if_it_asked_for_it(
    client: LangGraphClient, thread_id: str
) -> None:
    stream: Any = client.runs.stream(thread_id, "sleeping", input={"seconds": 12}, on_disconnect="cancel")
    async for part in stream:
        run = {"thread_id": thread_id, "run_id": part.data["run_id"]}
        break
    await run_has(client, run, "running")
    begun = monotonic()
    await stream.aclose()
    await run_has(client, run, "interrupted")
    assert monotonic() - begun < MOMENTS


async def test_waiting_client_that_goes_cancels_its_stateless_run(
    http: httpx.AsyncClient, client: LangGraphClient, gate: Gate
) -> None:
    body = {"assistant_id": "gated", "input": gate.input("A"), "on_disconnect": "cancel"}
    async with http.stream("POST", "/runs/wait", json=body) as response:
        thread_id = response.headers["content-location"].split("/")[2]
        await thread_has(client, thread_id, "busy")

    async def gone() -> bool:
        try:
            await client.threads.get(thread_id)
        except NotFoundError:
            return True
        return False

    assert await until(gone)
