"""The runs api is killed, or stopped as in a rolling update, under clients of every kind: none notices."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from application import APP, SHORT_LEASES
from eventually import until, until_line
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import StackOptions, open_stack

EACH = 8
STEPS = list(range(1, 11))
NAMES = [f"step{number}" for number in STEPS]
Follow = Callable[[LangGraphClient, dict[str, Any]], Awaitable[None]]


async def wait_on_a_thread(client: LangGraphClient, request: dict[str, Any]) -> None:
    thread = await client.threads.create()
    assert (await client.runs.wait(thread["thread_id"], "steps", **request))["done"] == STEPS


async def wait_without_a_thread(client: LangGraphClient, request: dict[str, Any]) -> None:
    assert (await client.runs.wait(None, "steps", **request))["done"] == STEPS


async def stream_that_is_not_resumable(client: LangGraphClient, request: dict[str, Any]) -> None:
    thread = await client.threads.create()
    stream = client.runs.stream(thread["thread_id"], "steps", stream_mode="updates", **request)
    assert [name for part in [each async for each in stream] if part.event == "updates" for name in part.data] == NAMES


async def stream_without_a_thread(client: LangGraphClient, request: dict[str, Any]) -> None:
    stream = client.runs.stream(None, "steps", stream_mode="updates", **request)
    assert [name for part in [each async for each in stream] if part.event == "updates" for name in part.data] == NAMES


async def join(client: LangGraphClient, request: dict[str, Any]) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "steps", **request)
    assert (await client.runs.join(thread["thread_id"], run["run_id"]))["done"] == STEPS


async def join_stream_from_the_start(client: LangGraphClient, request: dict[str, Any]) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(
        thread["thread_id"], "steps", stream_mode="updates", stream_resumable=True, **request
    )
    stream = client.runs.join_stream(thread["thread_id"], run["run_id"], last_event_id="-1")
    assert [name for part in [each async for each in stream] if part.event == "updates" for name in part.data] == NAMES


async def stream_of_the_thread(client: LangGraphClient, request: dict[str, Any]) -> None:
    thread = await client.threads.create()
    seen: list[str] = []

    async def follow() -> None:
        async for part in await client.threads.join_stream(thread["thread_id"], last_event_id="-"):
            seen.extend(part.data if part.event == "updates" else ())
            if part.event == "metadata" and part.data.get("status") == "run_done":
                return

    following = asyncio.create_task(follow())
    await client.runs.create(thread["thread_id"], "steps", stream_mode="updates", stream_resumable=True, **request)
    await following
    assert seen == NAMES


FOLLOWS: list[Follow] = [
    wait_on_a_thread,
    wait_without_a_thread,
    stream_that_is_not_resumable,
    stream_without_a_thread,
    join,
    join_stream_from_the_start,
    stream_of_the_thread,
]


@pytest.mark.parametrize("fault", ["kill", "terminate"])
async def test_no_client_notices(fault: str, tmp_path: Path) -> None:
    options = StackOptions(configs=(APP,), data=tmp_path / "data", slots=len(FOLLOWS) * EACH + 4)
    async with open_stack(options) as stack, get_client(url=stack.url, timeout=120) as client:
        files = [tmp_path / f"{follow.__name__}-{number}" for follow in FOLLOWS for number in range(EACH)]
        requests = [{"input": {"file": str(file), "seconds": 0.2}} for file in files]
        follows = [follow for follow in FOLLOWS for _ in range(EACH)]
        following = [
            asyncio.create_task(follow(client, request), name=follow.__name__)
            for follow, request in zip(follows, requests, strict=True)
        ]
        await asyncio.gather(*(until_line(file, "end 2") for file in files))
        getattr(stack, fault)("runs")
        outcomes = await asyncio.gather(*following, return_exceptions=True)
        failed = {task.get_name(): repr(found) for task, found in zip(following, outcomes, strict=True) if found}
        assert failed == {}


async def test_a_client_that_leaves_while_the_runs_api_is_away_cancels_its_run(tmp_path: Path) -> None:
    options = StackOptions(configs=(APP,), data=tmp_path / "data", extra={"runs": SHORT_LEASES})
    async with open_stack(options) as stack, get_client(url=stack.url) as client:
        thread_id = (await client.threads.create())["thread_id"]
        file = tmp_path / "file"
        leaving = asyncio.create_task(leave(client, thread_id, file))
        await until_line(file, "end 1")
        await stack.stop_process("runs", grace_seconds=0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await stack.start_process("runs")
        assert await until(lambda: ended(client, thread_id), 20) == "interrupted"


async def leave(client: LangGraphClient, thread_id: str, file: Path) -> None:
    request: dict[str, Any] = {"input": {"file": str(file), "seconds": 1.0}, "on_disconnect": "cancel"}
    async for _ in client.runs.stream(thread_id, "steps", **request):
        pass


async def ended(client: LangGraphClient, thread_id: str) -> str | None:
    status: str = (await client.runs.list(thread_id))[0]["status"]
    return status if status not in ("pending", "running") else None
