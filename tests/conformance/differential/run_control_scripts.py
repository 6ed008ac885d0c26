"""Runs that get in each other's way: double texting, cancelling, deleting, disconnecting."""

import asyncio
from uuid import uuid4

from .recording import Recorder
from .run_scripts import look, start, until_running, wait
from .scripts import script_alone


async def _second_run(server: Recorder, strategy: str, second: str = "wait") -> None:
    thread = await server.thread()
    await wait(server, thread, "slow", input={"seconds": 0})
    first = await start(server, thread, "slow", input={"seconds": 1.5})
    await until_running(server, thread, first)
    await asyncio.sleep(0.3)
    body = {"assistant_id": "echo", "input": {"text": strategy}, "multitask_strategy": strategy}
    if second == "wait":
        await server.post(f"/threads/{thread}/runs/wait", body)
    else:
        await server.stream("POST", f"/threads/{thread}/runs/stream", body)
    await server.get(f"/threads/{thread}/runs/{first}")
    await server.get(f"/threads/{thread}/runs/{first}/join")
    await look(server, thread)
    await server.get(f"/threads/{thread}/runs")
    await server.get(f"/threads/{thread}/history", params={"limit": 20})


@script_alone
async def double_text_reject(server: Recorder) -> None:
    await _second_run(server, "reject")


@script_alone
async def double_text_enqueue(server: Recorder) -> None:
    await _second_run(server, "enqueue")
    await _second_run(server, "enqueue", "stream")


@script_alone
async def double_text_interrupt(server: Recorder) -> None:
    await _second_run(server, "interrupt")


@script_alone
async def double_text_rollback(server: Recorder) -> None:
    await _second_run(server, "rollback")


async def _first_ends_early(server: Recorder, strategy: str) -> None:
    thread = await server.thread()
    slow = {"assistant_id": "slow", "input": {"seconds": 3}, "stream_mode": ["values", "updates"]}
    stream = asyncio.create_task(server.stream("POST", f"/threads/{thread}/runs/stream", slow))
    for _ in range(200):
        rows = (await server.http.get(f"/threads/{thread}/runs")).json()
        if rows and rows[0]["status"] == "running":
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    await wait(server, thread, "echo", input={"text": strategy}, multitask_strategy=strategy)
    await stream
    await look(server, thread)
    await server.get(f"/threads/{thread}/runs")


@script_alone
async def double_text_first_stream(server: Recorder) -> None:
    await _first_ends_early(server, "interrupt")
    await _first_ends_early(server, "rollback")


async def _cancel(server: Recorder, query: str, seconds: float = 5) -> None:
    thread = await server.thread()
    await wait(server, thread, "slow", input={"seconds": 0})
    run = await start(server, thread, "slow", input={"seconds": seconds})
    await until_running(server, thread, run)
    await asyncio.sleep(0.4)
    await server.post(f"/threads/{thread}/runs/{run}/cancel{query}")
    await server.get(f"/threads/{thread}/runs/{run}/join")
    await asyncio.sleep(0.3)
    await server.get(f"/threads/{thread}/runs/{run}")
    await look(server, thread)
    await server.post(f"/threads/{thread}/runs/{run}/cancel{query}")


@script_alone
async def cancel_interrupt(server: Recorder) -> None:
    await _cancel(server, "")
    await _cancel(server, "?wait=true")
    await _cancel(server, "?wait=1&action=interrupt")
    await _cancel(server, "?action=nonsense")


@script_alone
async def cancel_rollback(server: Recorder) -> None:
    await _cancel(server, "?wait=true&action=rollback")


