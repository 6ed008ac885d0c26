"""Several runs on one thread, cancelling, and clients that go away."""

import asyncio
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError

from .driving import Document, Gate, collect, run_has, until


async def start(client: LangGraphClient, thread_id: str, gate: Gate, name: str = "A", **options: Any) -> Document:
    """A run that has passed `enter` and waits at its gate."""
    run: Any = await client.runs.create(thread_id, "gated", input=gate.input(name), **options)
    await run_has(client, run, "running")
    await until(lambda: waits_at_gate(client, thread_id, name))
    return dict(run)


async def waits_at_gate(client: LangGraphClient, thread_id: str, name: str) -> bool:
    state = await client.threads.get_state(thread_id)
    return f"entered {name}" in (state["values"].get("log") or ()) and state["next"] == ["wait"]  # type: ignore[union-attr]


async def status_of(client: LangGraphClient, thread_id: str) -> str:
    return str((await client.threads.get(thread_id))["status"])


async def test_enqueued_run_waits_its_turn(
    client: LangGraphClient, thread_id: str, gate: Gate, open_gate: Gate
) -> None:
    first = await start(client, thread_id, gate)
    second = await client.runs.create(thread_id, "gated", input=open_gate.input("B"))
    third = await client.runs.create(thread_id, "gated", input=open_gate.input("C"), multitask_strategy="enqueue")
    assert (await client.runs.get(thread_id, second["run_id"]))["status"] == "pending"
    gate.open()
    result: Any = await client.runs.join(thread_id, third["run_id"])
    assert result["log"] == ["entered A", "left A", "entered B", "left B", "entered C", "left C"]
    assert (await client.runs.get(thread_id, first["run_id"]))["status"] == "success"
    assert await status_of(client, thread_id) == "idle"


async def test_stream_of_an_enqueued_run_stays_open_until_its_turn(
    client: LangGraphClient, thread_id: str, gate: Gate, open_gate: Gate
) -> None:
    await start(client, thread_id, gate)
    stream = client.runs.stream(thread_id, "gated", input=open_gate.input("B"), stream_mode="updates")
    reading = asyncio.create_task(collect(stream))

    async def both_are_known() -> bool:
        return len(await client.runs.list(thread_id)) == 2

    await until(both_are_known)
    gate.open()
    assert [part.event for part in await reading] == ["metadata", "updates", "updates"]


async def test_rejected_run_is_a_conflict_and_changes_nothing(
    client: LangGraphClient, thread_id: str, gate: Gate, open_gate: Gate
) -> None:
    first = await start(client, thread_id, gate)
    with pytest.raises(ConflictError, match="Thread is already running a task"):
        await client.runs.create(thread_id, "gated", input=open_gate.input("B"), multitask_strategy="reject")
    assert len(await client.runs.list(thread_id)) == 1
    gate.open()
    assert (await client.runs.join(thread_id, first["run_id"]))["log"] == ["entered A", "left A"]


async def test_interrupting_run_keeps_the_checkpoints_of_the_other(
    client: LangGraphClient, thread_id: str, gate: Gate, open_gate: Gate
) -> None:
    first = await start(client, thread_id, gate)
    result: Any = await client.runs.wait(thread_id, "gated", input=open_gate.input("B"), multitask_strategy="interrupt")
    assert result["log"] == ["entered A", "entered B", "left B"]
    assert (await client.runs.get(thread_id, first["run_id"]))["status"] == "interrupted"
    assert await status_of(client, thread_id) == "idle"


async def test_rolling_back_run_starts_on_the_state_before_the_other(
    client: LangGraphClient, thread_id: str, gate: Gate, open_gate: Gate
) -> None:
    await client.runs.wait(thread_id, "gated", input=open_gate.input("0"))
    first = await start(client, thread_id, gate)
    result: Any = await client.runs.wait(thread_id, "gated", input=open_gate.input("B"), multitask_strategy="rollback")
    assert result["log"] == ["entered 0", "left 0", "entered B", "left B"]
    with pytest.raises(NotFoundError):
        await client.runs.get(thread_id, first["run_id"])


async def test_stream_of_a_superseded_run_just_closes(
    client: LangGraphClient, thread_id: str, gate: Gate, open_gate: Gate
) -> None:
    stream = client.runs.stream(thread_id, "gated", input=gate.input("A"), stream_mode=["updates", "custom"])
    names = []
    async with asyncio.timeout(30):
        async for part in stream:
            names.append(part.event)
            if part.event == "custom":
                await client.runs.create(thread_id, "gated", input=open_gate.input("B"), multitask_strategy="interrupt")
    assert names == ["metadata", "updates", "custom"]


async def test_cancel_of_a_running_run_interrupts_it(client: LangGraphClient, thread_id: str, gate: Gate) -> None:
    run = await start(client, thread_id, gate)
    assert await client.runs.cancel(thread_id, run["run_id"]) is None
    assert (await run_has(client, run, "interrupted"))["status"] == "interrupted"

    async def freed() -> bool:
        return await status_of(client, thread_id) == "interrupted"

    await until(freed)
    state: Any = await client.threads.get_state(thread_id)
    assert state["next"] == ["wait"]
    assert (await client.threads.get(thread_id))["error"]["error"] == "UserInterrupt"


async def test_cancel_can_be_waited_for(client: LangGraphClient, thread_id: str, gate: Gate) -> None:
    run = await start(client, thread_id, gate)
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "interrupted"
    assert await status_of(client, thread_id) == "interrupted"


