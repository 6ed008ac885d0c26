"""The thread-streaming protocol: every frame of a run, filters, replay, commands and what they refuse."""

import asyncio
from typing import Any
from uuid import uuid4

from .recording import Event, Recorder
from .run_scripts import HELLO, look
from .scripts import script, script_alone
from .stream_scripts import GRAPHS

CHANNELS = ("values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints")
ENDS = ("completed", "failed", "interrupted")


async def command(server: Recorder, thread: str, method: str, params: Any = None) -> Any:
    """The answer to one command."""
    return await server.post(f"/threads/{thread}/commands", {"id": 1, "method": method, "params": params})


async def run(server: Recorder, thread: str, assistant: str, graph_input: Any, **body: Any) -> Any:
    """Starts a run on a stream that is open already, and follows it to its end."""
    wanted = {"channels": CHANNELS, **body}
    async with server.open_stream("POST", f"/threads/{thread}/stream/events", wanted) as events:
        answer = await command(server, thread, "run.start", {"assistant_id": assistant, "input": graph_input})
        async for event in events:
            if _is_end(event):
                break
    return answer


def _is_end(event: Event) -> bool:
    params = event.data["params"]
    return event.name == "lifecycle" and not params["namespace"] and params["data"]["event"] in ENDS


async def replay(server: Recorder, thread: str, until: int, **body: Any) -> None:
    """What a new stream begins with, up to an event."""
    wanted = {"channels": CHANNELS, **body}
    async with server.open_stream("POST", f"/threads/{thread}/stream/events", wanted) as events:
        async for event in events:
            if event.data["seq"] >= until:
                break


@script
async def protocol_plain(server: Recorder) -> None:
    await run(server, server.name(str(uuid4())), "echo", {"text": "hi"})


@script
async def protocol_messages(server: Recorder) -> None:
    for assistant in ("chat", "agent", "tokens"):
        await run(server, server.name(str(uuid4())), assistant, GRAPHS[assistant])


@script
async def protocol_subgraphs(server: Recorder) -> None:
    thread = server.name(str(uuid4()))
    await run(server, thread, "deep", GRAPHS["deep"])
    for body in ({"namespaces": [[]], "depth": 0}, {"namespaces": [[]], "depth": 1}):
        await run(server, server.name(str(uuid4())), "deep", GRAPHS["deep"], **body)


@script
async def protocol_forms_of_graphs(server: Recorder) -> None:
    await run(server, server.name(str(uuid4())), "workflow", {"text": "hi"})
    await run(server, server.name(str(uuid4())), "private", {"text": "hi"})


@script
async def protocol_failing(server: Recorder) -> None:
    for error in ("ValueError", "OSError"):
        thread = server.name(str(uuid4()))
        await run(server, thread, "failing", {"error": error})
        await _settled(server, thread)
        await look(server, thread)


@script
async def protocol_replay(server: Recorder) -> None:
    thread = server.name(str(uuid4()))
    await run(server, thread, "echo", {"text": "one"})
    await replay(server, thread, 4)
    await replay(server, thread, 4, since=2)
    await replay(server, thread, 4, channels=["lifecycle"], since=1)


@script
async def protocol_people(server: Recorder) -> None:
    thread = server.name(str(uuid4()))
    await command(server, thread, "run.start", {"assistant_id": "ask", "input": GRAPHS["ask"]})
    await _settled(server, thread)
    row = await server.get(f"/threads/{thread}")
    (interrupt,) = (each for of_task in row["interrupts"].values() for each in of_task)
    await command(server, thread, "input.respond", {"interrupt_id": "unknown", "response": 1})
    await command(server, thread, "input.respond", {"interrupt_id": interrupt["id"], "response": "yes"})
    await _settled(server, thread)
    await look(server, thread)
    await command(server, thread, "input.respond", {"interrupt_id": interrupt["id"], "response": "again"})


