"""Crons: rows, changes, searches, bad input. None of them fires: the schedules are for New Year's Eve."""

from typing import Any
from uuid import uuid4

from .recording import Recorder
from .scripts import script

SCHEDULE = "59 23 31 12 *"


async def create(server: Recorder, path: str = "/runs/crons", **body: Any) -> Any:
    return await server.post(path, {"assistant_id": "echo", "schedule": SCHEDULE, **body})


@script
async def cron_create(server: Recorder) -> None:
    thread = await server.thread()
    full = {
        "input": {"text": "a"},
        "metadata": {"m": 1},
        "config": {"configurable": {"c": 1}, "tags": ["t"]},
        "interrupt_before": ["reply"],
        "interrupt_after": "*",
        "on_run_completed": "keep",
        "enabled": False,
        "stream_mode": ["values", "updates"],
        "stream_subgraphs": True,
        "stream_resumable": True,
        "durability": "sync",
        "timezone": "Europe/Berlin",
        "end_time": "2040-01-01T00:00:00+00:00",
        "unknown": 1,
    }
    for path in ("/runs/crons", f"/threads/{thread}/runs/crons"):
        await create(server, path)
        row = await create(server, path, **full)
        await server.get(f"/runs/crons/{row['cron_id']}")
        await create(server, path, multitask_strategy="reject", context={"x": 1})


@script
async def cron_bad_bodies(server: Recorder) -> None:
    bad: tuple[dict[str, Any], ...] = (
        {"schedule": "bogus"}, {"schedule": ""}, {"schedule": None}, {"schedule": 5}, {"schedule": "99 * * * *"},
        {"schedule": "@daily"}, {"schedule": "0 0 31 12 * 0"}, {"timezone": "Mars/X"}, {"timezone": None},
        {"timezone": 5}, {"end_time": "bogus"}, {"end_time": "2001-01-01T00:00:00Z"}, {"end_time": None},
        {"input": "x"}, {"input": None}, {"input": [1]}, {"input": [{"a": 1}]}, {"input": []},
        {"metadata": None}, {"metadata": []}, {"config": None},
        {"config": []}, {"context": None}, {"enabled": None}, {"enabled": "x"}, {"on_run_completed": "bogus"},
        {"assistant_id": "nope"}, {"assistant_id": str(uuid4())}, {"assistant_id": None}, {"webhook": "/relative"},
        {"webhook": ""}, {"stream_mode": "bogus"}, {"durability": "bogus"}, {"interrupt_before": 5},
        {"config": {"configurable": {"a": 1}}, "context": {"b": 1}},
    )  # fmt: skip
    for body in bad:
        row = await create(server, **body)
        if isinstance(row, dict) and "cron_id" in row:
            await server.http.delete(f"/runs/crons/{row['cron_id']}")
    for content in (b"", b"nonsense", b"[]", b"null", b"{}"):
        await server.raw("POST", "/runs/crons", content)
    for thread in (str(uuid4()), "bad"):
        await create(server, f"/threads/{thread}/runs/crons")


@script
async def cron_update(server: Recorder) -> None:
    row = await create(server, input={"text": "a"}, metadata={"a": 1, "b": {"c": 1}})
    path = f"/runs/crons/{row['cron_id']}"
    changes: tuple[dict[str, Any], ...] = (
        {}, {"schedule": "0 0 30 12 *"}, {"timezone": "Asia/Tokyo"}, {"enabled": False}, {"enabled": None},
        {"enabled": True}, {"metadata": {"b": {"d": 2}}}, {"input": {"text": "b"}},
        {"end_time": "2041-01-01T00:00:00Z"},
        {"end_time": None}, {"config": {"tags": ["x"]}}, {"context": {"k": 1}}, {"webhook": "https://example.com/x"},
        {"on_run_completed": "keep"}, {"interrupt_before": ["reply"]}, {"stream_mode": "updates"}, {"unknown": 1},
        {"schedule": "bogus"}, {"schedule": None}, {"timezone": "Mars/X"}, {"metadata": None}, {"input": None},
        {"durability": "exit"}, {"stream_resumable": True}, {"end_time": "bogus"}, {"on_run_completed": None},
    )  # fmt: skip
    for change in changes:
        await server.call("PATCH", path, change)
    await server.get(path)
    for content in (b"", b"nonsense", b"[]", b"null"):
        await server.raw("PATCH", path, content)
    await server.call("DELETE", path)
    for of in (path, f"/runs/crons/{uuid4()}", "/runs/crons/bad"):
        await server.get(of)
        await server.call("PATCH", of, {"enabled": True})
        await server.call("DELETE", of)


@script
async def cron_search(server: Recorder) -> None:
    mark = {"mark": server.name(str(uuid4()))}
    thread = await server.thread()
    assistant = (await server.post("/assistants", {"graph_id": "echo"}))["assistant_id"]
    await create(server, metadata={**mark, "n": 1})
    await create(server, metadata={**mark, "n": 2}, assistant_id=assistant, enabled=False, schedule="0 0 1 1 *")
    await create(server, f"/threads/{thread}/runs/crons", metadata={**mark, "n": 3}, schedule="0 0 2 1 *")
    queries: tuple[dict[str, Any], ...] = (
        {}, {"limit": 1}, {"limit": 1, "offset": 2}, {"offset": 9}, {"assistant_id": assistant}, {"thread_id": thread},
        {"enabled": True}, {"enabled": False}, {"metadata": {**mark, "n": 2}}, {"metadata": {"mark": "none"}},
        {"sort_by": "next_run_date", "sort_order": "asc"}, {"sort_by": "created_at", "sort_order": "asc"},
        {"sort_by": "thread_id"}, {"sort_by": "end_time"}, {"sort_by": "updated_at"}, {"sort_by": "bogus"},
        {"sort_order": "bogus"}, {"select": ["cron_id", "schedule"]}, {"select": ["payload", "enabled", "timezone"]},
        {"select": ["bogus"]}, {"select": []}, {"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"offset": -1},
        {"assistant_id": "bad"}, {"assistant_id": "echo"}, {"thread_id": "bad"}, {"assistant_id": None},
        {"thread_id": None}, {"enabled": None}, {"metadata": None}, {"unknown": 1}, {"assistant_id": str(uuid4())},
    )  # fmt: skip
    for query in queries:
        await server.post("/runs/crons/search", {"metadata": mark, **query})
        await server.post("/runs/crons/count", {"metadata": mark, **query})
    for path in ("/runs/crons/search", "/runs/crons/count"):
        for content in (b"", b"nonsense", b"[]", b"null"):
            await server.raw("POST", path, content)
    await server.call("DELETE", f"/threads/{thread}")
    await server.post("/runs/crons/count", {"metadata": mark})
