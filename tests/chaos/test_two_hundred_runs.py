"""Two hundred runs in flight while something breaks: all end, nothing is done twice, every client sees the end."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic

import pytest
from application import APP, SHORT_LEASES
from eventually import until_line
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import StreamPart
from threadmill_cli.stack import Stack, StackOptions, open_stack

RUNS = 200
STEPS = list(range(1, 11))
Fault = Callable[[Stack], Awaitable[None]]


async def kill_executor(stack: Stack) -> None:
    stack.kill("executor")


async def kill_runs_api(stack: Stack) -> None:
    stack.kill("runs")


async def kill_threads(stack: Stack) -> None:
    stack.kill("threads")


async def restart_redis(stack: Stack) -> None:
    stack.kill("redis")


async def restart_postgres(stack: Stack) -> None:
    stack.kill("postgres")


FAULTS = [kill_executor, kill_runs_api, kill_threads, restart_redis, restart_postgres]


async def follow(client: LangGraphClient, thread_id: str, file: Path) -> list[StreamPart]:
    """One client: starts a resumable run and reads its stream to the end, across lost connections."""
    return [
        event
        async for event in client.runs.stream(
            thread_id,
            "steps",
            input={"file": str(file), "seconds": 0.02},
            stream_mode="updates",
            stream_resumable=True,
            durability="sync",
        )
    ]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.timeout(170)
async def test_all_runs_end_and_all_clients_see_it(
    fault: Fault, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    options = StackOptions(configs=(APP,), data=tmp_path / "data", slots=50, extra={"runs": SHORT_LEASES})
    async with open_stack(options) as stack, get_client(url=stack.url, timeout=120) as client:
        threads = [(await client.threads.create())["thread_id"] for _ in range(RUNS)]
        files = {thread_id: tmp_path / thread_id for thread_id in threads}
        clients = [asyncio.create_task(follow(client, thread_id, files[thread_id])) for thread_id in threads]
        await until_line(files[threads[20]], "end 3")
        broken_at = monotonic()
        await fault(stack)
        streams = await asyncio.gather(*clients)
        record_property("seconds_until_all_ended", round(monotonic() - broken_at, 1))

        for thread_id, events in zip(threads, streams, strict=True):
            ids = [event.id for event in events]
            assert len(set(ids)) == len(ids), f"an event was repeated: {[(e.id, e.event, e.data) for e in events]}"
            run = (await client.runs.list(thread_id))[0]
            thread = await client.threads.get(thread_id)
            assert (run["status"], thread["status"]) == ("success", "idle")
            assert thread["values"]["done"] == STEPS, "each step's effect is there exactly once"
            seen = [name for event in events if event.event == "updates" for name in event.data]
            assert list(dict.fromkeys(seen)) == [f"step{number}" for number in STEPS]
            ends = Counter(line for line in files[thread_id].read_text().splitlines() if line.startswith("end"))
            repeated = [step for step, count in ends.items() if count > 1]
            assert len(repeated) <= 1, "only the step that was under way may have been executed again"