async def _settled(server: Recorder, thread: str) -> None:
    """Returns once the thread shows the end of its run: on the reference, a moment after it was told."""
    runs = (await server.http.get(f"/threads/{thread}/runs")).json()
    await server.http.get(f"/threads/{thread}/runs/{runs[0]['run_id']}/join")
    for _ in range(100):
        row = (await server.http.get(f"/threads/{thread}")).json()
        if row["status"] != "busy" and "error" in row:
            return
        await asyncio.sleep(0.02)


@script
async def protocol_resume_by_input(server: Recorder) -> None:
    thread = server.name(str(uuid4()))
    await command(server, thread, "run.start", {"assistant_id": "ask", "input": GRAPHS["ask"]})
    await _settled(server, thread)
    await command(server, thread, "run.start", {"assistant_id": "ask", "input": "yes"})
    await _settled(server, thread)
    await look(server, thread)


@script
async def protocol_refused_streams(server: Recorder) -> None:
    thread = server.name(str(uuid4()))
    for body in ({}, {"channels": None}, {"channels": "values"}, {"channels": []}, {"channels": ["values", "no"]}):
        await server.post(f"/threads/{thread}/stream/events", body)
    for content in (b"", b"{bad", b"[1]", b"null"):
        await server.raw("POST", f"/threads/{thread}/stream/events", content)
    await server.get(f"/threads/{thread}/stream/events")
    await server.get(f"/threads/{thread}/commands")


@script
async def protocol_refused_commands(server: Recorder) -> None:
    thread = server.name(str(uuid4()))
    for content in (b"", b"{x", b"[]", b"null", b"{}", b'{"id":1}', b'{"id":"1","method":"agent.getTree"}'):
        await server.raw("POST", f"/threads/{thread}/commands", content)
    for method in ("agent.getTree", "state.get", "input.inject", "bogus", "subscription.unsubscribe"):
        await command(server, thread, method)
    for params in (None, "x", {}, {"assistant_id": 5}, {"assistant_id": "nope", "input": {}}):
        await command(server, thread, "run.start", params)
    for configurable in ({"checkpoint_id": "zz"}, {"checkpoint_id": 5}, {"checkpoint_id": ""}):
        params = {"assistant_id": "echo", "input": {}, "config": {"configurable": configurable}}
        await command(server, thread, "run.start", params)
    for tracer in ("x", {"foo": "x"}, {"project_name": 3}):
        await command(server, thread, "run.start", {"assistant_id": "echo", "input": {}, "langsmith_tracer": tracer})
    for params in ({}, {"interrupt_id": 3}, {"responses": []}, {"responses": ["a"]}, {"responses": [{}]}):
        await command(server, thread, "input.respond", params)
    await command(server, thread, "input.respond", {"interrupt_id": "x", "response": 1})
    for params in ({}, {"channels": []}, {"channels": ["bogus"]}):
        await command(server, thread, "subscription.subscribe", params)
    await command(server, thread, "subscription.unsubscribe", {"subscription_id": "x"})
    await command(server, thread, "subscription.reconnect", {"channels": ["values"], "since": 3})
    await command(server, "not-an-id", "run.start", {"assistant_id": "echo", "input": {}})


@script_alone
async def protocol_cancelled(server: Recorder) -> None:
    thread = server.name(str(uuid4()))
    async with server.open_stream("POST", f"/threads/{thread}/stream/events", {"channels": CHANNELS}) as events:
        started = await command(server, thread, "run.start", {"assistant_id": "slow", "input": {"seconds": 20}})
        async for event in events:
            if event.name == "values":
                run_id = started["result"]["run_id"]
                await server.post(f"/threads/{thread}/runs/{run_id}/cancel", params={"wait": "true"})
            if _is_end(event):
                break
    await _settled(server, thread)
    await look(server, thread)


@script
async def protocol_and_classic_runs(server: Recorder) -> None:
    thread = server.name(str(uuid4()))
    started = await command(server, thread, "run.start", {"assistant_id": "chat", "input": HELLO})
    run_id = server.name(started["result"]["run_id"])
    await server.get(f"/threads/{thread}/runs/{run_id}/join")
    await server.get(f"/threads/{thread}/runs/{run_id}")
    await server.post(f"/threads/{thread}/runs/wait", {"assistant_id": "chat", "input": HELLO})
    await look(server, thread)
