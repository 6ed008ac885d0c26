"""An executor is killed or paused while it runs a graph: the run goes on elsewhere from its last checkpoint."""

from collections import Counter
from pathlib import Path
from typing import Any

from application import APP, SHORT_LEASES
from eventually import until_line
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import Stack, StackOptions, open_stack


def ends(path: Path) -> Counter[str]:
    """How often each step has finished."""
    return Counter(line for line in path.read_text().splitlines() if line.startswith("end"))


async def test_a_killed_executor_costs_no_finished_step(stack: Stack, client: LangGraphClient, tmp_path: Path) -> None:
    notes = tmp_path / "steps"
    thread = await client.threads.create()
    run = await client.runs.create(
        thread["thread_id"], "steps", input={"file": str(notes), "seconds": 0.15}, durability="sync"
    )
    await until_line(notes, "start 4")
    stack.kill("executor")
    values = await client.runs.join(thread["thread_id"], run["run_id"])

    assert values["done"] == list(range(1, 11))
    assert ends(notes) == {f"end {number}": 1 for number in range(1, 11)}
    assert (await client.runs.get(thread["thread_id"], run["run_id"]))["status"] == "success"
    assert (await client.threads.get(thread["thread_id"]))["status"] == "idle"


async def test_a_stream_that_was_open_sees_the_second_attempt_and_the_end(
    stack: Stack, client: LangGraphClient, tmp_path: Path
) -> None:
    notes = tmp_path / "steps"
    thread = await client.threads.create()
    events: list[Any] = []
    killed = False  # once: step3 may be shown again, when it was killed before its checkpoint was written
    async for event in client.runs.stream(
        thread["thread_id"], "steps", input={"file": str(notes), "seconds": 0.15}, stream_mode="updates"
    ):
        events.append(event)
        if event.event == "updates" and "step3" in event.data and not killed:
            killed = True
            stack.kill("executor")

    attempts = [event.data["attempt"] for event in events if event.event == "metadata"]
    steps = [name for event in events if event.event == "updates" for name in event.data]
    assert attempts == [1, 2]
    assert list(dict.fromkeys(steps)) == [f"step{number}" for number in range(1, 11)]


async def test_a_paused_executor_that_wakes_up_late_writes_nothing(tmp_path: Path) -> None:
    notes = tmp_path / "steps"
    options = StackOptions(configs=(APP, APP), data=tmp_path / "data", extra={"runs": SHORT_LEASES})
    async with open_stack(options) as stack, get_client(url=stack.url) as client:
        await stack.stop_process("executor-2")
        thread = await client.threads.create()
        run = await client.runs.create(thread["thread_id"], "steps", input={"file": str(notes), "seconds": 0.3})
        await until_line(notes, "start 3")
        stack.pause("executor")
        await stack.start_process("executor-2")
        values = await client.runs.join(thread["thread_id"], run["run_id"])
        stack.resume("executor")
        # The sleeper's third step ends now; what it writes of it is refused, and it lets go of the run.
        await until_line(notes, "end 3", 2)
        answer = await client.runs.wait(None, "echo", input={"text": "still here"})

        history = await client.threads.get_history(thread["thread_id"], limit=100)
        steps = [state["values"].get("done") for state in history if state["metadata"]["run_id"] == run["run_id"]]
        assert values["done"] == list(range(1, 11))
        assert steps[0] == list(range(1, 11))
        assert len(steps) == 12, "input, ten steps and the start: each once"
        assert (await client.runs.get(thread["thread_id"], run["run_id"]))["status"] == "success"
        assert answer["answer"] == "echo: still here"


async def test_a_run_whose_executor_dies_every_time_ends_in_error(
    stack: Stack, client: LangGraphClient, tmp_path: Path
) -> None:
    notes = tmp_path / "steps"
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "steps", input={"file": str(notes), "seconds": 2})
    for attempt in range(1, 4):
        await until_line(notes, "start 1", attempt)
        stack.kill("executor")
    result = await client.runs.join(thread["thread_id"], run["run_id"])

    assert (await client.runs.get(thread["thread_id"], run["run_id"]))["status"] == "error"
    assert (await client.threads.get(thread["thread_id"]))["status"] == "error"
    assert "__error__" in result
