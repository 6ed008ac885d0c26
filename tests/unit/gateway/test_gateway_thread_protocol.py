"""The thread-streaming protocol over HTTP: streams of a thread's events."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from google.protobuf.json_format import MessageToDict
from threadmill_chassis.errors import InvalidArgument, Unavailable
from threadmill_gateway import responses
from threadmill_gateway.context import Gateway
from threadmill_gateway.settings import GatewaySettings
from threadmill_gateway.thread_protocol import following
from threadmill_protos.runs.v1 import runs_pb2

from .gateway_script import (
    RUN_ID,
    THREAD_ID,
    Hanging,
    Script,
    followed,
    live_client,
    protocol_event,
)

EVENTS = f"/threads/{THREAD_ID}/stream/events"
AGENT_EVENTS = f"/threads/{THREAD_ID}/stream"
COMMANDS = f"/threads/{THREAD_ID}/commands"
OPENED = followed(position="6-0")
WATCH = {"channels": ["lifecycle", "input"]}
BEAT = b": heartbeat\r\n\r\n"
NEVER = 3600.0


@pytest.fixture
def settings(settings: GatewaySettings) -> GatewaySettings:
    return settings.model_copy(update={"heartbeat_seconds": 0.05, "http_max_request_body_bytes": 10_000})


def root(what: str, seq: int = 1, **more: str) -> runs_pb2.ProtocolEvent:
    """A lifecycle event of the root graph."""
    data = orjson.dumps({"event": what, "graph_name": "steps", **more})
    return protocol_event(seq, "lifecycle", data, event_id=f"synth:{RUN_ID}:lc||{what}")


def names_of(content: bytes) -> list[str]:
    return re.findall(r"^event: (\S+)\r$", content.decode(), re.MULTILINE)


def asked(script: Script) -> dict[str, Any]:
    """What the runs api was asked by the last stream."""
    question: dict[str, Any] = MessageToDict(script.last("FollowThread"), preserving_proto_field_name=True)
    assert question.pop("thread_id") == THREAD_ID
    return question


async def test_events_are_framed_and_wrapped(live: httpx.AsyncClient, script: Script) -> None:
    child = protocol_event(2, "values", b'{"a":"\xc3\xa9"}', namespace=["child:1", "x"])
    script.on(FollowThread=[OPENED, followed(root("running")), followed(child)])
    response = await live.post(EVENTS, json={"channels": ["values", "lifecycle"]})
    first, second, rest = response.content.replace(BEAT, b"").split(b"\r\n\r\n")
    assert first.split(b"\r\n") == [
        b"event: lifecycle",
        b'data: {"type":"event","event_id":"synth:%b:lc||running","seq":1,"method":"lifecycle",'
        b'"params":{"namespace":[],"timestamp":1790000000123,"data":{"event":"running","graph_name":"steps"}}}'
        % RUN_ID.encode(),
        b"id: 1",
    ]
    assert second.split(b"\r\n") == [
        b"event: values",
        b'data: {"type":"event","event_id":"7-2","seq":2,"method":"values",'
        b'"params":{"namespace":["child:1","x"],"timestamp":1790000000123,"data":{"a":"\xc3\xa9"}}}',
        b"id: 2",
    ]
    assert rest == b""


async def test_head_of_a_stream(live: httpx.AsyncClient, script: Script) -> None:
    script.on(FollowThread=[OPENED])
    response = await live.post(EVENTS, json=WATCH)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert not {"location", "content-location", "content-length"} & response.headers.keys()


async def test_a_stream_begins_before_anything_happens_and_beats(live: httpx.AsyncClient, script: Script) -> None:
    script.on(FollowThread=Hanging(OPENED))
    async with live.stream("POST", EVENTS, json=WATCH) as response:
        async for chunk in response.aiter_bytes():
            assert chunk == BEAT
            break


async def test_a_client_that_goes_ends_the_call(live: httpx.AsyncClient, script: Script) -> None:
    hanging_call = Hanging(OPENED)
    script.on(FollowThread=hanging_call)
    async with live.stream("POST", EVENTS, json=WATCH):
        pass
    async with asyncio.timeout(5):
        await hanging_call.cancelled.wait()


@pytest.mark.parametrize("path", [EVENTS, AGENT_EVENTS])
async def test_a_subscription_reaches_the_runs_api_whole(live: httpx.AsyncClient, script: Script, path: str) -> None:
    script.on(FollowThread=[OPENED])
    body = {"channels": ["values", "custom:prog"], "namespaces": [["mid", "child:1"], []], "depth": 0, "since": 13}
    assert (await live.post(path, json=body)).status_code == 200
    assert asked(script) == {
        "selections": [
            {"channels": ["values", "custom:prog"], "namespaces": [{"segments": ["mid", "child:1"]}, {}], "depth": 0}
        ],
        "since": "13",
    }


async def test_every_channel_can_be_chosen(live: httpx.AsyncClient, script: Script) -> None:
    plain = "values updates messages tools custom lifecycle input tasks checkpoints"
    channels = [*plain.split(), "custom:any thing"]
    script.on(FollowThread=[OPENED])
    await live.post(EVENTS, json={"channels": channels})
    assert asked(script) == {"selections": [{"channels": channels}]}


IGNORED: list[dict[str, Any]] = [
    *({"namespaces": bad} for bad in ("x", ["mid"], [[1]], [[None]], [["a"], "b"], [], None, {"a": 1}, 5)),
    *({"depth": bad} for bad in ("1", -1, True, 1.5, None, [1], 2**64)),
    *({"since": bad} for bad in ("3", -1, True, 1.5, None, [3], 2**63)),
    {"extra": 1},
]


@pytest.mark.parametrize("extra", IGNORED, ids=str)
async def test_what_is_wrong_beside_the_channels_is_ignored(
    live: httpx.AsyncClient, script: Script, extra: dict[str, Any]
) -> None:
    script.on(FollowThread=[OPENED])
    response = await live.post(EVENTS, json={"channels": ["lifecycle"], **extra})
    assert response.status_code == 200
    assert asked(script) == {"selections": [{"channels": ["lifecycle"]}]}


async def test_a_large_depth_is_as_good_as_none(live: httpx.AsyncClient, script: Script) -> None:
    script.on(FollowThread=[OPENED])
    await live.post(EVENTS, json={"channels": ["lifecycle"], "namespaces": [[]], "depth": 2**40})
    assert script.last("FollowThread").selections[0].depth == 2**31 - 1


async def test_neither_query_nor_last_event_id_nor_content_type_count(live: httpx.AsyncClient, script: Script) -> None:
    script.on(FollowThread=[OPENED])
    headers = {"last-event-id": "5", "content-type": "text/plain"}
    response = await live.post(f"{EVENTS}?since=3", content=b'{"channels":["values"]}', headers=headers)
    assert response.status_code == 200
    assert asked(script) == {"selections": [{"channels": ["values"]}]}


async def test_a_thread_may_be_spelled_in_capitals(live: httpx.AsyncClient, script: Script) -> None:
    script.on(FollowThread=[OPENED])
    await live.post(EVENTS.replace(THREAD_ID, THREAD_ID.upper()), json=WATCH)
    assert script.last("FollowThread").thread_id == THREAD_ID


MISSING = "channels is required and must be a non-empty array"
ALLOWED = (
    "Allowed: values, updates, messages, tools, custom, lifecycle, input, tasks, checkpoints, or any `custom:<name>`."
)


def unsupported(entries: str) -> str:
    return f"channels contains unsupported entries: {entries}. {ALLOWED}"


BAD_BODIES = [
    (b"", "Invalid JSON body"),
    (b"{bad", "Invalid JSON body"),
    (b"\xff\xfe", "Invalid JSON body"),
    (b"{}", MISSING),
    (b"[1]", MISSING),
    (b'"x"', MISSING),
    (b"null", MISSING),
    (b'{"channels":null}', MISSING),
    (b'{"channels":"values"}', MISSING),
    (b'{"channels":[]}', MISSING),
    (b'{"channels":{"values":1}}', MISSING),
    (b'{"channels":["values","bogus"]}', unsupported("bogus")),
    (b'{"channels":[1,null]}', unsupported("1, None")),
    (b'{"channels":["a","b","c","d","e","f","g"]}', unsupported("a, b, c, d, e")),
    (b'{"channels":["custom:"]}', unsupported("custom:")),
    (b'{"channels":["input.requested"]}', unsupported("input.requested")),
    (b'{"channels":["debug"]}', unsupported("debug")),
    (b'{"channels":["Values"]}', unsupported("Values")),
]


@pytest.mark.parametrize(("body", "detail"), BAD_BODIES)
async def test_a_stream_without_good_channels_is_400(
    client: httpx.AsyncClient, script: Script, body: bytes, detail: str
) -> None:
    response = await client.post(EVENTS, content=body)
    assert (response.status_code, response.json()) == (400, {"detail": detail})
    assert script.asked == []


async def test_a_channel_with_a_nul_character_is_400(client: httpx.AsyncClient) -> None:
    response = await client.post(EVENTS, json={"channels": ["custom:a\0b"]})
    assert response.status_code == 400


@pytest.mark.parametrize(("body", "message"), BAD_BODIES)
async def test_the_agent_protocol_refuses_the_same_in_its_own_shape(
    client: httpx.AsyncClient, body: bytes, message: str
) -> None:
    response = await client.post(AGENT_EVENTS, content=body)
    assert response.status_code == 422
    assert response.json() == {"code": "bad_request", "message": message, "metadata": {}}


@pytest.mark.parametrize("thread_id", ["abc", "not%20uuid", f"{THREAD_ID}0"])
async def test_a_stream_of_what_is_no_uuid_is_422(client: httpx.AsyncClient, thread_id: str) -> None:
    message = "Invalid thread ID: must be a UUID"
    response = await client.post(f"/threads/{thread_id}/stream/events", json=WATCH)
    assert (response.status_code, response.json()) == (422, {"detail": message})
    response = await client.post(f"/threads/{thread_id}/stream", json=WATCH)
    assert (response.status_code, response.json()["message"]) == (422, message)


@pytest.mark.parametrize("path", [EVENTS, COMMANDS])
async def test_a_body_that_is_too_large_is_413(client: httpx.AsyncClient, path: str) -> None:
    response = await client.post(path, content=b'"' + b"x" * 10_000 + b'"')
    assert response.status_code == 413


@pytest.mark.parametrize("path", [EVENTS, COMMANDS])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_only_post_is_allowed(client: httpx.AsyncClient, path: str, method: str) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_a_refusal_of_the_runs_api_is_no_stream(client: httpx.AsyncClient, script: Script) -> None:
    script.on(FollowThread=InvalidArgument("channels: at least one"))
    response = await client.post(EVENTS, json=WATCH)
    assert (response.status_code, response.json()) == (422, {"detail": "channels: at least one"})
    response = await client.post(AGENT_EVENTS, json=WATCH)
    assert response.status_code == 422
    assert response.json() == {"code": "invalid_argument", "message": "channels: at least one", "metadata": {}}


async def test_a_failure_in_mid_stream_is_a_frame_without_id(live: httpx.AsyncClient, script: Script) -> None:
    script.on(FollowThread=[OPENED, followed(protocol_event(1)), InvalidArgument("no such thing")])
    response = await live.post(EVENTS, json={"channels": ["values"]})
    last = response.content.replace(BEAT, b"").split(b"\r\n\r\n")[-2]
    name, data = last.split(b"\r\n")
    assert name == b"event: error"
    assert orjson.loads(data.removeprefix(b"data: ")) == {
        "type": "error",
        "id": None,
        "error": "unknown_error",
        "message": "422: no such thing",
    }


async def test_a_stream_outlasts_the_replica_behind_it(live: httpx.AsyncClient, script: Script) -> None:
    async def behaviour(request: runs_pb2.FollowThreadRequest) -> AsyncIterator[Any]:
        if not request.continue_after:
            yield OPENED
            yield followed(protocol_event(3), live=True)
            raise Unavailable("gone")
        yield followed(position=request.continue_after)
        yield followed(protocol_event(4, "updates"))

    script.on(FollowThread=behaviour)
    body = {"channels": ["values", "updates"], "namespaces": [["a"]], "depth": 2, "since": 2}
    response = await live.post(EVENTS, json=body)
    assert names_of(response.content) == ["values", "updates"]
    first, again = (question for name, question in script.asked if name == "FollowThread")
    assert again.continue_after == "7-3"
    again.continue_after = ""
    assert again == first


async def test_in_the_middle_of_the_past_another_replica_is_asked_for_all_of_it(
    live: httpx.AsyncClient, script: Script
) -> None:
    """It decides what of the past is sent; what has been sent is left out."""
    questions = []

    async def behaviour(request: runs_pb2.FollowThreadRequest) -> AsyncIterator[Any]:
        questions.append(request)
        yield OPENED
        yield followed(protocol_event(3))
        if len(questions) < 3:
            raise Unavailable("gone")
        yield followed(protocol_event(4, "updates"), live=True)

    script.on(FollowThread=behaviour)
    response = await live.post(EVENTS, json={"channels": ["values", "updates"], "since": 2})
    assert names_of(response.content) == ["values", "updates"]
    assert questions == 3 * questions[:1]


async def test_a_stream_gives_up_when_no_replica_comes_back(
    live: httpx.AsyncClient, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "REJOIN_SECONDS", 0.0)
    script.on(FollowThread=[OPENED, Unavailable("gone")])
    response = await live.post(EVENTS, json=WATCH)
    assert names_of(response.content) == ["error"]
    assert b'"message":"503: Service Unavailable"' in response.content


async def test_a_shutdown_cuts_a_stream_so_that_clients_do_not_take_it_for_an_end(
    gateway: Gateway, script: Script, tmp_path: Path
) -> None:
    script.on(FollowThread=Hanging(OPENED))
    open_now = asyncio.Event()

    async def read_all(client: httpx.AsyncClient) -> None:
        async with client.stream("POST", EVENTS, json=WATCH) as response:
            open_now.set()
            await response.aread()

    async with asyncio.timeout(5), live_client(gateway, tmp_path) as client:
        reading = asyncio.create_task(read_all(client))
        await open_now.wait()
    with pytest.raises(httpx.RemoteProtocolError):
        await reading


# --- the pace of a stream


def chosen(*channels: str, **more: Any) -> runs_pb2.Selection:
    return runs_pb2.Selection(channels=channels, **more)


async def parts_of(
    events: list[runs_pb2.ProtocolEvent], *selections: runs_pb2.Selection
) -> tuple[list[list[int]], float]:
    """The numbers of events as they are sent together, and how long that took."""
    clock = asyncio.get_running_loop().time
    pace, began_at = following.Pace(selections), clock()
    parts = [[event.seq for event in part] async for part in pace.parts(events)]
    return parts, clock() - began_at


@pytest.fixture
def late_signals(monkeypatch: pytest.MonkeyPatch) -> float:
    """Signals wait so long, streams are never young."""
    monkeypatch.setattr(following, "SETTLING_SECONDS", 0.0)
    monkeypatch.setattr(following, "SIGNAL_SECONDS", 0.1)
    return 0.1


REQUEST = protocol_event(2, "input.requested", b'{"interrupt_id":"i","payload":1}')


@pytest.mark.parametrize("last", [root("completed", 2), root("failed", 2), root("interrupted", 2), REQUEST])
async def test_signals_alone_are_a_little_late(late_signals: float, last: runs_pb2.ProtocolEvent) -> None:
    parts, seconds = await parts_of([root("running"), last], chosen("lifecycle", "input"))
    assert parts == [[1], [2]]
    assert seconds >= late_signals
    parts, seconds = await parts_of([last], chosen("lifecycle"), chosen("input", namespaces=[]))
    assert (parts, seconds >= late_signals) == ([[2]], True)


async def test_signals_beside_data_are_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SETTLING_SECONDS", 0.0)
    monkeypatch.setattr(following, "SIGNAL_SECONDS", NEVER)
    events = [root("running"), REQUEST, root("completed", 3)]
    async with asyncio.timeout(5):
        for selections in ([chosen("lifecycle", "input", "values")], [chosen("lifecycle"), chosen("values")]):
            assert (await parts_of(events, *selections))[0] == [[1, 2, 3]]


async def test_other_lifecycle_events_are_never_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SETTLING_SECONDS", NEVER)
    events = [
        root("running"),
        protocol_event(2, "lifecycle", b'{"event":"started","graph_name":"child"}', namespace=["child:1"]),
        protocol_event(3, "lifecycle", b'{"event":"completed","graph_name":"child"}', namespace=["child:1"]),
    ]
    async with asyncio.timeout(5):
        assert (await parts_of(events, chosen("lifecycle")))[0] == [[1, 2, 3]]


async def test_a_young_stream_tells_of_no_end_but_gives_data(
    live: httpx.AsyncClient, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SETTLING_SECONDS", NEVER)
    events = (root("running"), protocol_event(2), root("completed", 3), protocol_event(4))
    script.on(FollowThread=Hanging(OPENED, followed(*events)))
    content = b""
    async with asyncio.timeout(5), live.stream("POST", EVENTS, json={"channels": ["values", "lifecycle"]}) as response:
        async for chunk in response.aiter_bytes():
            content += chunk
            if content.endswith(BEAT * 2):
                break
    assert names_of(content) == ["lifecycle", "values"]


async def test_what_is_held_back_comes_in_order(
    live: httpx.AsyncClient, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SETTLING_SECONDS", 0.1)
    script.on(FollowThread=[OPENED, followed(protocol_event(1), root("completed", 2)), followed(protocol_event(3))])
    response = await live.post(EVENTS, json={"channels": ["values", "lifecycle"]})
    assert re.findall(rb"id: (\d)", response.content) == [b"1", b"2", b"3"]