async def test_cancelled_run_is_continued_with_no_input(client: LangGraphClient, thread_id: str, gate: Gate) -> None:
    run = await start(client, thread_id, gate)
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    gate.open()
    result: Any = await client.runs.wait(thread_id, "gated", input=None)
    assert result["log"] == ["entered A", "left A"]


async def test_rollback_leaves_no_trace_of_the_run(
    client: LangGraphClient, thread_id: str, gate: Gate, open_gate: Gate
) -> None:
    before = await client.runs.wait(thread_id, "gated", input=open_gate.input("0"))
    run = await start(client, thread_id, gate)
    await client.runs.cancel(thread_id, run["run_id"], wait=True, action="rollback")
    with pytest.raises(NotFoundError):
        await client.runs.get(thread_id, run["run_id"])
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["values"]) == ("idle", before)
    assert (await client.threads.get_state(thread_id))["values"] == before
    history = await client.threads.get_history(thread_id)
    assert all(state["metadata"]["run_id"] != run["run_id"] for state in history)  # type: ignore[index]


async def test_pending_run_is_cancelled_without_starting(
    client: LangGraphClient, thread_id: str, gate: Gate, open_gate: Gate
) -> None:
    first = await start(client, thread_id, gate)
    second = await client.runs.create(thread_id, "gated", input=open_gate.input("B"))
    await client.runs.cancel(thread_id, second["run_id"], wait=True)
    assert (await client.runs.get(thread_id, second["run_id"]))["status"] == "interrupted"
    gate.open()
    assert (await client.runs.join(thread_id, first["run_id"]))["log"] == ["entered A", "left A"]


async def test_cancelled_delayed_run_leaves_the_thread_idle(client: LangGraphClient, thread_id: str) -> None:
    for action in ("interrupt", "rollback"):
        run = await client.runs.create(thread_id, "echo", input={"text": "hi"}, after_seconds=3600)
        await client.runs.cancel(thread_id, run["run_id"], wait=True, action=action)  # type: ignore[arg-type]
        assert await status_of(client, thread_id) == "idle"


async def test_cancel_of_a_finished_or_unknown_run_is_not_found(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "echo", input={"text": "hi"})
    await client.runs.join(thread_id, run["run_id"])
    for run_id in (run["run_id"], "0195f000-0000-7000-8000-0000000fffff"):
        with pytest.raises(NotFoundError):
            await client.runs.cancel(thread_id, run_id)


async def test_many_runs_are_cancelled_at_once(client: LangGraphClient, thread_id: str, gate: Gate) -> None:
    runs = [await start(client, thread_id, gate)]
    runs += [dict(await client.runs.create(thread_id, "gated", input=gate.input(name))) for name in "BC"]
    await client.runs.cancel_many(thread_id=thread_id, run_ids=[run["run_id"] for run in runs])
    for run in runs:
        await run_has(client, run, "interrupted")


async def test_node_that_blocks_keeps_its_run_and_stalls_no_other(client: LangGraphClient, thread_id: str) -> None:
    other = await client.threads.create()
    run = await client.runs.create(thread_id, "blocking", input={"seconds": 5})
    await run_has(client, dict(run), "running")
    result: Any = await client.runs.wait(other["thread_id"], "echo", input={"text": "meanwhile"})
    assert result["answer"] == "echo: meanwhile"
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "running"
    assert (await client.runs.join(thread_id, run["run_id"]))["done"] is True


async def test_run_is_cancelled_when_its_client_goes_and_asked_for_it(
    client: LangGraphClient, thread_id: str, gate: Gate
) -> None:
    run_id = await leave(client, thread_id, gate, on_disconnect="cancel")
    await run_has(client, {"thread_id": thread_id, "run_id": run_id}, "interrupted")


async def test_run_goes_on_when_its_client_goes(client: LangGraphClient, thread_id: str, gate: Gate) -> None:
    run_id = await leave(client, thread_id, gate, on_disconnect=None)
    gate.open()
    assert (await client.runs.join(thread_id, run_id))["log"] == ["entered A", "left A"]


async def leave(client: LangGraphClient, thread_id: str, gate: Gate, on_disconnect: Any) -> str:
    """Streams a run up to the gate and goes away; answers the run's id."""
    stream: Any = client.runs.stream(
        thread_id, "gated", input=gate.input("A"), stream_mode="custom", on_disconnect=on_disconnect
    )
    run_id = ""
    async for part in stream:
        run_id = run_id or part.data["run_id"]
        if part.event == "custom":
            break
    await stream.aclose()
    return run_id


async def test_joining_client_may_cancel_by_going(client: LangGraphClient, thread_id: str, gate: Gate) -> None:
    run = await start(client, thread_id, gate, stream_mode="custom", stream_resumable=True)
    stream: Any = client.runs.join_stream(thread_id, run["run_id"], cancel_on_disconnect=True, last_event_id="-1")
    async for part in stream:
        if part.event == "custom":
            break
    await stream.aclose()
    await run_has(client, run, "interrupted")


async def test_runs_of_different_threads_run_at_once(client: LangGraphClient, gate: Gate) -> None:
    threads = [(await client.threads.create())["thread_id"] for _ in range(5)]
    runs = [await client.runs.create(thread_id, "gated", input=gate.input("A")) for thread_id in threads]
    for run in runs:
        await run_has(client, dict(run), "running")
    gate.open()
    for run in runs:
        assert (await client.runs.join(run["thread_id"], run["run_id"]))["log"] == ["entered A", "left A"]
