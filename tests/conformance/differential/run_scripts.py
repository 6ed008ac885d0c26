"""Runs: creation, waiting, joining, listing, interrupts, commands."""

import asyncio
from typing import Any
from uuid import uuid4

from .recording import Recorder
from .scripts import script

HELLO = {"messages": [{"role": "user", "content": "hello", "id": "m1"}]}


async def start(server: Recorder, thread: str, assistant: str, **body: Any) -> str:
    """Id of a run created in the background."""
    run = await server.post(f"/threads/{thread}/runs", {"assistant_id": assistant, **body})
    return str(run["run_id"])


async def wait(server: Recorder, thread: str, assistant: str, **body: Any) -> Any:
    return await server.post(f"/threads/{thread}/runs/wait", {"assistant_id": assistant, **body})


async def look(server: Recorder, thread: str) -> None:
    """The thread and its state."""
    await server.get(f"/threads/{thread}")
    await server.get(f"/threads/{thread}/state")


async def until_running(server: Recorder, thread: str, run: str) -> None:
    """Returns as soon as the run has started; the polling is not recorded."""
    for _ in range(200):
        row = (await server.http.get(f"/threads/{thread}/runs/{run}")).json()
        if row.get("status") != "pending":
            return
        await asyncio.sleep(0.02)


@script
async def run_background(server: Recorder) -> None:
    thread = await server.thread()
    run = await start(server, thread, "echo", input={"text": "a"})
    await server.get(f"/threads/{thread}/runs/{run}/join")
    await server.get(f"/threads/{thread}/runs/{run}")
    await look(server, thread)
    second = await start(server, thread, "echo", input={"text": "b"}, metadata={"m": 1}, if_not_exists="create")
    await server.get(f"/threads/{thread}/runs/{second}/join")
    await server.get(f"/threads/{thread}/runs")
    await server.get(f"/threads/{thread}/runs", params={"limit": 1})
    await server.get(f"/threads/{thread}/runs", params={"limit": 1, "offset": 1})
    await server.get(f"/threads/{thread}/runs", params={"offset": 5})
    await server.get(f"/threads/{thread}/runs", params={"status": "success"})
    await server.get(f"/threads/{thread}/runs", params={"status": "pending"})
    await server.get(f"/threads/{thread}/runs", params={"select": ["run_id", "status"]})
    await server.get(f"/threads/{thread}/runs/{run}/join")
    await server.get(f"/threads/{thread}/history", params={"limit": 10})


@script
async def run_everything_given(server: Recorder) -> None:
    thread = await server.thread(metadata={"of": "thread"})
    run = await start(
        server,
        thread,
        "configured",
        input={"number": 1},
        config={
            "tags": ["t"],
            "recursion_limit": 7,
            "configurable": {"tone": "warm", "other": 1},
            "metadata": {"c": 1},
        },
        metadata={"r": 1},
        stream_mode=["values", "updates", "messages-tuple", "custom"],
        stream_subgraphs=True,
        stream_resumable=True,
        interrupt_before=["nowhere"],
        interrupt_after=["nowhere"],
        multitask_strategy="reject",
        durability="sync",
        after_seconds=-1,
        unknown="ignored",
    )
    await server.get(f"/threads/{thread}/runs/{run}/join")
    await server.get(f"/threads/{thread}/runs/{run}")
    await look(server, thread)


@script
async def run_context(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "configured", input={"number": 1}, context={"tone": "warm", "other": 1})
    await wait(server, thread, "configured", input={}, context={"size": 3})
    await server.get(f"/threads/{thread}/runs")
    await wait(server, thread, "configured", input={"number": -1})
    await look(server, thread)
    await wait(server, await server.thread(), "configured", input={"number": "x"})
    await wait(server, await server.thread(), "configured", input={})
    await server.post("/runs/wait", {"assistant_id": "configured", "input": {}, "config": {"tags": ["a", "b"]}})


@script
async def run_kwargs_variants(server: Recorder) -> None:
    thread = await server.thread()
    variants: list[dict[str, Any]] = [
        {"checkpoint_during": False},
        {"checkpoint_during": True},
        {"durability": "exit"},
        {"stream_mode": "values"},
        {"stream_mode": []},
        {"stream_mode": "messages"},
        {"interrupt_before": "*"},
        {"interrupt_after": ["*"]},
        {"feedback_keys": []},
        {"command": {"update": {"text": "u"}, "goto": "reply"}},
        {"command": {}},
        {"context": {"a": 1}},
        {"config": {"configurable": {"a": 1}, "max_concurrency": 2, "run_name": "named"}},
        {"config": {"metadata": {"thread_id": "x", "graph_id": "y", "k": 1}}},
        {"metadata": {"run_id": "x", "assistant_id": "y", "thread_id": "z", "cron_id": "c", "k": 1}},
        {"langsmith_tracer": {"project_name": "p", "example_id": "e"}},
        {"input": [1, 2]},
        {"input": {"text": None}},
        {"checkpoint": {"checkpoint_id": str(uuid4()), "checkpoint_ns": ""}},
        {"checkpoint_id": str(uuid4())},
        {"on_disconnect": "nonsense", "on_completion": "keep"},
    ]
    for variant in variants:
        run = await start(server, thread, "echo", **{"input": {"text": "v"}, **variant})
        await server.get(f"/threads/{thread}/runs/{run}/join")
        await server.get(f"/threads/{thread}/runs/{run}")


