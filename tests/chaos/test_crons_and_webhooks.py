"""The runs api is killed around cron ticks and webhook calls: each tick fires once, each webhook arrives."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from application import APP, SHORT_LEASES
from eventually import until
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import Stack, StackOptions, open_stack
from webhook_receiver import Call, Receiver, receiving

PERIOD_SECONDS = 2
EVERY_PERIOD = f"* * * * * */{PERIOD_SECONDS}"
# Before, at and after the moment at which a tick is claimed and its run created.
OFFSETS = [-0.02, 0.0, 0.005, 0.015, 0.03, 0.08]
CRONS = {**SHORT_LEASES, "THREADMILL_CRON_LEASE_SECONDS": "3", "THREADMILL_CRON_POLL_SECONDS": "1"}
WEBHOOKS = {
    **SHORT_LEASES,
    "THREADMILL_WEBHOOK_ALLOW_LOOPBACK": "true",
    "THREADMILL_WEBHOOK_TIMEOUT_SECONDS": "1",
    "THREADMILL_WEBHOOK_BACKOFF_SECONDS": "0.5",
}
RUNS = 30


def claimed_in(run_id: str) -> int:
    """The period in which the tick of this run was claimed: its id is a UUID of version 7, made by that claim."""
    milliseconds = UUID(run_id).int >> 80
    return milliseconds // (PERIOD_SECONDS * 1000)


async def kill_at(stack: Stack, moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.time()))  # the clock is what is waited for
    stack.kill("runs")
    await stack.wait_ready("runs")


def next_tick() -> float:
    """The next tick that lies far enough ahead to aim at."""
    return float((int(time.time() + 0.2) // PERIOD_SECONDS + 1) * PERIOD_SECONDS)


async def runs_of_cron(client: LangGraphClient, mark: str) -> list[Any]:
    threads = await client.threads.search(metadata={"mark": mark}, limit=100)
    return [run for thread in threads for run in await client.runs.list(thread["thread_id"])]


@pytest.mark.timeout(170)
async def test_each_tick_fires_once_however_often_the_runs_api_dies(tmp_path: Path) -> None:
    options = StackOptions(configs=(APP,), data=tmp_path / "data", extra={"runs": CRONS})
    mark = str(uuid4())
    async with open_stack(options) as stack, get_client(url=stack.url, timeout=60) as client:
        cron: Any = await client.crons.create(
            "echo",
            schedule=EVERY_PERIOD,
            input={"text": "tick"},
            metadata={"mark": mark},
            on_run_completed="keep",
            end_time=datetime.now(UTC) + timedelta(minutes=5),
        )
        for offset in OFFSETS:
            await kill_at(stack, next_tick() + offset)
        calm = time.time()

        async def two_calm_ticks() -> bool:
            later = [run for run in await runs_of_cron(client, mark) if claimed_in(run["run_id"]) * 2 > calm]
            return len(later) >= 2

        await until(two_calm_ticks)
        await client.crons.update(cron["cron_id"], enabled=False)

        async def nothing_is_left_to_fire() -> bool:
            connection = await asyncpg.connect(stack.backends.runs_dsn)
            try:
                return not await connection.fetchval("SELECT count(*) FROM runs.cron_firing")
            finally:
                await connection.close()

        await until(nothing_is_left_to_fire)

        async def all_have_ended() -> list[Any]:
            runs = await runs_of_cron(client, mark)
            return runs if all(run["status"] == "success" for run in runs) else []

        runs = await until(all_have_ended)
        fired = Counter(claimed_in(run["run_id"]) for run in runs)
        assert max(fired.values()) == 1, "no tick fired twice"
        # A tick that falls into the second in which the api is away is made up for by one run, at once.
        assert len(runs) >= len(OFFSETS)


def delivery_of(call: Call) -> tuple[str, str]:
    """What a receiver knows a delivery by, so that it can tell a repetition."""
    return call.body["run_id"], call.headers.get("webhook-id", "")


async def all_arrived(receiver: Receiver, stack: Stack, expected: set[str]) -> list[Call]:
    """Takes calls until each run has told of itself; kills the runs api at some of the calls."""
    calls: list[Call] = []
    while {call.body["run_id"] for call in calls} < expected:
        calls.append(await receiver.call(60))
        if len(calls) in (1, 8, 16):
            stack.kill("runs")
            await stack.wait_ready("runs")
    return calls


@pytest.mark.timeout(170)
async def test_webhooks_arrive_at_least_once_and_a_repetition_can_be_told(tmp_path: Path) -> None:
    gateway = {"THREADMILL_WEBHOOK_ALLOW_LOOPBACK": "true"}
    options = StackOptions(configs=(APP,), data=tmp_path / "data", extra={"runs": WEBHOOKS, "gateway": gateway})
    # The first calls fail, so that the kills also meet deliveries that wait for their next attempt.
    async with open_stack(options) as stack, get_client(url=stack.url) as client, receiving(500, 500, 500, 200) as hook:
        runs = [
            await client.runs.create(
                (await client.threads.create())["thread_id"], "echo", input={"text": "hi"}, webhook=hook.url
            )
            for _ in range(RUNS)
        ]
        calls = await all_arrived(hook, stack, {run["run_id"] for run in runs})

    assert all(call.body["status"] == "success" for call in calls)
    deliveries = {delivery_of(call) for call in calls}
    assert len(deliveries) == RUNS, "every call of one delivery carries the same id"
