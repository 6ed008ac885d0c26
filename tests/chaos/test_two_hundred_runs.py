"""Two hundred runs in flight while something breaks: all end, nothing is done twice, every client sees the end."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic

import asyncpg
import pytest
from application import APP, SHORT_LEASES
from eventually import until_line
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import StreamPart
from threadmill_cli.stack import Stack, StackOptions, open_stack

from .conftest import Recovery

RUNS = 200
STEPS = list(range(1, 11))
# Long enough that the fault meets most slots in the middle of a run.
STEP_SECONDS = 0.1
PAUSE_SECONDS = 6.0  # twice the lease
CUTS = 15
CUT_SECONDS = 0.2
Fault = Callable[[Stack], Awaitable[None]]


async def undisturbed(stack: Stack) -> None:
    """What the others are compared with."""


async def kill_executor(stack: Stack) -> None:
    stack.kill("executor")


async def pause_executor(stack: Stack) -> None:
    """Another one takes over; the sleeper wakes up when its runs have long been given away."""
    stack.pause("executor")
    await asyncio.sleep(PAUSE_SECONDS)  # the fault itself: it lasts so long
    stack.resume("executor")


async def kill_runs_api(stack: Stack) -> None:
    stack.kill("runs")


async def kill_threads(stack: Stack) -> None:
    stack.kill("threads")


async def restart_redis(stack: Stack) -> None:
    stack.kill("redis")


async def restart_postgres(stack: Stack) -> None:
    stack.kill("postgres")


async def drop_database_connections(stack: Stack) -> None:
    """All connections of all services, again and again for three seconds, the server staying up."""
    connection = await asyncpg.connect(stack.backends.runs_dsn)
    try:
        for _ in range(CUTS):
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
            await asyncio.sleep(CUT_SECONDS)  # the fault itself: cuts at this rate
    finally:
        await connection.close()


FAULTS: list[Fault] = [
    undisturbed,
    kill_executor,
    pause_executor,
    kill_runs_api,
    kill_threads,
    restart_redis,
    drop_database_connections,
    restart_postgres,
]


@dataclass(slots=True)
class Client:
    """One client: starts a resumable run and reads its stream to the end, across lost connections."""

    thread_id: str
    file: Path
    events: list[StreamPart] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)

    async def follow(self, client: LangGraphClient) -> None:
        """Notes each event and when it came."""
        stream = client.runs.stream(
            self.thread_id,
            "steps",
            input={"file": str(self.file), "seconds": STEP_SECONDS},
            stream_mode="updates",
            stream_resumable=True,
            durability="sync",
        )
        async for event in stream:
            self.events.append(event)
            self.arrivals.append(monotonic())

    def steps(self) -> list[tuple[str, float]]:
        """The steps that it saw, and when."""
        pairs = zip(self.events, self.arrivals, strict=True)
        return [(name, at) for event, at in pairs if event.event == "updates" for name in event.data]

    def until_progress(self, broken_at: float) -> float | None:
        """Seconds from the fault to the first step not seen before; None for a run that was not under way."""
        before = {name for name, at in self.steps() if at <= broken_at}
        if not before or len(before) == len(STEPS):
            return None
        return min(at - broken_at for name, at in self.steps() if name not in before)


def what_they_saw(clients: list[Client]) -> str:
    """In words, for the table."""
    attempts = Counter(
        max((event.data["attempt"] for event in each.events if event.event == "metadata"), default=0)
        for each in clients
    )
    seen = sum(len(each.steps()) - len(STEPS) for each in clients)
    later = ", ".join(
        f"{count} runs with attempt {attempt}" for attempt, count in sorted(attempts.items()) if attempt > 1
    )
    return f"all {RUNS} streams to their end; {later or 'no second attempt'}; {seen} steps shown twice"


async def check(client: LangGraphClient, each: Client) -> None:
    """One run after the fault: ended, each step once in the state, at most the one under way executed twice."""
    ids = [event.id for event in each.events]
    assert len(set(ids)) == len(ids), f"an event was repeated: {[(e.id, e.event, e.data) for e in each.events]}"
    run = (await client.runs.list(each.thread_id))[0]
    thread = await client.threads.get(each.thread_id)
    assert (run["status"], thread["status"]) == ("success", "idle")
    assert thread["values"]["done"] == STEPS, "each step's effect is there exactly once"
    seen = [name for name, _ in each.steps()]
    assert list(dict.fromkeys(seen)) == [f"step{number}" for number in STEPS]
    ends = Counter(line for line in each.file.read_text().splitlines() if line.startswith("end"))
    repeated = [step for step, count in ends.items() if count > 1]
    assert len(repeated) <= 1, "only the step that was under way may have been executed again"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.timeout(170)
async def test_all_runs_end_and_all_clients_see_it(
    fault: Fault,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    recoveries: list[Recovery],
) -> None:
    executors = (APP, APP) if fault is pause_executor else (APP,)
    options = StackOptions(
        configs=executors, data=tmp_path / "data", slots=50 // len(executors), extra={"runs": SHORT_LEASES}
    )
    async with open_stack(options) as stack, get_client(url=stack.url, timeout=120) as client:
        threads = [(await client.threads.create())["thread_id"] for _ in range(RUNS)]
        clients = [Client(thread_id, tmp_path / thread_id) for thread_id in threads]
        begun = monotonic()
        following = [asyncio.create_task(each.follow(client)) for each in clients]
        await until_line(clients[20].file, "end 3")
        broken_at = monotonic()
        await fault(stack)
        await asyncio.gather(*following)
        total = monotonic() - begun

        waits = [seconds for each in clients if (seconds := each.until_progress(broken_at)) is not None]
        assert waits, "the fault hit runs that were under way"
        recovery = Recovery(fault.__name__, what_they_saw(clients), median(waits), max(waits), total)
        recoveries.append(recovery)
        record_property("progress_again_median_seconds", round(recovery.progress_median, 2))
        record_property("progress_again_worst_seconds", round(recovery.progress_worst, 2))
        record_property("total_seconds", round(total, 1))
        record_property("clients_saw", recovery.saw)
        for each in clients:
            await check(client, each)
