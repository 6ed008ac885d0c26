"""ListRuns: every filter counts, together with every other."""

from itertools import product

import pytest
from threadmill_protos.runs.v1 import runs_pb2


@pytest.fixture
async def runs(system):
    """Two threads with runs of two assistants, two kinds of metadata and two states each."""
    await system.executor("echo", "other").attach()
    threads = [await system.thread(), await system.thread()]
    made = []
    for thread_id, graph, tag in product(threads, ("echo", "other"), ("x", "y")):
        run = await system.create(
            thread_id, assistant_id=graph, metadata_json=b'{"tag":"%s"}' % tag.encode(), after_seconds=99
        )
        made.append({"run_id": run.run_id, "thread_id": thread_id, "assistant_id": graph, "tag": tag})
    await system.sql.execute(
        "UPDATE runs.run SET status = 'error' WHERE run_id = ANY($1::uuid[])", [each["run_id"] for each in made[::3]]
    )
    for place, each in enumerate(made):
        each["state"] = runs_pb2.RUN_STATE_PENDING if place % 3 else runs_pb2.RUN_STATE_ERROR
    return made


@pytest.mark.parametrize("filters", list(product((False, True), repeat=4)))
async def test_filters(system, runs, filters):
    sample = runs[1]
    by_thread, by_assistant, by_tag, by_state = filters
    wanted = {
        name: sample[name]
        for name, used in zip(("thread_id", "assistant_id", "tag", "state"), filters, strict=True)
        if used
    }
    answer = await system.runs.ListRuns(
        runs_pb2.ListRunsRequest(
            thread_id=sample["thread_id"] if by_thread else "",
            assistant_id=sample["assistant_id"] if by_assistant else "",
            metadata_json=b'{"tag":"%s"}' % sample["tag"].encode() if by_tag else b"",
            state=sample["state"] if by_state else runs_pb2.RUN_STATE_UNSPECIFIED,
        )
    )
    expected = [run["run_id"] for run in runs if all(run[name] == value for name, value in wanted.items())]
    assert [run.run_id for run in answer.runs] == list(reversed(expected)), "newest first"


async def test_pages(system, runs):
    pages = [await system.runs.ListRuns(runs_pb2.ListRunsRequest(limit=3, offset=offset)) for offset in (0, 3, 6)]
    assert [run.run_id for page in pages for run in page.runs] == [run["run_id"] for run in reversed(runs)]
