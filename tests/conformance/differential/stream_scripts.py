"""Streams: every mode, subgraphs, interrupts, errors, joining, resuming, and the stream of a thread."""

import asyncio
from typing import Any
from uuid import uuid4

from .recording import Event, Recorder
from .run_scripts import HELLO, start, until_running, wait
from .scripts import script, script_alone

MODES = ("values", "updates", "messages", "messages-tuple", "tasks", "checkpoints", "debug", "custom", "events")
GRAPHS: dict[str, dict[str, Any]] = {
    "chat": HELLO,
    "agent": HELLO,
    "deep": HELLO,
    "nested": {"ask": True},
    "ask": {"question": "q?"},
    "tokens": {**HELLO, "count": 3, "pause": 0.0},
    "failing": {"error": "ValueError"},
}


async def run(server: Recorder, thread: str, assistant: str, mode: Any, **body: Any) -> list[Event]:
    path = f"/threads/{thread}/runs/stream" if thread else "/runs/stream"
    return await server.stream("POST", path, {"assistant_id": assistant, "stream_mode": mode, **body})


async def _modes(server: Recorder, assistant: str, **body: Any) -> None:
    for mode in MODES:
        await run(server, await server.thread(), assistant, mode, input=GRAPHS[assistant], **body)


@script
async def stream_chat(server: Recorder) -> None:
    await _modes(server, "chat")


@script
async def stream_agent(server: Recorder) -> None:
    await _modes(server, "agent")


@script
async def stream_tokens(server: Recorder) -> None:
    await _modes(server, "tokens")


@script
async def stream_deep(server: Recorder) -> None:
    await _modes(server, "deep")


@script
async def stream_deep_subgraphs(server: Recorder) -> None:
    await _modes(server, "deep", stream_subgraphs=True)


@script
async def stream_nested_interrupt(server: Recorder) -> None:
    await _modes(server, "nested")


@script
async def stream_nested_interrupt_subgraphs(server: Recorder) -> None:
    await _modes(server, "nested", stream_subgraphs=True)


@script
async def stream_interrupt(server: Recorder) -> None:
    await _modes(server, "ask")


@script
async def stream_failing(server: Recorder) -> None:
    await _modes(server, "failing")


@script
async def stream_several_modes(server: Recorder) -> None:
    combinations: list[Any] = [
        ["values", "updates"],
        ["values", "messages", "updates", "custom"],
        ["messages", "messages-tuple"],
        ["messages-tuple", "values"],
        ["debug", "values"],
        ["debug", "tasks", "checkpoints"],
        ["tasks", "checkpoints"],
        ["events", "values"],
        ["events", "messages", "custom"],
        [],
        ["values", "values"],
    ]
    for modes in combinations:
        await run(server, await server.thread(), "chat", modes, input=HELLO)
        await run(server, await server.thread(), "nested", modes, input={"ask": True}, stream_subgraphs=True)
    for modes in (["values", "updates"], ["updates"], ["values", "messages-tuple"]):
        await run(server, await server.thread(), "ask", modes, input={"question": "q?"})


@script
async def stream_stateless(server: Recorder) -> None:
    for mode in MODES:
        await run(server, "", "deep", mode, input=HELLO, stream_subgraphs=True)
    await run(server, "", "ask", ["values", "updates"], input={"question": "q?"})
    await run(server, "", "failing", "values", input={"error": "OSError"})
    await run(server, "", "fan", ["values", "updates"], input={"items": ["a", "b"], "ask": True})


@script
async def stream_fan_interrupts(server: Recorder) -> None:
    for mode in ("values", "updates", ["values", "updates"], "tasks", "debug"):
        thread = await server.thread()
        await run(server, thread, "fan", mode, input={"items": ["a", "b"], "ask": True})
        interrupts = (await server.get(f"/threads/{thread}/state"))["interrupts"]
        await run(server, thread, "fan", mode, command={"resume": {interrupts[0]["id"]: "one"}})
        await run(server, thread, "fan", mode, command={"resume": {interrupts[1]["id"]: "two"}})


@script
async def stream_resume_and_breakpoints(server: Recorder) -> None:
    for mode in MODES[:-1]:
        thread = await server.thread()
        await run(server, thread, "ask", mode, input={"question": "q?"}, interrupt_before=["prepare"])
        await run(server, thread, "ask", mode, input=None)
        await run(server, thread, "ask", mode, command={"resume": "yes"}, interrupt_after="*")
        await run(server, thread, "ask", mode, input=None)
        await run(server, thread, "ask", mode, input=None)
        await run(server, thread, "ask", mode, command={"resume": "yes"})


@script
async def stream_commands(server: Recorder) -> None:
    thread = await server.thread()
    await run(server, thread, "ask", ["values", "updates"], input={})
    await run(server, thread, "ask", ["values", "updates"], command={"goto": "finish"})
    await run(server, thread, "ask", ["values", "updates"], command={"update": {"log": ["u"]}})
    await run(server, thread, "ask", ["values", "updates"], command={"resume": "r", "update": {"log": ["v"]}})
    await run(server, thread, "ask", ["values", "updates"], command={"goto": {"node": "finish", "input": {}}})
    await run(server, thread, "ask", ["values", "updates"], input=None)


