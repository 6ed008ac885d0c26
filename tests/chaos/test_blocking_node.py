"""A node that blocks its event loop for longer than the lease harms nobody but itself."""

import asyncio
from time import monotonic

from eventually import until
from langgraph_sdk.client import LangGraphClient

BLOCKED_SECONDS = 8.0  # the lease lasts 3
MOMENTS = 4.0


async def started(client: LangGraphClient, thread_id: str, run_id: str) -> None:
    async def running() -> bool:
        return bool((await client.runs.get(thread_id, run_id))["status"] == "running")

    await until(running)


async def test_a_blocking_node_keeps_its_lease_and_stalls_nobody(client: LangGraphClient) -> None:
    streaming, blocked, other = [await client.threads.create() for _ in range(3)]
    gaps: list[float] = []
    tokens = ""

    async def read_tokens() -> None:
        nonlocal tokens
        last = monotonic()
        async for event in client.runs.stream(
            streaming["thread_id"],
            "tokens",
            input={"messages": "go", "count": 100, "pause": 0.05},
            stream_mode=["values", "messages-tuple"],
        ):
            gaps.append(monotonic() - last)
            last = monotonic()
            if event.event == "values" and event.data["messages"]:
                tokens = event.data["messages"][-1]["content"]

    reading = asyncio.create_task(read_tokens())
    run = await client.runs.create(blocked["thread_id"], "blocking", input={"seconds": BLOCKED_SECONDS})
    await started(client, blocked["thread_id"], run["run_id"])
    begun = monotonic()
    answers = []
    while monotonic() - begun < BLOCKED_SECONDS - 2:
        before = monotonic()
        await client.runs.wait(other["thread_id"], "echo", input={"text": "quick"})
        answers.append(monotonic() - before)
    await reading
    values = await client.runs.join(blocked["thread_id"], run["run_id"])

    assert values == {"seconds": BLOCKED_SECONDS, "done": True}
    state = await client.threads.get_state(blocked["thread_id"])
    assert state["metadata"]["run_attempt"] == 1, "the lease was kept"
    assert tokens == "".join(f"t{n} " for n in range(100))
    assert max(gaps) < MOMENTS
    assert max(answers) < MOMENTS


async def test_a_cancel_reaches_a_run_that_blocks_its_loop(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "blocking", input={"seconds": 20})
    await started(client, thread["thread_id"], run["run_id"])
    before = monotonic()
    await client.runs.cancel(thread["thread_id"], run["run_id"], wait=True)

    assert monotonic() - before < MOMENTS
    assert (await client.runs.get(thread["thread_id"], run["run_id"]))["status"] == "interrupted"
    # The node may have blocked the loop before the first checkpoint left it; then nothing is left to go on with.
    state = await client.threads.get_state(thread["thread_id"])
    rests = "interrupted" if state["next"] else "idle"
    assert (await client.threads.get(thread["thread_id"]))["status"] == rests
