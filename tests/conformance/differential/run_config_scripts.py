"""Runs with configs: of assistants, of threads, of batches."""

from typing import Any
from uuid import uuid4

from .recording import Recorder
from .run_scripts import look, wait
from .scripts import script


@script
async def run_batch(server: Recorder) -> None:
    body = {"assistant_id": "echo", "input": {"text": "a"}}
    everything = {
        **body,
        "metadata": {"m": {"n": 1}},
        "config": {"tags": ["t"], "recursion_limit": 7, "configurable": {"c": 1}, "metadata": {"k": 1}},
        "stream_mode": ["updates"],
        "stream_subgraphs": True,
        "stream_resumable": True,
        "interrupt_before": ["nowhere"],
        "interrupt_after": [],
        "durability": "sync",
        "on_completion": "keep",
        "feedback_keys": [],
        "unknown": 1,
    }
    kept = await server.post("/runs/batch", [everything, {**everything, "context": {}}])
    for row in kept:
        await server.get(f"/threads/{row['thread_id']}/runs/{row['run_id']}/join")
        await look(server, row["thread_id"])
    bad: tuple[Any, ...] = (
        {"stream_mode": "nonsense"}, {"command": {"resume": 1}}, {"metadata": None}, {"after_seconds": "x"},
        {"context": {"a": 1}, "config": {"configurable": {"b": 1}}}, {"checkpoint": None}, {"webhook": "/relative"},
        {"on_completion": "nonsense"}, {"assistant_id": str(uuid4())}, {"input": None},
    )  # fmt: skip
    for one in bad:
        await server.post("/runs/batch", [{**body, **one}])
    await server.post("/runs/batch", [body, 5])


@script
async def run_configs_of_a_thread(server: Recorder) -> None:
    """What the row of a thread shows of the configs of its runs."""
    assistant = await server.post(
        "/assistants",
        {"graph_id": "echo", "config": {"tags": ["a"], "recursion_limit": 11, "configurable": {"c": "A"}}},
    )
    configs: tuple[dict[str, Any], ...] = (
        {}, {"tags": ["t"], "configurable": {"c": 1}}, {}, {"configurable": {"d": 2}, "metadata": {"m": 1}},
        {"max_concurrency": 3}, {"tags": []},
    )  # fmt: skip
    for made in ("echo", assistant["assistant_id"]):
        thread = server.name(str(uuid4()))
        for config in configs:
            for of in (made, "echo"):
                await wait(server, thread, of, input={"text": "a"}, config=config, if_not_exists="create")
                await server.get(f"/threads/{thread}")
    thread = server.name(str(uuid4()))
    given = {"config": {"metadata": {"k": "config", "l": 1}}, "metadata": {"k": "run"}}
    await wait(server, thread, "echo", input={"text": "a"}, if_not_exists="create", **given)
    await server.get(f"/threads/{thread}")


@script
async def run_on_assistant(server: Recorder) -> None:
    assistant = await server.post(
        "/assistants",
        {
            "graph_id": "configured",
            "config": {"tags": ["a"], "recursion_limit": 11, "configurable": {"tone": "sharp", "extra": "e"}},
            "metadata": {"of": "assistant"},
            "name": "sharp one",
        },
    )
    thread = await server.thread(metadata={"of": "thread", "also": 1})
    await wait(server, thread, assistant["assistant_id"], input={"number": 1})
    await wait(server, thread, assistant["assistant_id"], input={}, config={"configurable": {"size": 5}, "tags": ["b"]})
    await wait(server, thread, assistant["assistant_id"], input={}, context={"size": 6}, metadata={"r": 1})
    await server.get(f"/threads/{thread}/runs")
    await look(server, thread)
    await wait(server, thread, "echo", input={"text": "another graph"})
    await server.get(f"/threads/{thread}")
    await server.call("DELETE", f"/assistants/{assistant['assistant_id']}")
    await wait(server, thread, assistant["assistant_id"], input={})
    await server.get(f"/threads/{thread}/runs")
