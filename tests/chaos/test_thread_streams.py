"""Whatever dies under clients of the thread-streaming protocol: each sees every step once, in order, and the end."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from application import APP, SHORT_LEASES
from cutting import cable
from eventually import until_line
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import Stack, StackOptions, open_stack

CLIENTS = 12
STEPS = list(range(1, 11))
STEP_SECONDS = 0.2
ENDS = ("completed", "failed")


async def follow(client: LangGraphClient, transport: str, file: Path) -> tuple[list[Any], Any]:
    """All events of one run as the SDK gives them, across lost connections, and the run's output."""
    events = []
    async with client.threads.stream(assistant_id="steps", transport=transport) as thread:  # type: ignore[arg-type]
        await thread.run.start(input={"file": str(file), "seconds": STEP_SECONDS})
        async for event in thread.events:
            if event["type"] != "event":  # over a WebSocket, the answers to subscriptions
                continue
            events.append(event)
            if event["method"] == "lifecycle" and event["params"]["data"]["event"] in ENDS:
                break
        return events, await thread.output


def kill_runs_api(stack: Stack) -> None:
    stack.kill("runs")


def restart_runs_api(stack: Stack) -> None:
    stack.terminate("runs")


def kill_redis(stack: Stack) -> None:
    stack.kill("redis")


def kill_executor(stack: Stack) -> None:
    stack.kill("executor")


def check(events: list[Any], output: Any, *, every_step: bool) -> None:
    ids = [event["event_id"] for event in events]
    assert len(set(ids)) == len(ids), "an event came twice"
    numbers = [event["seq"] for event in events]
    assert numbers == sorted(numbers)
    assert output["done"] == STEPS
    done = [len(event["params"]["data"]["done"]) for event in events if event["method"] == "values"]
    if every_step:
        assert done == list(range(len(STEPS) + 1))
    else:  # the next attempt tells the state that it found, which may be one step older than what clients have seen
        assert set(done) == set(range(len(STEPS) + 1))


@pytest.mark.parametrize("transport", ["sse", "websocket"])
@pytest.mark.parametrize(
    "fault",
    [kill_runs_api, restart_runs_api, kill_redis, kill_executor],
    ids=lambda fault: fault.__name__,
)
async def test_every_step_is_seen_once(fault: Callable[[Stack], None], transport: str, tmp_path: Path) -> None:
    options = StackOptions(configs=(APP,), data=tmp_path / "data", extra={"runs": SHORT_LEASES})
    async with open_stack(options) as stack, get_client(url=stack.url, timeout=60) as client:
        files = [tmp_path / f"run-{number}" for number in range(CLIENTS)]
        following = [asyncio.create_task(follow(client, transport, file)) for file in files]
        await asyncio.gather(*(until_line(file, "end 3") for file in files))
        fault(stack)
        for events, output in await asyncio.gather(*following):
            check(events, output, every_step=fault is not kill_executor)


async def states(client: LangGraphClient, transport: str, file: Path) -> list[int]:
    """How many steps were done in each state that the SDK gives; it mends this stream when it breaks."""
    async with client.threads.stream(assistant_id="steps", transport=transport) as thread:  # type: ignore[arg-type]
        await thread.run.start(input={"file": str(file), "seconds": STEP_SECONDS})
        seen = [len(values.get("done", ())) async for values in thread.values]
        assert (await thread.output)["done"] == STEPS
        return seen


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_connections_may_break_again_and_again(transport: str, tmp_path: Path) -> None:
    options = StackOptions(configs=(APP,), data=tmp_path / "data")
    async with open_stack(options) as stack, cable(stack.url) as line, get_client(url=line.url, timeout=60) as client:
        files = [tmp_path / f"run-{number}" for number in range(CLIENTS)]
        following = [asyncio.create_task(states(client, transport, file)) for file in files]
        for step in (4, 6, 8):
            await asyncio.gather(*(until_line(file, f"end {step}") for file in files))
            line.cut()
        for seen in await asyncio.gather(*following):
            # The first is what the thread's state was when the client looked at it.
            assert list(dict.fromkeys(seen[1:])) == list(range(len(STEPS) + 1))
            assert len(seen) == len(STEPS) + 2