@script
async def run_stateless(server: Recorder) -> None:
    body = {"assistant_id": "echo", "input": {"text": "a"}}
    await server.post("/runs/wait", body)
    run = await server.post("/runs", {"assistant_id": "slow", "input": {"seconds": 1}, "metadata": {"m": 1}})
    await server.get(f"/threads/{run['thread_id']}")
    await server.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}/join")
    await asyncio.sleep(0.5)
    await server.get(f"/threads/{run['thread_id']}")
    await server.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}")
    kept = await server.post("/runs", {**body, "on_completion": "keep"})
    await server.get(f"/threads/{kept['thread_id']}/runs/{kept['run_id']}/join")
    await server.get(f"/threads/{kept['thread_id']}/runs/{kept['run_id']}")
    await look(server, kept["thread_id"])
    await server.post("/runs/batch", [body, {"assistant_id": "slow", "input": {"seconds": 0.1}}])
    await server.post("/runs/wait", {"assistant_id": "ask", "input": {"question": "q?"}})
    await server.post("/runs/wait", {"assistant_id": "failing", "input": {"error": "OSError"}})
    await server.post("/runs/wait", {**body, "stream_mode": "updates"})
    await server.post("/runs/wait", {**body, "metadata": {"m": 1}, "config": {"configurable": {"x": 1}}})
    await server.get(f"/runs/{kept['run_id']}")


@script
async def run_wait_bodies(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "echo", input={"text": "a"}, stream_mode="updates")
    await wait(server, thread, "echo", input={"text": "b"}, stream_mode=["updates", "values"])
    await wait(server, thread, "echo", input=None)
    await wait(server, await server.thread(), "echo")
    await wait(server, await server.thread(), "echo", input={})
    await wait(server, await server.thread(), "echo", input={"unknown": 1})
    await wait(server, await server.thread(), "chat", input=HELLO)
    await wait(server, await server.thread(), "agent", input=HELLO)
    await wait(server, await server.thread(), "deep", input=HELLO)
    await wait(server, str(uuid4()), "echo", input={"text": "new"}, if_not_exists="create", metadata={"m": 1})


@script
async def run_lazily_created_thread(server: Recorder) -> None:
    thread = server.name(str(uuid4()))
    await server.post(f"/threads/{thread}/runs", {"assistant_id": "echo", "input": {"text": "a"}})
    run = await start(
        server,
        thread,
        "echo",
        input={"text": "a"},
        if_not_exists="create",
        metadata={"m": 1},
        config={"tags": ["t"], "configurable": {"c": 1}, "recursion_limit": 9},
    )
    await server.get(f"/threads/{thread}/runs/{run}/join")
    await look(server, thread)
    await server.get(f"/threads/{thread}/runs/{run}")


@script
async def run_errors_and_masking(server: Recorder) -> None:
    for error in ("ValueError", "OSError", "RuntimeError"):
        thread = await server.thread()
        await wait(server, thread, "failing", input={"error": error, "message": "what happened"})
        await look(server, thread)
        run = await start(server, thread, "failing", input={"error": error})
        await server.get(f"/threads/{thread}/runs/{run}/join")
        await server.get(f"/threads/{thread}/runs/{run}")
        await server.get(f"/threads/{thread}/history", params={"limit": 10})
        await server.stream("POST", f"/threads/{thread}/runs/stream", {"assistant_id": "failing", "input": {}})
    thread = await server.thread()
    await wait(server, thread, "failing", input={"error": "KeyErrors"})
    await wait(server, thread, "failing", input=5)
    await wait(server, await server.thread(), "failing", input=5)
    await wait(server, await server.thread(), "agent", input=HELLO, config={"recursion_limit": 2})
    await wait(server, await server.thread(), "agent", input=HELLO, config={"recursion_limit": 0})
    await wait(server, await server.thread(), "echo", input={"text": "a"}, config={"recursion_limit": "x"})


@script
async def run_interrupt_and_resume(server: Recorder) -> None:
    for resume in ("yes", {"a": 1}, None, False, 0, [1, 2], ""):
        thread = await server.thread()
        await wait(server, thread, "ask", input={"question": "q?"})
        await look(server, thread)
        await wait(server, thread, "ask", command={"resume": resume})
        await look(server, thread)
    await server.get(f"/threads/{thread}/history", params={"limit": 20})
    await wait(server, thread, "ask", command={"resume": "nothing pending"})
    await server.get(f"/threads/{thread}/runs")


