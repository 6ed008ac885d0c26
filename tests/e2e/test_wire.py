"""The HTTP that the SDK does not show: framing, headers, statuses and error bodies."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from openapi_spec_validator import validate

from .driving import Gate, parse_event, sent_events

UNKNOWN = "0195f000-0000-7000-8000-0000000fffff"
ECHO: dict[str, Any] = {"assistant_id": "echo", "input": {"text": "hi"}}


async def test_stream_is_framed_as_the_contract_says(http: httpx.AsyncClient, thread_id: str) -> None:
    async with http.stream(
        "POST", f"/threads/{thread_id}/runs/stream", json={**ECHO, "stream_resumable": True}
    ) as response:
        body = await response.aread()
    assert body.count(b"\n") == body.count(b"\r\n")
    *blocks, rest = body.split(b"\r\n\r\n")
    assert rest == b""
    events = [parse_event(block) for block in blocks if not block.startswith(b":")]
    assert [event.name for event in events] == ["metadata", "values", "values"]  # and no `end`
    assert set(events[0].data) == {"run_id", "attempt"}
    for event in events:
        milliseconds, _, count = (event.id or "").partition("-")
        assert milliseconds.isdigit()
        assert count.isdigit()
    run_id = events[0].data["run_id"]
    headers = response.headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
    assert headers["location"] == f"/threads/{thread_id}/runs/{run_id}/stream"
    assert headers["content-location"] == f"/threads/{thread_id}/runs/{run_id}"


async def test_only_resumable_streams_have_ids(http: httpx.AsyncClient, thread_id: str) -> None:
    response = await http.post(f"/threads/{thread_id}/runs/stream", json=ECHO)
    assert b"\r\nid: " not in response.content


async def test_stateless_stream_says_where_it_can_be_followed(http: httpx.AsyncClient, gate: Gate) -> None:
    run = {"assistant_id": "gated", "input": gate.input("A"), "stream_mode": "custom"}
    async with http.stream("POST", "/runs/stream", json=run) as response:
        location = response.headers["location"]
        assert response.headers["content-location"] == location.removesuffix("/stream")
        assert location.startswith("/runs/")
        async for event in sent_events(response):
            if event.name == "custom":
                async with http.stream("GET", location) as followed:
                    assert followed.status_code == 200
                    assert followed.headers["content-type"].startswith("text/event-stream")
                gate.open()


async def test_quiet_stream_has_heartbeats(http: httpx.AsyncClient, thread_id: str, gate: Gate) -> None:
    run = {"assistant_id": "gated", "input": gate.input("A"), "stream_mode": "custom"}
    received = b""
    async with asyncio.timeout(30), http.stream("POST", f"/threads/{thread_id}/runs/stream", json=run) as response:
        async for chunk in response.aiter_bytes():
            received += chunk
            if received.endswith(b": heartbeat\r\n\r\n: heartbeat\r\n\r\n"):
                gate.open()
    assert received.split(b"\r\n\r\n")[1].startswith(b"event: custom") or b"event: custom" in received


async def test_wait_keeps_the_connection_alive_with_newlines(
    http: httpx.AsyncClient, thread_id: str, gate: Gate
) -> None:
    run = {"assistant_id": "gated", "input": gate.input("A")}
    received = b""
    async with asyncio.timeout(30), http.stream("POST", f"/threads/{thread_id}/runs/wait", json=run) as response:
        location = response.headers["content-location"]
        assert response.headers["location"] == f"{location}/join"
        assert location.startswith(f"/threads/{thread_id}/runs/")
        async for chunk in response.aiter_bytes():
            received += chunk
            if received == b"\n\n":
                gate.open()
    assert received.startswith(b"\n\n")
    assert orjson.loads(received)["log"] == ["entered A", "left A"]


async def test_created_run_says_where_it_is(http: httpx.AsyncClient, thread_id: str) -> None:
    created = await http.post(f"/threads/{thread_id}/runs", json=ECHO)
    assert created.status_code == 200
    run_id = created.json()["run_id"]
    assert created.headers["content-location"] == f"/threads/{thread_id}/runs/{run_id}"
    joined = await http.get(f"/threads/{thread_id}/runs/{run_id}/join")
    assert joined.json()["answer"] == "echo: hi"
    assert joined.headers["content-location"] == f"/threads/{thread_id}/runs/{run_id}"
    stateless = await http.post("/runs", json=ECHO)
    assert stateless.headers["content-location"] == f"/runs/{stateless.json()['run_id']}"


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/nowhere", 404, "Not Found"),
        ("GET", f"/threads/{UNKNOWN}", 404, f"Thread with ID {UNKNOWN} not found"),
        ("GET", f"/assistants/{UNKNOWN}", 404, "Not Found"),
        ("GET", f"/threads/{UNKNOWN}/runs", 404, f"Thread with ID {UNKNOWN} not found"),
        ("GET", "/threads/bad", 422, "Invalid thread ID: must be a UUID"),
        ("GET", "/assistants/bad", 422, "Invalid assistant ID: must be a UUID"),
        ("GET", f"/threads/{UNKNOWN}/runs/bad", 422, "Invalid run ID: must be a UUID"),
        ("PUT", "/threads", 405, "Method Not Allowed"),
    ],
)
async def test_error_bodies(http: httpx.AsyncClient, method: str, path: str, status: int, detail: str) -> None:
    response = await http.request(method, path)
    assert response.status_code == status
    assert response.json() == {"detail": detail}


async def test_wrong_method_names_the_right_ones(http: httpx.AsyncClient) -> None:
    assert (await http.put("/threads", json={})).headers["allow"] == "POST"
    allowed = (await http.put(f"/threads/{UNKNOWN}", json={})).headers["allow"]
    assert {method.strip() for method in allowed.split(",")} >= {"GET", "PATCH", "DELETE"}


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense"])
async def test_body_that_is_no_json_is_refused(http: httpx.AsyncClient, thread_id: str, body: bytes) -> None:
    response = await http.post(f"/threads/{thread_id}/runs", content=body)
    assert response.status_code == 422
    assert response.json() == {"detail": "Invalid JSON in request body"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**ECHO, "stream_mode": "lifecycle"},
        {**ECHO, "metadata": None},
        {**ECHO, "multitask_strategy": "bogus"},
        {**ECHO, "stream_subgraphs": "yes"},
        {**ECHO, "durability": "maybe"},
    ],
)
async def test_body_that_is_wrong_is_refused_with_a_text(
    http: httpx.AsyncClient, thread_id: str, body: dict[str, Any]
) -> None:
    response = await http.post(f"/threads/{thread_id}/runs", json=body)
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


async def test_errors_of_creation_come_before_the_stream(http: httpx.AsyncClient, thread_id: str) -> None:
    unknown = await http.post(f"/threads/{UNKNOWN}/runs/stream", json=ECHO)
    assert unknown.status_code == 404
    assert unknown.headers["content-type"] == "application/json"
    named = await http.post(f"/threads/{thread_id}/runs/stream", json={**ECHO, "assistant_id": "nope"})
    assert named.status_code == 422


async def test_conflict(http: httpx.AsyncClient, thread_id: str) -> None:
    response = await http.post("/threads", json={"thread_id": thread_id})
    assert response.status_code == 409
    assert response.json() == {"detail": f"Thread with ID {thread_id} already exists"}


async def test_unknown_fields_and_content_types_do_not_matter(http: httpx.AsyncClient, thread_id: str) -> None:
    body = orjson.dumps({**ECHO, "no_such_field": 1})
    response = await http.post(f"/threads/{thread_id}/runs/wait", content=body, headers={"content-type": "text/plain"})
    assert response.json()["answer"] == "echo: hi"


async def test_join_of_an_unknown_run_is_a_failed_result(http: httpx.AsyncClient, thread_id: str) -> None:
    problem = {"error": "HTTPException", "message": "404: Run not found"}
    joined = await http.get(f"/threads/{thread_id}/runs/{UNKNOWN}/join")
    assert (joined.status_code, joined.json()) == (200, {"__error__": problem})
    streamed = await http.get(f"/threads/{thread_id}/runs/{UNKNOWN}/stream")
    assert streamed.status_code == 200
    event = parse_event(streamed.content.removesuffix(b"\r\n\r\n"))
    assert (event.name, event.data) == ("error", problem)


async def test_slash_at_the_end_is_redirected(http: httpx.AsyncClient) -> None:
    response = await http.get(f"/threads/{UNKNOWN}/")
    assert response.status_code == 307
    assert httpx.URL(response.headers["location"]).path == f"/threads/{UNKNOWN}"


async def test_pages_say_whether_there_are_more(http: httpx.AsyncClient) -> None:
    mark = {"mark": uuid4().hex}
    for _ in range(3):
        await http.post("/threads", json={"metadata": mark})

    async def page(limit: int, offset: int) -> tuple[int, str | None, str | None]:
        found = await http.post("/threads/search", json={"metadata": mark, "limit": limit, "offset": offset})
        headers = found.headers
        return len(found.json()), headers.get("x-pagination-next"), headers.get("x-pagination-total")

    assert await page(2, 0) == (2, "2", "3")
    assert await page(2, 2) == (1, None, "3")
    assert await page(3, 0) == (3, None, "3")
    assert await page(2, 50) == (0, None, "50")


@pytest.mark.parametrize("path", ["/ok", "/", "/ok?check_db=1"])
async def test_health(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).json() == {"ok": True, "services": {}}
    assert (await http.head(path)).status_code == 200


async def test_info_names_versions(http: httpx.AsyncClient) -> None:
    info = (await http.get("/info")).json()
    assert info["langgraph_py_version"].startswith("1.")
    assert info["flags"]["assistants"] is True
    assert info["host"]["kind"] == "self-hosted"


async def test_metrics_as_text_and_as_json(http: httpx.AsyncClient, thread_id: str) -> None:
    await http.post(f"/threads/{thread_id}/runs/wait", json=ECHO)
    text = await http.get("/metrics")
    assert text.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    for name in ("lg_api_http_requests_total", "lg_api_http_requests_latency_bucket", "lg_api_workers_max"):
        assert f"\n{name}" in text.text
    document = (await http.get("/metrics", params={"format": "json"})).json()
    assert document["workers"]["max"] == 32
    assert set(document["queue"]) >= {"n_pending", "n_running"}
    waits = [each for each in document["api"]["http_requests_total"] if each["path"].endswith("/runs/wait")]
    assert sum(each["count"] for each in waits) > 0


async def test_documentation(http: httpx.AsyncClient) -> None:
    page = await http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    document = (await http.get("/openapi.json")).json()
    validate(document)
    assert document["openapi"] == "3.1.0"
    assert {"/threads/{thread_id}/runs/stream", "/store/items", "/assistants/search"} <= set(document["paths"])


async def test_browsers_of_any_origin_may_call(http: httpx.AsyncClient) -> None:
    preflight = await http.options(
        "/threads", headers={"origin": "https://a.example", "access-control-request-method": "POST"}
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] in ("*", "https://a.example")
    response = await http.get("/ok", headers={"origin": "https://a.example"})
    exposed = response.headers["access-control-expose-headers"].lower()
    assert {"x-pagination-total", "x-pagination-next", "content-location"} <= {
        name.strip() for name in exposed.split(",")
    }


async def test_request_id_reaches_the_run(http: httpx.AsyncClient, thread_id: str) -> None:
    chosen = str(uuid4())
    created = await http.post(f"/threads/{thread_id}/runs", json=ECHO, headers={"x-request-id": chosen})
    assert created.json()["kwargs"]["config"]["configurable"]["langgraph_request_id"] == chosen
