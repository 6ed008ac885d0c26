"""Graphs of every kind: private channels, Send to subgraphs, commands to a parent, tools that ask, all forms."""

from typing import Any
from uuid import uuid4

from .assistant_scripts import BY_GRAPH
from .recording import Recorder
from .run_scripts import look, wait
from .scripts import script
from .stream_scripts import MODES, run

VIEWED = ("private", "spread", "twice", "builder", "factory", "opened", "workflow", "deltas")
SPREAD = {"items": ["a", "b"], "ask": True}
ASK = {"messages": [{"role": "user", "content": "book", "id": "m1"}]}


async def _resume_all(server: Recorder, thread: str, graph: str, rounds: int = 4) -> None:
    """Answers every interrupt by its id, as long as there are some."""
    for number in range(rounds):
        state = await server.get(f"/threads/{thread}/state?subgraphs=true")
        interrupts = state["interrupts"]
        if not interrupts:
            return
        answers = {one["id"]: f"answer {number}" for one in interrupts}
        await wait(server, thread, graph, command={"resume": answers})
        await look(server, thread)


@script
async def graph_views(server: Recorder) -> None:
    for graph in VIEWED:
        base = f"/assistants/{BY_GRAPH[graph]}"
        await server.get(base)
        for view in ("graph", "graph?xray=true", "graph?xray=1", "schemas", "subgraphs", "subgraphs?recurse=true"):
            await server.get(f"{base}/{view}")
        await server.get(f"/assistants/{graph}/graph")


@script
async def graph_private(server: Recorder) -> None:
    for ask in (False, True):
        thread = await server.thread()
        await wait(server, thread, "private", input={"question": "why?", "ask": ask, "unknown": 1})
        await look(server, thread)
        await _resume_all(server, thread, "private")
        rows = await server.get(f"/threads/{thread}/history", params={"limit": 10})
        for row in rows:
            await server.get(f"/threads/{thread}/state/{row['checkpoint_id']}")
        await server.post(f"/threads/{thread}/state", {"values": {"draft": "by hand"}, "as_node": "sketch"})
        await look(server, thread)
        await wait(server, thread, "private", input=None)
        await server.post(f"/threads/{thread}/state", {"values": {"log": ["x"], "answer": "y"}})
        await look(server, thread)


@script
async def graph_spread(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "spread", input={"items": ["a", "b"]})
    await look(server, thread)
    thread = await server.thread()
    await wait(server, thread, "spread", input=SPREAD)
    await server.get(f"/threads/{thread}")
    await _resume_all(server, thread, "spread")
    await server.get(f"/threads/{thread}/history", params={"limit": 10})
    thread = await server.thread()
    await wait(server, thread, "spread", input=SPREAD)
    state = await server.get(f"/threads/{thread}/state?subgraphs=true")
    first = state["interrupts"][0]["id"]
    await wait(server, thread, "spread", command={"resume": {first: "only one"}})
    await look(server, thread)
    copy = (await server.post(f"/threads/{thread}/copy"))["thread_id"]
    await _resume_all(server, copy, "spread")
    await server.get(f"/threads/{thread}/state?subgraphs=true")


@script
async def graph_twice(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "twice", input=ASK)
    await look(server, thread)
    await _resume_all(server, thread, "twice")
    await server.get(f"/threads/{thread}/history", params={"limit": 10})
    thread = await server.thread()
    await wait(server, thread, "twice", input=ASK)
    for answer in ("tool", "one", "two"):
        await wait(server, thread, "twice", command={"resume": answer})
        await look(server, thread)


@script
async def graph_forms(server: Recorder) -> None:
    for graph in ("builder", "factory", "opened"):
        thread = await server.thread()
        await wait(server, thread, graph, input={"text": "quiet"})
        await look(server, thread)
        await server.post(f"/threads/{thread}/state", {"values": {"text": "by hand"}, "as_node": "shout"})
        await look(server, thread)
        await server.post("/runs/wait", {"assistant_id": graph, "input": {"text": "stateless"}})


@script
async def graph_workflow(server: Recorder) -> None:
    thread = await server.thread()
    for number in (1, 2, -3):
        await wait(server, thread, "workflow", input=number)
        await look(server, thread)
    await wait(server, thread, "workflow", command={"resume": "on"})
    await look(server, thread)
    await server.get(f"/threads/{thread}/history", params={"limit": 20})
    for mode in ("values", "updates", "tasks"):
        await run(server, await server.thread(), "workflow", mode, input=4)
    await wait(server, await server.thread(), "workflow", input="text")


@script
async def graph_deltas(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "deltas", input={"items": ["given"], "ask": True})
    await look(server, thread)
    await wait(server, thread, "deltas", command={"resume": "yes"})
    await look(server, thread)
    rows = await server.get(f"/threads/{thread}/history", params={"limit": 10})
    for row in rows:
        await server.get(f"/threads/{thread}/state/{row['checkpoint_id']}")
    await server.post(f"/threads/{thread}/state", {"values": {"items": ["by hand"]}, "as_node": "first"})
    await look(server, thread)
    copy = (await server.post(f"/threads/{thread}/copy"))["thread_id"]
    await look(server, copy)
    await wait(server, copy, "deltas", input={"items": ["again"], "ask": False})
    await look(server, copy)


async def _streams(server: Recorder, graph: str, value: Any, *, subgraphs: bool) -> None:
    for mode in MODES:
        thread = await server.thread()
        await run(server, thread, graph, mode, input=value, stream_subgraphs=subgraphs)
        if graph == "spread":
            interrupts = (await server.get(f"/threads/{thread}/state"))["interrupts"]
            answers = {one["id"]: "yes" for one in interrupts}
            await run(server, thread, graph, mode, command={"resume": answers}, stream_subgraphs=subgraphs)


@script
async def stream_spread(server: Recorder) -> None:
    await _streams(server, "spread", {**SPREAD, "items": ["a"]}, subgraphs=False)


@script
async def stream_spread_subgraphs(server: Recorder) -> None:
    await _streams(server, "spread", {**SPREAD, "items": ["a"]}, subgraphs=True)


@script
async def stream_twice(server: Recorder) -> None:
    await _streams(server, "twice", ASK, subgraphs=False)


@script
async def stream_private(server: Recorder) -> None:
    await _streams(server, "private", {"question": "why?"}, subgraphs=False)


@script
async def bulk_supersteps(server: Recorder) -> None:
    forms: tuple[list[dict[str, Any]], ...] = (
        [{"updates": [{"values": {"items": ["a"]}, "as_node": "__input__"}]}],
        [
            {"updates": [{"values": {"items": ["a", "b"]}, "as_node": "__input__"}]},
            {"updates": [{"values": {}, "as_node": "split"}]},
            {
                "updates": [
                    {"values": {"done": ["one"]}, "as_node": "work"},
                    {"values": {"done": ["two"]}, "as_node": "work"},
                ]
            },
            {"updates": [{"values": {"done": ["joined"]}, "as_node": "join"}]},
        ],
        [{"updates": []}],
        [{"updates": [{"values": {"items": 5}, "as_node": "__input__"}]}],
        [{"updates": [{"values": None, "as_node": "split"}]}],
        [{"updates": [{"values": {}, "as_node": "nowhere"}]}],
        [{"updates": [{"values": {}}]}],
        [{"updates": "x"}],
    )
    for steps in forms:
        thread = server.name(str(uuid4()))
        await server.post("/threads", {"thread_id": thread, "supersteps": steps, "metadata": {"graph_id": "fan"}})
        await look(server, thread)
        await server.get(f"/threads/{thread}/history", params={"limit": 10})
