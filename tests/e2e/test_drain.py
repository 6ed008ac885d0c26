"""An executor is asked to end (SIGTERM) while it runs graphs: what a rolling update does to the runs under way."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from eventually import until_line
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import Stack, StackOptions, open_stack

from .conftest import APP, ENVIRONMENT
from .driving import collect_into, run_has, until

DRAIN = {"executor": {"THREADMILL_DRAIN_SECONDS": "1.5"}}
STEPS = list(range(1, 11))


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """Two executors of one application; the second is stopped, so that a test knows where its runs begin."""
    options = StackOptions(
        configs=(APP, APP), data=tmp_path / "data", environment=ENVIRONMENT, restart=False, extra=DRAIN
    )
    async with open_stack(options) as started:
        await started.stop_process("executor-2")
        yield started


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=stack.url) as opened:
        yield opened


async def begin(
    client: LangGraphClient, notes: Path, seconds: float, **options: Any
) -> tuple[str, list[Any], "asyncio.Task[None]"]:
    """A streamed run of ten steps; its thread, its events as they come, and the client that reads them."""
    thread_id = str((await client.threads.create())["thread_id"])
    events: list[Any] = []
    stream = client.runs.stream(
        thread_id, "steps", input={"file": str(notes), "seconds": seconds}, stream_mode="updates", **options
    )
    reader = asyncio.create_task(collect_into(events, stream))
    await until_line(notes, "start 2")
    return thread_id, events, reader


def steps_of(events: list[Any]) -> list[str]:
    return [name for event in events if event.event == "updates" for name in event.data]


async def test_run_that_ends_before_the_deadline_ends_where_it_is(
    stack: Stack, client: LangGraphClient, tmp_path: Path
) -> None:
    thread_id, events, reader = await begin(client, tmp_path / "quick", 0.05)
    stack.terminate("executor")
    assert await stack.wait_ended("executor") == 0
    await reader
    assert steps_of(events) == [f"step{number}" for number in STEPS]
    assert [event.data["attempt"] for event in events if event.event == "metadata"] == [1]
    assert (await client.runs.list(thread_id))[0]["status"] == "success"


async def test_run_that_outlasts_the_deadline_goes_on_elsewhere_at_no_cost(
    stack: Stack, client: LangGraphClient, tmp_path: Path
) -> None:
    notes = tmp_path / "long"
    thread_id, events, reader = await begin(client, notes, 0.4, durability="sync")
    run = dict((await client.runs.list(thread_id))[0])
    stack.terminate("executor")
    assert await stack.wait_ended("executor") == 0
    # Nobody can run it now; its client is still connected.
    assert (await run_has(client, run, "pending"))["run_id"] == run["run_id"]
    assert not reader.done()
    before = len(events)
    await stack.start_process("executor-2")
    await reader
    assert len(events) > before
    assert list(dict.fromkeys(steps_of(events))) == [f"step{number}" for number in STEPS]
    attempts = [event.data["attempt"] for event in events if event.event == "metadata"]
    assert set(attempts) == {1}, "handing back costs no attempt"
    ends = Counter(line for line in notes.read_text().splitlines() if line.startswith("end"))
    assert ends == {f"end {number}": 1 for number in STEPS}, "finished steps are not executed again"
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "success"
    thread: Any = await client.threads.get(thread_id)
    assert (thread["status"], thread["values"]["done"]) == ("idle", STEPS)


async def test_draining_executor_takes_no_new_run(stack: Stack, client: LangGraphClient, tmp_path: Path) -> None:
    _, _, reader = await begin(client, tmp_path / "occupies", 0.4)
    stack.terminate("executor")

    async def says_so() -> bool:
        return not stack.supervisor.members["executor"].serving.is_set()

    await until(says_so)
    late = dict(await client.runs.create(None, "echo", input={"text": "late"}, on_completion="keep"))
    await stack.wait_ended("executor")
    assert (await client.runs.get(late["thread_id"], late["run_id"]))["status"] == "pending"
    await stack.start_process("executor-2")
    await run_has(client, late, "success")
    await reader


async def test_run_that_blocks_its_loop_is_handed_back_too(
    stack: Stack, client: LangGraphClient, tmp_path: Path
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run = dict(await client.runs.create(thread_id, "blocking", input={"seconds": 6}))
    await run_has(client, run, "running")
    stack.terminate("executor")
    assert await stack.wait_ended("executor") == 0
    await run_has(client, run, "pending")
    await stack.start_process("executor-2")
    values: Any = await client.runs.join(thread_id, run["run_id"])
    assert values["done"] is True
