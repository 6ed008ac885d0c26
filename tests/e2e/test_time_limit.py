"""Runs whose time is up, in a system where that is after two seconds; and graphs that cancel themselves."""

from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import StackOptions, open_stack

from .conftest import APP, ENVIRONMENT
from .driving import collect, run_has, thread_has

LIMIT_SECONDS = 2.0
# The grace in which the graph may stop, reading the thread's state, and a machine that is busy.
MOMENTS = 8.0
TIMED_OUT = {"error": "TimeoutError", "message": ""}


@pytest.fixture(scope="module")
async def hasty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LangGraphClient]:
    """A client of a system whose runs may take two seconds."""
    options = StackOptions(
        configs=(APP,),
        data=tmp_path_factory.mktemp("hasty"),
        environment=ENVIRONMENT,
        extra={"runs": {"BG_JOB_TIMEOUT_SECS": str(LIMIT_SECONDS)}},
    )
    async with open_stack(options) as stack, get_client(url=stack.url) as client:
        yield client


@pytest.mark.parametrize("graph", ["slow", "sleeping", "blocking"])
async def test_run_ends_in_time_whatever_its_node_does(hasty: LangGraphClient, graph: str) -> None:
    """`slow` waits, `sleeping` blocks a thread of its own, `blocking` blocks its event loop."""
    thread_id = (await hasty.threads.create())["thread_id"]
    begun = monotonic()
    parts = await collect(hasty.runs.stream(thread_id, graph, input={"seconds": 25}, stream_mode=["updates"]))
    assert LIMIT_SECONDS <= monotonic() - begun < LIMIT_SECONDS + MOMENTS
    assert [part.event for part in parts] == ["metadata"], "the stream just closes"
    run = (await hasty.runs.list(thread_id))[0]
    thread = await hasty.threads.get(thread_id)
    assert (run["status"], thread["status"], thread["error"]) == ("timeout", "error", TIMED_OUT)


async def test_thread_goes_on_after_a_time_out(hasty: LangGraphClient) -> None:
    thread_id = (await hasty.threads.create())["thread_id"]
    result: Any = await hasty.runs.wait(thread_id, "slow", input={"seconds": 25}, raise_error=False)
    assert result == {"seconds": 25.0}, "the last values that were streamed"
    quick: Any = await hasty.runs.wait(thread_id, "echo", input={"text": "hi"})
    assert quick["answer"] == "echo: hi"
    await thread_has(hasty, thread_id, "idle")


async def test_stateless_run_times_out_and_leaves_nothing(hasty: LangGraphClient) -> None:
    parts = await collect(hasty.runs.stream(None, "slow", input={"seconds": 25}, stream_mode="updates"))
    assert [part.event for part in parts] == ["metadata"]


async def test_time_in_the_queue_does_not_count(hasty: LangGraphClient) -> None:
    thread_id = (await hasty.threads.create())["thread_id"]
    first = await hasty.runs.create(thread_id, "slow", input={"seconds": 1.5})
    second = await hasty.runs.create(thread_id, "slow", input={"seconds": 1.5})
    for run in (first, second):
        assert (await run_has(hasty, dict(run), "success", "timeout"))["status"] == "success"


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("raise", {"error": "NodeCancelledError", "message": "An internal error occurred"}),
        ("task", {"error": "NodeCancelledError", "message": "An internal error occurred"}),
        ("all", {"error": "RuntimeError", "message": "the graph cancelled itself"}),
    ],
)
async def test_graph_that_cancels_itself_fails(hasty: LangGraphClient, how: str, error: dict[str, str]) -> None:
    thread_id = (await hasty.threads.create())["thread_id"]
    parts = await collect(hasty.runs.stream(thread_id, "cancels", input={"how": how}, stream_mode="updates"))
    assert [part.event for part in parts] == ["metadata", "error"]
    assert parts[-1].data == error
    run = (await hasty.runs.list(thread_id))[0]
    thread = await hasty.threads.get(thread_id)
    assert (run["status"], thread["status"], thread["error"]) == ("error", "error", error)
