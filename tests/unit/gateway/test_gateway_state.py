"""State and history: which graph is asked what, and the answers that need no graph."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from threadmill_protos.runs.v1 import graphs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from .gateway_script import CHECKPOINT_ID, THREAD_ID, Script, thread_row
from .reasons import reason

BASE = f"/threads/{THREAD_ID}"
STATE = graphs_pb2.JsonDocument(json=b'{"values":{"n":1}}')
HISTORY: list[graphs_pb2.GetHistoryResponse] = []
LARGE = b'"%b"' % (b"x" * 1024 * 1024)
NO_GRAPH = thread_row(metadata_json=b"{}")


async def test_state_is_spliced_and_asked_of_the_executor_alone(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetState=STATE)
    response = await client.get(f"{BASE}/state", params={"subgraphs": "true"})
    assert response.content == STATE.json
    asked = script.last("GetState")
    assert script.names() == ["GetState"], "the executor asks threads for the graph together with the checkpoint"
    assert not asked.HasField("graph")
    assert (asked.thread_id, asked.checkpoint_json, asked.subgraphs) == (THREAD_ID, b"", True)


async def test_state_at_a_checkpoint_by_path_and_by_body(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row(), GetState=STATE)
    await client.get(f"{BASE}/state/{CHECKPOINT_ID}")
    assert orjson.loads(script.last("GetState").checkpoint_json) == {"checkpoint_id": CHECKPOINT_ID}
    named = {"checkpoint_id": CHECKPOINT_ID, "checkpoint_ns": "child:1", "checkpoint_map": {"": CHECKPOINT_ID}}
    body = {"checkpoint": {**named, "thread_id": THREAD_ID}, "subgraphs": True}
    await client.post(f"{BASE}/state/checkpoint", json=body)
    assert orjson.loads(script.last("GetState").checkpoint_json) == named


async def test_state_before_any_graph_is_empty(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetState=graphs_pb2.JsonDocument())
    found = (await client.get(f"{BASE}/state")).json()
    assert found["values"] == {}
    assert found["next"] == found["tasks"] == found["interrupts"] == []
    assert found["checkpoint"] is found["metadata"] is None


async def test_malformed_checkpoint_is_an_empty_state_that_echoes_it(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row())
    found = (await client.get(f"{BASE}/state/nonsense")).json()
    assert found["checkpoint"] == {"checkpoint_id": "nonsense", "checkpoint_ns": "", "thread_id": THREAD_ID}
    assert script.names() == ["GetThread"]


async def test_missing_graph_is_404_with_the_executors_text(client: httpx.AsyncClient, script: Script) -> None:
    text = "Graph 'gone' not found. Expected one of: ['steps']"
    script.on(GetThread=thread_row(), GetState=reason("GRAPH_NOT_FOUND", text))
    response = await client.get(f"{BASE}/state")
    assert (response.status_code, response.json()) == (404, {"detail": text})


async def test_update_answers_and_then_publishes_the_new_state(client: httpx.AsyncClient, script: Script) -> None:
    published = asyncio.Event()

    def publish(request: Any) -> Any:
        published.set()
        return graphs_pb2.JsonDocument()

    answer = graphs_pb2.JsonDocument(json=b'{"checkpoint_id":"c"}')
    script.on(GetThread=thread_row(), UpdateState=answer, GetState=STATE, PublishStateUpdate=publish)
    body = {"values": {"n": 2}, "as_node": "a", "checkpoint_id": CHECKPOINT_ID}
    response = await client.post(f"{BASE}/state", json=body)
    assert response.content == answer.json
    asked = script.last("UpdateState")
    assert (asked.values_json, asked.as_node) == (b'{"n":2}', "a")
    assert orjson.loads(asked.checkpoint_json) == {"checkpoint_id": CHECKPOINT_ID}
    async with asyncio.timeout(5):
        await published.wait()
    assert script.last("PublishStateUpdate").state_json == STATE.json


async def test_update_succeeds_though_its_event_cannot_be_published(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row(), UpdateState=STATE, GetState=reason("GRAPH_FAILED"))
    assert (await client.post(f"{BASE}/state", json={"values": None})).status_code == 200
    assert script.last("UpdateState").values_json == b"null"


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("THREAD_BUSY", 409, f"Thread {THREAD_ID} has in-flight runs: "),
        ("USER_ERROR", 400, "Node nonode does not exist"),
        ("GRAPH_FAILED", 422, "Node nonode does not exist"),
    ],
)
async def test_update_errors(client: httpx.AsyncClient, script: Script, name: str, status: int, text: str) -> None:
    script.on(GetThread=thread_row(), UpdateState=reason(name, "Node nonode does not exist"))
    response = await client.post(f"{BASE}/state", json={"values": {}})
    assert response.status_code == status
    assert response.json()["detail"].startswith(text)


async def test_update_needs_a_graph(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=NO_GRAPH)
    response = await client.post(f"{BASE}/state", json={"values": {}})
    assert response.status_code == 400
    assert f"Thread '{THREAD_ID}' has no assigned graph ID" in response.json()["detail"]


@pytest.mark.parametrize("body", [{"values": 5}, {"values": {}, "as_node": None}, {"checkpoint_id": "bad"}])
async def test_update_refuses(client: httpx.AsyncClient, script: Script, body: dict[str, Any]) -> None:
    script.on(GetThread=thread_row())
    assert (await client.post(f"{BASE}/state", json=body)).status_code == 422


async def test_history_by_query(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row(), GetHistory=HISTORY)
    await client.get(f"{BASE}/history")
    assert script.last("GetHistory").limit == 1
    await client.get(f"{BASE}/history", params={"limit": "7", "before": CHECKPOINT_ID})
    asked = script.last("GetHistory")
    assert asked.limit == 7
    assert orjson.loads(asked.before_json) == {"checkpoint_id": CHECKPOINT_ID}


@pytest.mark.parametrize(
    "before", [{"configurable": {"checkpoint_id": CHECKPOINT_ID}}, {"checkpoint_id": CHECKPOINT_ID}]
)
async def test_history_by_body_takes_both_forms_of_before(
    client: httpx.AsyncClient, script: Script, before: dict[str, Any]
) -> None:
    script.on(GetThread=thread_row(), GetHistory=HISTORY)
    body = {"before": before, "metadata": {"source": "input"}, "checkpoint": {"checkpoint_ns": "child:1"}, "limit": 3}
    assert (await client.post(f"{BASE}/history", json=body)).json() == []
    asked = script.last("GetHistory")
    assert orjson.loads(asked.before_json) == {"checkpoint_id": CHECKPOINT_ID}
    assert (asked.limit, asked.metadata_json, asked.checkpoint_json) == (
        3,
        b'{"source":"input"}',
        b'{"checkpoint_ns":"child:1"}',
    )


def part(*states: bytes) -> graphs_pb2.GetHistoryResponse:
    return graphs_pb2.GetHistoryResponse(states_json=states)


async def test_a_small_history_is_one_response(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row(), GetHistory=[part(b'{"n":2}', b'{"n":1}'), part(b'{"n":0}')])
    response = await client.get(f"{BASE}/history", params={"limit": "9"})
    assert response.content == b'[{"n":2},{"n":1},{"n":0}]'
    assert (response.headers["content-type"], response.headers["content-length"]) == ("application/json", "25")


async def test_a_large_history_is_sent_in_pieces(live: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row(), GetHistory=[part(b"1", LARGE), part(LARGE), part(LARGE, b"2")])
    response = await live.post(f"{BASE}/history", json={"limit": 9})
    assert response.content == b"[1,%b,%b,%b,2]" % (LARGE, LARGE, LARGE)
    assert (response.headers["content-type"], response.headers["transfer-encoding"]) == ("application/json", "chunked")


@pytest.mark.parametrize("before", [[], [part(b"1")]])
async def test_a_history_that_fails_early_has_a_status(
    live: httpx.AsyncClient, script: Script, before: list[Any]
) -> None:
    script.on(GetThread=thread_row(), GetHistory=[*before, reason("GRAPH_NOT_FOUND", "no graph")])
    response = await live.post(f"{BASE}/history", json={"limit": 9})
    assert (response.status_code, response.json()) == (404, {"detail": "no graph"})


async def test_a_history_that_fails_late_is_a_broken_response(live: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row(), GetHistory=[part(LARGE), part(LARGE), reason("USER_ERROR")])
    received = bytearray()

    async def receive(response: httpx.Response) -> None:
        async for chunk in response.aiter_bytes():
            received.extend(chunk)

    async with live.stream("POST", f"{BASE}/history", json={"limit": 9}) as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await receive(response)
    assert received == b"[%b,%b" % (LARGE, LARGE)


async def test_a_client_that_leaves_ends_the_reading_of_a_history(live: httpx.AsyncClient, script: Script) -> None:
    ended = asyncio.Event()
    sent = []

    async def endless(_: Any) -> AsyncIterator[graphs_pb2.GetHistoryResponse]:
        try:
            while True:
                yield part(LARGE)
                sent.append(1)
        finally:
            ended.set()

    script.on(GetThread=thread_row(), GetHistory=endless)
    async with live.stream("POST", f"{BASE}/history", json={"limit": 9}) as response:
        async for _ in response.aiter_bytes():
            break
    async with asyncio.timeout(10):
        await ended.wait()
    assert len(sent) < 64, "it reads ahead of its client"


async def test_the_head_of_a_large_history(live: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row(), GetHistory=[part(LARGE), part(LARGE)])
    response = await live.head(f"{BASE}/history")
    assert (response.status_code, response.content) == (200, b"")


async def test_history_limits(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row())
    assert (await client.get(f"{BASE}/history", params={"limit": "0"})).json() == []
    bad = await client.get(f"{BASE}/history", params={"limit": "abc"})
    assert (bad.status_code, bad.json()) == (422, {"detail": "Invalid limit abc"})
    for body in ({"limit": 0}, {"limit": 1001}, {"before": CHECKPOINT_ID}):
        assert (await client.post(f"{BASE}/history", json=body)).status_code == 422


async def test_update_of_a_busy_thread_asks_no_graph(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row(state=threads_pb2.THREAD_STATE_BUSY))
    response = await client.post(f"{BASE}/state", json={"values": {}})
    assert response.status_code == 409
    assert response.json()["detail"].startswith(f"Thread {THREAD_ID} has in-flight runs: ")
    assert script.names() == ["GetThread"]


async def test_checkpoint_that_the_latest_run_started_from_does_not_bind_histories(
    client: httpx.AsyncClient, script: Script
) -> None:
    config = {"configurable": {"checkpoint_id": CHECKPOINT_ID, "thread_id": THREAD_ID, "model": "m"}, "tags": []}
    script.on(GetThread=thread_row(config_json=orjson.dumps(config)), GetHistory=HISTORY)
    await client.get(f"{BASE}/history")
    assert orjson.loads(script.last("GetHistory").graph.config_json) == {"configurable": {"model": "m"}, "tags": []}


async def test_a_checkpoint_id_may_be_spelled_in_any_way(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row(), GetState=graphs_pb2.JsonDocument(json=b"{}"), GetHistory=[])
    shouted = CHECKPOINT_ID.upper()
    await client.get(f"/threads/{THREAD_ID}/state/{shouted}")
    assert orjson.loads(script.last("GetState").checkpoint_json) == {"checkpoint_id": CHECKPOINT_ID}
    await client.get(f"/threads/{THREAD_ID}/history", params={"before": shouted})
    assert orjson.loads(script.last("GetHistory").before_json) == {"checkpoint_id": CHECKPOINT_ID}