@script_alone
async def cancel_pending(server: Recorder) -> None:
    thread = await server.thread()
    delayed = await start(server, thread, "echo", input={"text": "a"}, after_seconds=600)
    await server.get(f"/threads/{thread}")
    await server.post(f"/threads/{thread}/runs/{delayed}/cancel")
    await asyncio.sleep(0.3)
    await server.get(f"/threads/{thread}/runs/{delayed}")
    await look(server, thread)
    thread = await server.thread()
    first = await start(server, thread, "slow", input={"seconds": 1})
    second = await start(server, thread, "echo", input={"text": "second"})
    await server.post("/runs/cancel", {"thread_id": thread, "run_ids": [second]})
    await server.get(f"/threads/{thread}/runs/{first}/join")
    await asyncio.sleep(0.2)
    await server.get(f"/threads/{thread}/runs")
    await look(server, thread)


@script_alone
async def cancel_many(server: Recorder) -> None:
    thread = await server.thread()
    first = await start(server, thread, "slow", input={"seconds": 5})
    await until_running(server, thread, first)
    await asyncio.sleep(0.3)
    second = await start(server, thread, "echo", input={"text": "second"})
    await server.post("/runs/cancel?action=interrupt", {"thread_id": thread, "run_ids": [first, second]})
    await server.get(f"/threads/{thread}/runs/{first}/join")
    await asyncio.sleep(0.3)
    await server.get(f"/threads/{thread}/runs")
    await look(server, thread)
    await server.post("/runs/cancel", {"status": "all"})
    await server.post("/runs/cancel", {"status": "pending"})
    await server.post("/runs/cancel", {"status": "nonsense"})
    await server.post("/runs/cancel", {})
    await server.post("/runs/cancel", {"status": "all", "thread_id": thread, "run_ids": [first]})
    await server.post("/runs/cancel", {"thread_id": thread})
    await server.post("/runs/cancel", {"run_ids": [first]})
    await server.post("/runs/cancel", {"thread_id": thread, "run_ids": [str(uuid4())]})
    await server.post("/runs/cancel", {"thread_id": thread, "run_ids": ["bad"]})
    await server.post("/runs/cancel", {"thread_id": thread, "run_ids": []})


@script_alone
async def cancel_while_streaming(server: Recorder) -> None:
    thread = await server.thread()
    body = {"assistant_id": "slow", "input": {"seconds": 5}, "stream_mode": ["values", "updates"]}
    async with server.open_stream("POST", f"/threads/{thread}/runs/stream", body) as events:
        async for event in events:
            if event.name == "metadata":
                run = event.data["run_id"]
            if event.name == "values":
                break
        await asyncio.sleep(0.3)
        await server.post(f"/threads/{thread}/runs/{run}/cancel?wait=true")
        async for _ in events:
            pass
    await server.get(f"/threads/{thread}/runs/{run}")
    await look(server, thread)


@script_alone
async def delete_run(server: Recorder) -> None:
    thread = await server.thread()
    run = await start(server, thread, "echo", input={"text": "a"})
    await server.get(f"/threads/{thread}/runs/{run}/join")
    await server.call("DELETE", f"/threads/{thread}/runs/{run}")
    await server.call("DELETE", f"/threads/{thread}/runs/{run}")
    await server.get(f"/threads/{thread}/runs/{run}")
    await server.get(f"/threads/{thread}/runs")
    await look(server, thread)
    running = await start(server, thread, "slow", input={"seconds": 2})
    await until_running(server, thread, running)
    await server.call("DELETE", f"/threads/{thread}/runs/{running}")
    await server.get(f"/threads/{thread}/runs")


@script_alone
async def disconnect_cancels(server: Recorder) -> None:
    for on_disconnect in ("cancel", "continue"):
        thread = await server.thread()
        body = {"assistant_id": "slow", "input": {"seconds": 1.5}, "on_disconnect": on_disconnect}
        async with server.open_stream("POST", f"/threads/{thread}/runs/stream", body) as events:
            async for event in events:
                if event.name == "values":
                    await asyncio.sleep(0.2)
                    break
        await asyncio.sleep(2)
        await server.get(f"/threads/{thread}/runs")
        await look(server, thread)