@script
async def run_commands(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "ask", input={"question": "q?"})
    await wait(server, thread, "ask", command={"resume": "yes", "update": {"log": ["updated"]}})
    await look(server, thread)
    forms: list[dict[str, Any]] = [
        {"goto": "finish"},
        {"goto": ["finish", "prepare"]},
        {"goto": {"node": "finish", "input": {"log": ["sent"]}}},
        {"goto": [{"node": "finish", "input": {}}]},
        {"goto": "nowhere"},
        {"update": {"question": "new?"}},
        {"update": [["log", ["pair"]]]},
        {"update": {"unknown": 1}},
        {"goto": "ask", "update": {"question": "again?"}},
        {"resume": "with update", "update": [["log", ["pair"]]]},
        {},
    ]
    for form in forms:
        await wait(server, thread, "ask", command=form)
        await look(server, thread)
    await wait(server, thread, "ask", input={"question": "ignored"}, command={"goto": "finish"})
    await wait(server, thread, "ask", input={"question": "fresh?"})
    await wait(server, thread, "ask", input={"question": "fresher?"})
    await wait(server, thread, "ask", input=None)
    await look(server, thread)


@script
async def run_several_interrupts(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "fan", input={"items": ["a", "b"], "ask": True})
    await look(server, thread)
    await wait(server, thread, "fan", command={"resume": "both"})
    await look(server, thread)
    thread = await server.thread()
    await wait(server, thread, "fan", input={"items": ["a", "b"], "ask": True})
    state = (await server.get(f"/threads/{thread}/state"))["interrupts"]
    first, second = (interrupt["id"] for interrupt in state)
    await wait(server, thread, "fan", command={"resume": {first: "one"}})
    await look(server, thread)
    await wait(server, thread, "fan", command={"resume": {second: "two"}})
    await look(server, thread)
    thread = await server.thread()
    await wait(server, thread, "fan", input={"items": ["a", "b", "c"], "ask": True})
    state = (await server.get(f"/threads/{thread}/state"))["interrupts"]
    await wait(server, thread, "fan", command={"resume": {i["id"]: n for n, i in enumerate(state)}})
    await look(server, thread)
    run = await start(server, await server.thread(), "fan", input={"items": ["a", "b"], "ask": True})
    row = server.exchanges[-1].body
    await server.get(f"/threads/{row['thread_id']}/runs/{run}/join")
    await server.get(f"/threads/{row['thread_id']}/runs/{run}/join")


@script
async def run_breakpoints(server: Recorder) -> None:
    for field in ("interrupt_before", "interrupt_after"):
        for value in (["ask"], "*", ["prepare", "finish"], []):
            thread = await server.thread()
            await wait(server, thread, "ask", input={"question": "q?"}, **{field: value})
            await look(server, thread)
            await wait(server, thread, "ask", input=None)
            await look(server, thread)
            await wait(server, thread, "ask", command={"resume": "r"}, **{field: value})
            await look(server, thread)


@script
async def run_nested_interrupt(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "nested", input={"ask": True})
    await look(server, thread)
    await server.get(f"/threads/{thread}/state", params={"subgraphs": "true"})
    await server.get(f"/threads/{thread}/history", params={"limit": 10})
    await wait(server, thread, "nested", command={"resume": "inside"})
    await look(server, thread)
    await server.get(f"/threads/{thread}/state", params={"subgraphs": "true"})


@script
async def run_fork(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "ask", input={"question": "q?"})
    await wait(server, thread, "ask", command={"resume": "first"})
    history = await server.get(f"/threads/{thread}/history", params={"limit": 10})
    at_ask = next(row for row in history if row["next"] == ["ask"])
    await wait(server, thread, "ask", checkpoint_id=at_ask["checkpoint_id"], command={"resume": "second"})
    await wait(server, thread, "ask", checkpoint=at_ask["checkpoint"], input=None)
    await look(server, thread)
    await server.get(f"/threads/{thread}/history", params={"limit": 20})
    await server.get(f"/threads/{thread}/runs")


@script
async def run_durability(server: Recorder) -> None:
    for options in (
        {"durability": "exit"},
        {"durability": "sync"},
        {"durability": "async"},
        {"checkpoint_during": False},
    ):
        thread = await server.thread()
        await wait(server, thread, "nested", input={"ask": False}, **options)
        await server.get(f"/threads/{thread}/history", params={"limit": 10})
        await look(server, thread)
    thread = await server.thread()
    await wait(server, thread, "ask", input={}, durability="exit")
    await look(server, thread)
    await wait(server, thread, "ask", command={"resume": 1}, durability="exit")
    await server.get(f"/threads/{thread}/history", params={"limit": 10})
