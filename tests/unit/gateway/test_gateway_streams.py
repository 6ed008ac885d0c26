"""Streams and waits through a real HTTP server: framing, headers, keep-alive, disconnects, shutdown."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from threadmill_chassis.errors import InvalidArgument, Unavailable
from threadmill_gateway.context import Gateway
from threadmill_gateway.settings import GatewaySettings
from threadmill_protos.runs.v1 import runs_pb2

from .gateway_script import HEAD, RUN_ID, THREAD_ID, Hanging, Script, live_client, open_gateway, run_row
from .reasons import reason

RUNS = f"/threads/{THREAD_ID}/runs"
RUN = f"{RUNS}/{RUN_ID}"
BODY = {"assistant_id": "steps"}
BEAT_SECONDS = 0.05


@pytest.fixture
def settings(settings: GatewaySettings) -> GatewaySettings:
    return settings.model_copy(update={"heartbeat_seconds": BEAT_SECONDS})


def started(**changes: Any) -> runs_pb2.StreamRunResponse:
    return runs_pb2.StreamRunResponse(run=run_row(**changes))


def batch(*names: str) -> runs_pb2.StreamRunResponse:
    events = [runs_pb2.Event(id=f"1-{n}", name=name, data_json=b'{"n":1}') for n, name in enumerate(names)]
    return runs_pb2.StreamRunResponse(batch=runs_pb2.EventBatch(events=events))


def waiting() -> runs_pb2.WaitRunResponse:
    return runs_pb2.WaitRunResponse(run=run_row())


def ended(body: bytes) -> runs_pb2.WaitRunResponse:
    return runs_pb2.WaitRunResponse(outcome=runs_pb2.WaitRunResponse.Outcome(body_json=body))


def without_beats(content: bytes) -> bytes:
    return content.replace(b": heartbeat\r\n\r\n", b"")


async def test_stream_of_a_new_run(live: httpx.AsyncClient, script: Script) -> None:
    script.on(StreamRun=[started(), batch("metadata", "values"), batch("updates|child:1")])
    response = await live.post(f"{RUNS}/stream", json=BODY)
    assert without_beats(response.content) == b"".join(
        b'event: %b\r\ndata: {"n":1}\r\n\r\n' % name for name in (b"metadata", b"values", b"updates|child:1")
    )
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["location"] == f"{RUN}/stream"
    assert response.headers["content-location"] == RUN
    asked = script.last("StreamRun")
    assert asked.create.thread_id == THREAD_ID


async def test_resumable_stream_has_ids(live: httpx.AsyncClient, script: Script) -> None:
    script.on(StreamRun=[started(), batch("values", "values")])
    response = await live.post(f"{RUNS}/stream", json={**BODY, "stream_resumable": True})
    assert without_beats(response.content).endswith(b'event: values\r\ndata: {"n":1}\r\nid: 1-1\r\n\r\n')


async def test_location_of_a_stateless_stream_can_be_followed(live: httpx.AsyncClient, script: Script) -> None:
    script.on(StreamRun=[started()])
    response = await live.post("/runs/stream", json=BODY)
    assert response.headers["content-location"] == f"/runs/{RUN_ID}"
    again = await live.get(response.headers["location"])
    assert again.status_code == 200
    assert script.last("StreamRun").run == runs_pb2.RunRef(run_id=RUN_ID)


async def test_join_stream_passes_on_where_and_what(live: httpx.AsyncClient, script: Script) -> None:
    script.on(StreamRun=[started(kwargs_json=b'{"resumable":true}'), batch("values")])
    response = await live.get(
        f"{RUN}/stream",
        params={"stream_mode": '["values","updates"]'},
        headers={"last-event-id": "-1"},
    )
    assert b"id: 1-0\r\n" in response.content
    asked = script.last("StreamRun")
    assert (asked.last_event_id, list(asked.stream_modes)) == ("-1", ["values", "updates"])


async def test_repeated_stream_modes_of_the_python_sdk_all_count(live: httpx.AsyncClient, script: Script) -> None:
    script.on(StreamRun=[started()])
    await live.get(f"{RUN}/stream?stream_mode=values&stream_mode=custom")
    assert list(script.last("StreamRun").stream_modes) == ["values", "custom"]


async def test_join_of_an_unknown_run_is_a_failed_result(live: httpx.AsyncClient, script: Script) -> None:
    script.on(StreamRun=reason("RUN_NOT_FOUND"), WaitRun=reason("RUN_NOT_FOUND"))
    error = {"error": "HTTPException", "message": "404: Run not found"}
    joined = await live.get(f"{RUN}/join")
    assert (joined.status_code, joined.json()) == (200, {"__error__": error})
    assert (joined.headers["location"], joined.headers["content-location"]) == (f"{RUN}/join", RUN)
    streamed = await live.get(f"{RUN}/stream")
    assert (streamed.headers["location"], streamed.headers["content-location"]) == (f"{RUN}/stream", RUN)
    assert streamed.content == b"event: error\r\ndata: %b\r\n\r\n" % orjson.dumps(error)
    assert "text/event-stream" in streamed.headers["content-type"]


async def test_heartbeats_come_while_nothing_happens(live: httpx.AsyncClient, script: Script) -> None:
    hanging = Hanging(started(), then=(batch("values"),))
    script.on(StreamRun=hanging)
    beats = b""
    async with live.stream("POST", f"{RUNS}/stream", json=BODY) as response:
        async for chunk in response.aiter_bytes():
            beats += chunk
            if beats.count(b": heartbeat\r\n\r\n") == 3:
                hanging.released.set()
    assert beats.endswith(b'event: values\r\ndata: {"n":1}\r\n\r\n')


@pytest.mark.parametrize("path", [f"{RUNS}/stream", f"{RUNS}/wait"])
async def test_client_that_goes_cancels_the_call_while_idle(live: httpx.AsyncClient, script: Script, path: str) -> None:
    hanging = Hanging(started() if path.endswith("stream") else waiting())
    script.on(StreamRun=hanging, WaitRun=hanging)
    async with live.stream("POST", path, json=BODY) as response:
        assert response.status_code == 200
    async with asyncio.timeout(5):
        await hanging.cancelled.wait()


async def leave(client: httpx.AsyncClient, method: str, path: str, **request: Any) -> None:
    async with client.stream(method, path, **request):
        pass


LEAVING = [
    ("POST", f"{RUNS}/stream", {"json": {**BODY, "on_disconnect": "cancel"}}),
    ("POST", f"{RUNS}/wait", {"json": {**BODY, "on_disconnect": "cancel"}}),
    ("GET", f"{RUN}/stream", {"params": {"cancel_on_disconnect": "1"}}),
    ("GET", f"{RUN}/join", {"params": {"cancel_on_disconnect": "true"}}),
    ("POST", "/runs/wait", {"json": {"agent_id": "a"}}),
    ("POST", "/runs/stream", {"json": {"agent_id": "a"}}),
]


@pytest.mark.parametrize(("method", "path", "request_"), LEAVING)
async def test_a_client_that_goes_cancels_its_run_if_it_wanted_that(
    live: httpx.AsyncClient, script: Script, method: str, path: str, request_: dict[str, Any]
) -> None:
    """Also while the runs api is away."""
    cancelled, refusals = asyncio.Event(), iter([Unavailable("away"), None])

    def cancel(_: runs_pb2.CancelRunsRequest) -> runs_pb2.CancelRunsResponse:
        if (refusal := next(refusals)) is not None:
            raise refusal
        cancelled.set()
        return runs_pb2.CancelRunsResponse()

    script.on(StreamRun=Hanging(started()), WaitRun=Hanging(waiting()), CancelRuns=cancel)
    await leave(live, method, path, **request_)
    async with asyncio.timeout(20):
        await cancelled.wait()
    asked = script.last("CancelRuns")
    assert (list(asked.run_ids), asked.action) == ([RUN_ID], runs_pb2.CANCEL_ACTION_INTERRUPT)
    assert asked.reason == "client disconnected from the run stream (on_disconnect=cancel)"


async def test_a_client_that_goes_leaves_its_run_alone_otherwise(
    live: httpx.AsyncClient, gateway: Gateway, script: Script
) -> None:
    hanging = Hanging(started())
    script.on(StreamRun=hanging)
    await leave(live, "POST", f"{RUNS}/stream", json=BODY)
    async with asyncio.timeout(5):
        await hanging.cancelled.wait()
    await gateway.abandoned.settle(5)
    assert "CancelRuns" not in script.names()


async def test_a_shutdown_is_no_client_that_goes(gateway: Gateway, script: Script, tmp_path: Path) -> None:
    script.on(StreamRun=Hanging(started()))
    open_now = asyncio.Event()

    async def read_all(client: httpx.AsyncClient) -> None:
        async with client.stream("POST", f"{RUNS}/stream", json={**BODY, "on_disconnect": "cancel"}) as response:
            open_now.set()
            await response.aread()

    async with live_client(gateway, tmp_path) as client:
        reading = asyncio.create_task(read_all(client))
        await open_now.wait()
    await reading
    await gateway.abandoned.settle(5)
    assert "CancelRuns" not in script.names()


async def test_failure_in_mid_stream_is_a_last_error_event(live: httpx.AsyncClient, script: Script) -> None:
    script.on(StreamRun=[started(), batch("values"), InvalidArgument("no such thing")])
    response = await live.post(f"{RUNS}/stream", json=BODY)
    assert response.status_code == 200
    last = without_beats(response.content).split(b"\r\n\r\n")[-2]
    assert last.startswith(b"event: error\r\n")
    assert b"no such thing" in last


async def test_a_service_that_goes_in_mid_stream_is_asked_for_the_rest(live: httpx.AsyncClient, script: Script) -> None:
    async def behaviour(request: runs_pb2.StreamRunRequest) -> AsyncIterator[runs_pb2.StreamRunResponse]:
        if not request.continue_after:
            yield started()
            yield batch("values")
            raise Unavailable("gone")
        yield batch("updates")

    script.on(StreamRun=behaviour)
    response = await live.post(f"{RUNS}/stream", json=BODY)
    names = [line for line in without_beats(response.content).split(b"\r\n") if line.startswith(b"event:")]
    assert names == [b"event: values", b"event: updates"]
    assert script.last("StreamRun").continue_after == "1-0"
    assert script.last("StreamRun").run.run_id == RUN_ID


async def test_a_service_that_goes_before_its_first_message_is_asked_again_for_the_same_run(
    live: httpx.AsyncClient, script: Script
) -> None:
    async def behaviour(request: runs_pb2.StreamRunRequest) -> AsyncIterator[Any]:
        if script.names().count("StreamRun") == 1:
            yield HEAD
            raise Unavailable("gone")
        yield started()
        yield batch("values")

    script.on(StreamRun=behaviour)
    response = await live.post(f"{RUNS}/stream", json=BODY)
    assert (response.status_code, b"event: values" in response.content) == (200, True)
    first, second = (request.create for _, request in script.asked)
    assert first == second
    assert first.run_id


async def test_wait_answers_with_the_outcome_as_it_came(live: httpx.AsyncClient, script: Script) -> None:
    script.on(WaitRun=[waiting(), ended(b'{"n": 1}')])
    for path in (f"{RUNS}/wait", "/runs/wait"):
        response = await live.post(path, json=BODY)
        assert response.content.lstrip(b"\n") == b'{"n": 1}'
        assert response.headers["location"] == f"{RUN}/join"
        assert response.headers["content-location"] == RUN
        assert response.headers["content-type"] == "application/json"


async def test_wait_sends_newlines_before_the_body(live: httpx.AsyncClient, script: Script) -> None:
    hanging = Hanging(waiting(), then=(ended(b"{}"),))
    script.on(WaitRun=hanging)
    content = b""
    async with live.stream("GET", f"{RUN}/join") as response:
        async for chunk in response.aiter_bytes():
            content += chunk
            if content == b"\n\n":
                hanging.released.set()
    assert content == b"\n\n{}"


async def test_wait_survives_a_restart_of_the_runs_api(live: httpx.AsyncClient, script: Script) -> None:
    attempts: list[Any] = []

    async def behave(request: runs_pb2.WaitRunRequest) -> AsyncIterator[Any]:
        attempts.append(request)
        if len(attempts) == 1:
            yield waiting()
            raise Unavailable("restarting")
        yield ended(b'{"n":2}')

    script.on(WaitRun=behave)
    response = await live.post(f"{RUNS}/wait", json=BODY)
    assert response.json() == {"n": 2}
    assert attempts[1].run == runs_pb2.RunRef(thread_id=THREAD_ID, run_id=RUN_ID)
    assert attempts[1].continue_after == "0-0", "the run may have ended, and be gone, meanwhile"


async def test_wait_that_fails_for_good_says_so_in_the_body(live: httpx.AsyncClient, script: Script) -> None:
    script.on(WaitRun=[waiting(), reason("RUN_NOT_FOUND")])
    response = await live.post(f"{RUNS}/wait", json=BODY)
    assert response.json() == {"__error__": {"error": "HTTPException", "message": "404: Run not found"}}


async def test_cancel_with_wait_watches_the_run_before_it_cancels(live: httpx.AsyncClient, script: Script) -> None:
    script.on(WaitRun=[waiting(), ended(b'{"n":1}')])
    response = await live.post(f"{RUN}/cancel", params={"wait": "1", "action": "rollback"})
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["content-location"] == RUN
    assert script.names() == ["WaitRun", "CancelRuns"]


async def test_cancel_with_wait_of_a_finished_run(live: httpx.AsyncClient, script: Script) -> None:
    script.on(WaitRun=[waiting(), ended(b"{}")], CancelRuns=reason("NOT_CANCELLABLE"))
    assert (await live.post(f"{RUN}/cancel", params={"wait": "true"})).status_code == 404


async def test_thread_stream_has_ids_and_ends_with_the_client(live: httpx.AsyncClient, script: Script) -> None:
    event = runs_pb2.Event(id="7-0", name="metadata", data_json=b"{}")
    hanging = Hanging(
        runs_pb2.StreamThreadResponse(position="6-0"),
        runs_pb2.StreamThreadResponse(batch=runs_pb2.EventBatch(events=[event])),
    )
    script.on(StreamThread=hanging)
    url = f"/threads/{THREAD_ID}/stream?stream_modes=bogus&stream_modes=lifecycle,state_update"
    async with live.stream("GET", url, headers={"last-event-id": "-"}) as response:
        async for chunk in response.aiter_bytes():
            if b"id: 7-0\r\n" in chunk:
                break
    async with asyncio.timeout(5):
        await hanging.cancelled.wait()
    asked = script.last("StreamThread")
    assert (list(asked.stream_modes), asked.last_event_id) == (["lifecycle", "state_update"], "-")


async def test_thread_stream_honours_the_singular_parameter_of_the_sdks(
    live: httpx.AsyncClient, script: Script
) -> None:
    script.on(StreamThread=[runs_pb2.StreamThreadResponse(position="0-0")])
    await live.get(f"/threads/{THREAD_ID}/stream?stream_mode=run_modes&stream_mode=state_update")
    assert list(script.last("StreamThread").stream_modes) == ["run_modes", "state_update"]


async def test_thread_stream_goes_on_where_it_was_when_its_service_goes(
    live: httpx.AsyncClient, script: Script
) -> None:
    async def behaviour(request: runs_pb2.StreamThreadRequest) -> AsyncIterator[runs_pb2.StreamThreadResponse]:
        if not request.continue_after:
            yield runs_pb2.StreamThreadResponse(position="6-3")
            raise Unavailable("gone")
        event = runs_pb2.Event(id="7-0", name="metadata", data_json=b"{}")
        yield runs_pb2.StreamThreadResponse(batch=runs_pb2.EventBatch(events=[event]))

    script.on(StreamThread=behaviour)
    response = await live.get(f"/threads/{THREAD_ID}/stream?stream_modes=lifecycle")
    assert b"id: 7-0\r\n" in response.content
    asked = script.last("StreamThread")
    assert (asked.continue_after, list(asked.stream_modes)) == ("6-3", ["lifecycle"])


@pytest.mark.parametrize("event_id", ["-1", "garbage", "1-x", "1-"])
async def test_thread_stream_refuses_malformed_event_ids(live: httpx.AsyncClient, event_id: str) -> None:
    response = await live.get(f"/threads/{THREAD_ID}/stream", headers={"last-event-id": event_id})
    assert response.status_code == 422
    assert response.json() == {"detail": "Invalid last-event-id: must be a valid Redis stream ID"}


async def test_thread_stream_refuses_unknown_modes(live: httpx.AsyncClient) -> None:
    response = await live.get(f"/threads/{THREAD_ID}/stream", params={"stream_modes": "bogus"})
    assert (response.status_code, response.json()) == (422, {"detail": "Invalid stream mode: bogus"})


async def test_shutdown_ends_streams_cleanly_and_cuts_waits(gateway: Gateway, script: Script, tmp_path: Path) -> None:
    script.on(StreamRun=Hanging(started()), WaitRun=Hanging(waiting()))

    async def read_all(client: httpx.AsyncClient, path: str, open_now: asyncio.Event) -> bytes:
        async with client.stream("POST", path, json=BODY) as response:
            open_now.set()
            return b"".join([chunk async for chunk in response.aiter_bytes()])

    streaming, waits = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(5), live_client(gateway, tmp_path) as client:
        stream = asyncio.create_task(read_all(client, f"{RUNS}/stream", streaming))
        wait = asyncio.create_task(read_all(client, f"{RUNS}/wait", waits))
        await streaming.wait()
        await waits.wait()
    assert without_beats(await stream) == b""
    with pytest.raises(httpx.RemoteProtocolError):
        await wait


async def test_service_that_is_not_there_is_told_within_the_deadline(settings: GatewaySettings, tmp_path: Path) -> None:
    impatient = settings.model_copy(update={"call_timeout_seconds": 0.3})
    async with open_gateway(impatient) as gateway, live_client(gateway, tmp_path) as client:
        response = await client.post(f"{RUNS}/stream", json=BODY)
    assert response.status_code in (503, 504)  # gone for good, or waited for in vain


async def test_head_of_a_stream_ends_at_once(live: httpx.AsyncClient, script: Script) -> None:
    hanging = Hanging(runs_pb2.StreamThreadResponse(position="0-0"))
    script.on(StreamThread=hanging)
    response = await live.head(f"/threads/{THREAD_ID}/stream")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
