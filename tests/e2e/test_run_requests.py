"""What a run can be created with: every field has its effect, in each of the ways to create one."""

from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from eventually import until_line
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError
from threadmill_cli.stack import Stack

from .driving import Document, Gate, collect, run_has, until


async def test_context_is_cut_to_what_the_graph_declares_and_configurable_is_not(client: LangGraphClient) -> None:
    given = {"tone": "warm", "other": 1}
    by_context: Any = await client.runs.wait(None, "configured", input={}, context=given)
    by_configurable: Any = await client.runs.wait(None, "configured", input={}, config={"configurable": given})
    for result in (by_context, by_configurable):
        assert result["seen"]["context"] == {"tone": "warm", "size": 1}
        assert result["seen"]["configurable"]["tone"] == "warm"
    assert "other" not in by_context["seen"]["configurable"]
    assert by_configurable["seen"]["configurable"]["other"] == "1"


async def test_context_also_cuts_what_the_assistant_mirrors(client: LangGraphClient) -> None:
    assistant = await client.assistants.create("configured", context={"size": 3, "zip": 2})
    alone: Any = await client.runs.wait(None, assistant["assistant_id"], input={})
    added: Any = await client.runs.wait(None, assistant["assistant_id"], input={}, context={"tone": "x"})
    assert alone["seen"]["configurable"]["zip"] == "2"
    assert "zip" not in added["seen"]["configurable"]
    assert added["seen"]["context"] == {"tone": "x", "size": 3}


async def test_config_reaches_the_graph(client: LangGraphClient, thread_id: str) -> None:
    config: Any = {
        "tags": ["mine"],
        "recursion_limit": 7,
        "configurable": {"user_id": "u"},
        "metadata": {"of": "config"},
    }
    result: Any = await client.runs.wait(
        thread_id, "configured", input={}, config=config, metadata={"of_request": "yes"}
    )
    seen = result["seen"]
    assert seen["tags"] == ["mine"]
    assert seen["recursion_limit"] == 7
    assert (seen["configurable"]["user_id"], seen["configurable"]["thread_id"]) == ("u", thread_id)
    assert (seen["metadata"]["of"], seen["metadata"]["of_request"]) == ("config", "yes")
    assert seen["metadata"]["run_attempt"] == "1"


async def test_command_wins_over_input(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "ask", input={"question": "really?"})
    result: Any = await client.runs.wait(thread_id, "ask", input={"question": "new"}, command={"resume": "yes"})
    assert result["log"] == ["prepared", "answered yes", "finished"]
    assert result["question"] == "really?"


@pytest.mark.parametrize("field", ["checkpoint", "checkpoint_id"])
async def test_run_starts_from_the_checkpoint_that_it_names(
    client: LangGraphClient, thread_id: str, open_gate: Gate, field: str
) -> None:
    await client.runs.wait(thread_id, "gated", input=open_gate.input("A"))
    past = await client.threads.get_state(thread_id)
    await client.runs.wait(thread_id, "gated", input=open_gate.input("B"))
    where: Any = past["checkpoint"] if field == "checkpoint" else past["checkpoint"]["checkpoint_id"]
    forked: Any = await client.runs.wait(thread_id, "gated", input=open_gate.input("C"), **{field: where})
    assert forked["log"] == ["entered A", "left A", "entered C", "left C"]


@pytest.mark.parametrize(("body", "count"), [({"checkpoint_during": False}, 1), ({"checkpoint_during": True}, 4)])
async def test_older_name_of_durability(
    http: httpx.AsyncClient, client: LangGraphClient, thread_id: str, body: Document, count: int
) -> None:
    run = {"assistant_id": "nested", "input": {"log": []}, **body}
    await http.post(f"/threads/{thread_id}/runs/wait", json=run)
    assert len(await client.threads.get_history(thread_id)) == count


async def test_feedback_keys_are_not_dropped_in_silence(client: LangGraphClient, thread_id: str) -> None:
    """As on the reference server without LangSmith: the run has its effects, and ends in an error."""
    parts = await collect(
        client.runs.stream(thread_id, "echo", input={"text": "hi"}, feedback_keys=["score"], stream_mode="updates")
    )
    assert [part.event for part in parts] == ["metadata", "updates", "error"]
    assert parts[-1].data == {"error": "LangSmithConnectionError", "message": "An internal error occurred"}
    thread: Any = await client.threads.get(thread_id)
    assert (thread["status"], thread["values"]["answer"]) == ("error", "echo: hi")


async def test_batch_runs_each_of_its_runs(client: LangGraphClient) -> None:
    payloads: Any = [{"assistant_id": "echo", "input": {"text": str(n)}, "on_completion": "keep"} for n in range(5)]
    for number, run in enumerate(await client.runs.create_batch(payloads)):
        await run_has(client, dict(run), "success")
        thread: Any = await client.threads.get(run["thread_id"])
        assert thread["values"]["answer"] == f"echo: {number}"


async def checkpoint_rows(stack: Stack, thread_id: str) -> int:
    connection = await asyncpg.connect(stack.backends.threads_dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM threads.checkpoint WHERE thread_id = $1", thread_id))
    finally:
        await connection.close()


@pytest.mark.parametrize("kept", [False, True])
async def test_stateless_run_writes_checkpoints_only_if_somebody_can_read_them(
    stack: Stack, client: LangGraphClient, tmp_path: Path, kept: bool
) -> None:
    """Looked at while it runs: afterwards its thread has gone, with everything on it."""
    notes = tmp_path / "steps"
    run = await client.runs.create(
        None,
        "steps",
        input={"file": str(notes), "seconds": 0.1},
        on_completion="keep" if kept else "delete",
        durability="sync",
    )
    await until_line(notes, "end 5")
    rows = await checkpoint_rows(stack, run["thread_id"])
    assert (await client.runs.get(run["thread_id"], run["run_id"]))["status"] == "running"
    assert rows >= 5 if kept else rows == 0


@pytest.mark.parametrize("how", ["create", "wait"])
async def test_stateless_run_leaves_neither_thread_nor_run(client: LangGraphClient, how: str) -> None:
    created: list[Any] = []
    if how == "create":
        created.append(await client.runs.create(None, "echo", input={"text": "hi"}))
    else:
        await client.runs.wait(None, "echo", input={"text": "hi"}, on_run_created=created.append)
    thread_id, run_id = created[0]["thread_id"], created[0]["run_id"]

    async def gone() -> bool:
        try:
            await client.threads.get(thread_id)
        except NotFoundError:
            return True
        return False

    assert await until(gone)
    with pytest.raises(NotFoundError):
        await client.runs.get(thread_id, run_id)