@script
async def stream_messages_in_turns(server: Recorder) -> None:
    thread = await server.thread()
    for number in range(3):
        turn = {"messages": [{"role": "user", "content": f"turn {number}"}]}
        await run(server, thread, "chat", ["messages", "values"], input=turn)
    await run(server, thread, "chat", ["messages-tuple"], input={"messages": "plain text"})
    await run(server, thread, "chat", ["values"], input={"messages": [["human", "pair"]]})
    await run(
        server,
        thread,
        "chat",
        ["values"],
        input={"messages": [{"type": "human", "content": [{"type": "text", "text": "b"}]}]},
    )
    await run(server, thread, "chat", ["values"], input={"messages": [{"nonsense": 1}]})
    await server.get(f"/threads/{thread}/state")


@script
async def stream_resumable(server: Recorder) -> None:
    thread = await server.thread()
    events = await run(server, thread, "chat", ["values", "custom"], input=HELLO, stream_resumable=True)
    path = f"/threads/{thread}/runs/{events[0].data['run_id']}/stream"
    await server.stream("GET", path)
    await server.stream("GET", path, headers={"last-event-id": "-1"})
    await server.stream("GET", path, headers={"last-event-id": "0"})
    await server.stream("GET", path, headers={"last-event-id": "-"})
    await server.stream("GET", path, headers={"last-event-id": "garbage"})
    await server.stream("GET", path, headers={"last-event-id": events[-1].id or "-1"})
    await server.stream("GET", f"{path}?stream_mode=custom", headers={"last-event-id": "-1"})
    await server.stream("GET", f'{path}?stream_mode=["custom","values"]', headers={"last-event-id": "-1"})
    await server.stream("GET", f"{path}?stream_mode=nonsense", headers={"last-event-id": "-1"})
    await server.stream("GET", f"{path}?stream_mode=custom&stream_mode=values", headers={"last-event-id": "-1"})
    events = await run(server, thread, "chat", ["values", "custom"], input=HELLO)
    path = f"/threads/{thread}/runs/{events[0].data['run_id']}/stream"
    await server.stream("GET", path)
    await server.stream("GET", path, headers={"last-event-id": "-1"})


@script_alone
async def stream_join_live(server: Recorder) -> None:
    for resumable in (False, True):
        thread = await server.thread()
        modes = ["values", "updates"]
        run_id = await start(
            server, thread, "slow", input={"seconds": 1.5}, stream_mode=modes, stream_resumable=resumable
        )
        await until_running(server, thread, run_id)
        await asyncio.sleep(0.5)
        path = f"/threads/{thread}/runs/{run_id}/stream"
        async with server.open_stream("GET", path) as events:
            await server.stream("GET", f"{path}?stream_mode=updates")
            async for _ in events:
                pass
        await server.stream("GET", path)
        await server.get(f"/threads/{thread}/runs/{run_id}")
    run_id = await start(server, thread, "slow", input={"seconds": 1}, after_seconds=1, stream_mode=modes)
    await server.stream("GET", f"/threads/{thread}/runs/{run_id}/stream")


@script_alone
async def stream_join_cancels(server: Recorder) -> None:
    for query in ("?cancel_on_disconnect=true", "?cancel_on_disconnect=1", "?cancel_on_disconnect=false", ""):
        thread = await server.thread()
        run_id = await start(server, thread, "slow", input={"seconds": 2})
        await until_running(server, thread, run_id)
        async with server.open_stream("GET", f"/threads/{thread}/runs/{run_id}/stream{query}"):
            await asyncio.sleep(0.5)
        await asyncio.sleep(1)
        await server.get(f"/threads/{thread}/runs/{run_id}")


async def _thread_stream(server: Recorder, query: str, headers: dict[str, str] | None = None) -> None:
    thread = await server.thread()
    await wait(server, thread, "chat", input=HELLO, stream_resumable=True)

    async def follow() -> None:
        async with server.open_stream("GET", f"/threads/{thread}/stream{query}", headers=headers or {}) as events:
            try:
                async with asyncio.timeout(4):
                    async for _ in events:
                        pass
            except TimeoutError:
                return

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.7)
    await wait(server, thread, "chat", input=HELLO, stream_mode=["updates", "custom"])
    await server.post(f"/threads/{thread}/state", {"values": {"messages": []}})
    await wait(server, thread, "failing", input={})
    await following


@script_alone
async def thread_stream(server: Recorder) -> None:
    await _thread_stream(server, "")


@script_alone
async def thread_stream_modes(server: Recorder) -> None:
    await _thread_stream(server, "?stream_modes=lifecycle")
    await _thread_stream(server, "?stream_modes=state_update")
    await _thread_stream(server, "?stream_modes=run_modes,state_update")


@script_alone
async def thread_stream_from_start(server: Recorder) -> None:
    await _thread_stream(server, "", {"last-event-id": "-"})
    await _thread_stream(server, "", {"last-event-id": "0"})


@script_alone
async def thread_stream_errors(server: Recorder) -> None:
    thread = await server.thread()
    await server.stream("GET", f"/threads/{thread}/stream?stream_modes=bogus")
    for last in ("-1", "garbage"):
        await server.stream("GET", f"/threads/{thread}/stream", headers={"last-event-id": last})
    await server.stream("GET", "/threads/bad/stream")
    async with server.open_stream("GET", f"/threads/{uuid4()}/stream"):
        await asyncio.sleep(0.3)
