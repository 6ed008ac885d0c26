"""Every row of the error tables about runs."""

from typing import Any
from uuid import uuid4

from .recording import Recorder
from .scripts import script

PATHS = ("/threads/{thread}/runs", "/threads/{thread}/runs/wait", "/threads/{thread}/runs/stream")
PATHS += ("/runs", "/runs/wait", "/runs/stream")

BAD_BODIES: tuple[dict[str, Any], ...] = (
    {"assistant_id": None},
    {"assistant_id": 5},
    {"assistant_id": "nope"},
    {"assistant_id": ""},
    {"assistant_id": "6ba7b821-9dad-11d1-80b4-00c04fd430c8"},
    {"metadata": None},
    {"metadata": []},
    {"config": None},
    {"config": []},
    {"config": {"configurable": None}},
    {"config": {"configurable": []}},
    {"config": {"tags": "x"}},
    {"config": {"recursion_limit": "x"}},
    {"context": None},
    {"context": []},
    {"context": {"a": 1}, "config": {"configurable": {"b": 1}}},
    {"context": {}, "config": {"configurable": {"b": 1}}},
    {"checkpoint": None},
    {"checkpoint": "x"},
    {"checkpoint": {}},
    {"checkpoint_id": None},
    {"checkpoint_id": "bad"},
    {"checkpoint": {"checkpoint_id": "bad"}},
    {"stream_mode": None},
    {"stream_mode": "nonsense"},
    {"stream_mode": ["nonsense"]},
    {"stream_mode": "tools"},
    {"stream_mode": "lifecycle"},
    {"stream_mode": 5},
    {"stream_subgraphs": None},
    {"stream_subgraphs": "yes"},
    {"stream_resumable": "yes"},
    {"interrupt_before": "nowhere"},
    {"interrupt_before": None},
    {"interrupt_before": 5},
    {"interrupt_after": [5]},
    {"multitask_strategy": None},
    {"multitask_strategy": "nonsense"},
    {"if_not_exists": None},
    {"if_not_exists": "nonsense"},
    {"on_disconnect": None},
    {"on_disconnect": "nonsense"},
    {"on_completion": None},
    {"on_completion": "nonsense"},
    {"after_seconds": None},
    {"after_seconds": "x"},
    {"after_seconds": 0.01},
    {"durability": None},
    {"durability": "nonsense"},
    {"checkpoint_during": None},
    {"checkpoint_during": "x"},
    {"webhook": None},
    {"webhook": ""},
    {"webhook": 5},
    {"webhook": "http://localhost/x"},
    {"webhook": "/relative"},
    {"webhook": "ftp://example.com"},
    {"webhook": "http://127.0.0.1:9/x"},
    {"command": None},
    {"command": 5},
    {"command": []},
    {"command": {"goto": 5}},
    {"command": {"goto": {"input": 1}}},
    {"command": {"update": 5}},
    {"command": {"update": []}},
    {"command": {"unknown": 1}},
    {"command": {"resume": "x"}},
    {"feedback_keys": None},
    {"feedback_keys": "x"},
    {"langsmith_tracer": None},
    {"langsmith_tracer": 5},
)


@script
async def run_bad_bodies(server: Recorder) -> None:
    for bad in BAD_BODIES:
        thread = await server.thread()
        await server.post(f"/threads/{thread}/runs", {"assistant_id": "echo", "input": {"text": "a"}, **bad})


@script
async def run_bad_bodies_stateless(server: Recorder) -> None:
    for bad in BAD_BODIES:
        body = {"assistant_id": "echo", "input": {"text": "a"}, **bad}
        if bad.get("after_seconds") != 0.01:
            await server.stream("POST", "/runs/stream", body)


@script
async def run_bad_bodies_everywhere(server: Recorder) -> None:
    for path in PATHS:
        for content in (b"", b"nonsense", b"[]", b"null", b"5", b"{}", b'"x"'):
            thread = await server.thread()
            await server.raw("POST", path.format(thread=thread), content)
    for path in PATHS[:3]:
        body = {"assistant_id": "echo", "input": {"text": "a"}}
        for thread in (str(uuid4()), "bad"):
            await server.stream("POST", path.format(thread=thread), body)
        thread = await server.thread()
        await server.stream("POST", path.format(thread=thread), {**body, "assistant_id": "nope"})
        await server.stream("POST", path.format(thread=thread), {**body, "assistant_id": str(uuid4())})
    for batch in ([], {}, [{}], [{"assistant_id": "nope"}], [{"assistant_id": "echo"}, {"assistant_id": "nope"}], None):
        await server.post("/runs/batch", batch)


@script
async def run_unknown_ids(server: Recorder) -> None:
    thread = await server.thread()
    for of in (thread, str(uuid4()), "bad"):
        await server.get(f"/threads/{of}/runs")
        for run in (str(uuid4()), "bad"):
            base = f"/threads/{of}/runs/{run}"
            await server.get(base)
            await server.get(f"{base}/join")
            await server.stream("GET", f"{base}/stream")
            await server.post(f"{base}/cancel")
            await server.post(f"{base}/cancel?wait=true")
            await server.call("DELETE", base)


@script
async def run_list_queries(server: Recorder) -> None:
    thread = await server.thread()
    await server.post(f"/threads/{thread}/runs/wait", {"assistant_id": "echo", "input": {"text": "a"}})
    for query in (
        "limit=abc", "limit=0", "limit=-1", "limit=1001", "offset=abc", "offset=-1", "status=nonsense", "status=error",
        "status=", "select=nonsense", "select=run_id&select=kwargs", "select=run_id,status", "select=", "unknown=1",
    ):  # fmt: skip
        await server.get(f"/threads/{thread}/runs?{query}")


@script
async def run_resume_without_thread(server: Recorder) -> None:
    for path in ("/runs", "/runs/wait", "/runs/stream"):
        await server.post(path, {"assistant_id": "ask", "command": {"resume": 1}})
    await server.post("/runs/wait", {"assistant_id": "ask", "command": {"goto": "finish"}})
    await server.post("/runs/wait", {"assistant_id": "ask", "command": {"update": {"question": "q"}}})
    await server.post("/runs/wait", {"assistant_id": "ask", "command": {}})
    await server.post("/runs/wait", {"assistant_id": "ask", "command": {"resume": None}})
    await server.post("/runs/wait", {"assistant_id": "ask", "input": None})
    await server.post("/runs/wait", {"assistant_id": "ask", "input": {}, "checkpoint_id": str(uuid4())})
    await server.post("/runs/wait", {"assistant_id": "ask", "input": {}, "if_not_exists": "create"})
    await server.post("/runs/wait", {"assistant_id": "ask", "input": {}, "multitask_strategy": "reject"})
