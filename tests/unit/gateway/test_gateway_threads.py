"""Thread endpoints: what the threads service is asked, and what clients see."""

from typing import Any

import httpx
import orjson
import pytest
from threadmill_protos.runs.v1 import graphs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from .gateway_script import THREAD_ID, Script, thread_row
from .reasons import reason

BASE = f"/threads/{THREAD_ID}"
NOT_FOUND = reason("THREAD_NOT_FOUND")


async def test_create_mints_an_id_and_asks_idempotently(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateThread=lambda request: thread_row(thread_id=request.thread_id))
    response = await client.post("/threads", json={"metadata": {"a": 1}, "ttl": {"ttl": 5}})
    asked = script.last("CreateThread")
    assert response.json()["thread_id"] == asked.thread_id
    assert asked.thread_id[14] == "7"
    assert asked.if_exists == threads_pb2.IF_EXISTS_DO_NOTHING
    assert asked.metadata_json == b'{"a":1}'
    assert asked.ttl == threads_pb2.ThreadTtl(ttl_minutes=5)


@pytest.mark.parametrize(
    ("if_exists", "expected"),
    [({}, "RAISE"), ({"if_exists": "raise"}, "RAISE"), ({"if_exists": "do_nothing"}, "DO_NOTHING")],
)
async def test_create_with_an_id_of_the_clients(
    client: httpx.AsyncClient, script: Script, if_exists: dict[str, str], expected: str
) -> None:
    script.on(CreateThread=thread_row())
    await client.post("/threads", json={"thread_id": THREAD_ID.upper(), **if_exists})
    asked = script.last("CreateThread")
    assert asked.thread_id == THREAD_ID
    assert threads_pb2.IfExists.Name(asked.if_exists) == f"IF_EXISTS_{expected}"


async def test_create_of_a_taken_id_conflicts(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateThread=reason("THREAD_EXISTS"))
    response = await client.post("/threads", json={"thread_id": THREAD_ID})
    assert (response.status_code, response.json()) == (409, {"detail": f"Thread with ID {THREAD_ID} already exists"})


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"thread_id": "bad"}, "Invalid thread ID: must be a UUID"),
        ({"thread_id": None}, "thread_id"),
        ({"metadata": None}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"if_exists": "other"}, "if_exists"),
        ({"ttl": 5}, "ttl"),
        ({"ttl": {"ttl": 0}}, "ttl.ttl"),
        ({"supersteps": [{"updates": [{"values": {}}]}]}, "as_node"),
        ({"supersteps": [{"updates": [{"as_node": "a", "command": {"goto": {"input": 1}}}]}]}, "command: goto"),
        ([], "object"),
    ],
)
async def test_create_refuses_and_names_the_field(client: httpx.AsyncClient, body: Any, named: str) -> None:
    response = await client.post("/threads", json=body)
    assert response.status_code == 422
    assert named in response.json()["detail"]


async def test_metadata_keys_of_the_server_are_dropped(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateThread=thread_row(), UpdateThread=thread_row())
    metadata = {"thread_id": "x", "assistant_id": "x", "run_id": "x", "cron_id": "x", "graph_id": "steps", "a": 1}
    await client.post("/threads", json={"metadata": metadata})
    await client.patch(BASE, json={"metadata": metadata})
    for method in ("CreateThread", "UpdateThread"):
        assert orjson.loads(script.last(method).metadata_json) == {"graph_id": "steps", "a": 1}


async def test_unknown_fields_and_content_types_are_ignored(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateThread=thread_row())
    response = await client.post("/threads", content=b'{"what":1}', headers={"content-type": "text/plain"})
    assert response.status_code == 200


async def test_supersteps_set_the_state_and_answer_with_the_thread_as_it_is_then(
    client: httpx.AsyncClient, script: Script
) -> None:
    script.on(
        CreateThread=thread_row(),
        BulkUpdateState=graphs_pb2.JsonDocument(json=b"{}"),
        GetThread=thread_row(values_json=b'{"n":1}'),
    )
    steps = [{"updates": [{"values": {"n": 1}, "as_node": "a"}]}]
    response = await client.post("/threads", json={"supersteps": steps})
    assert response.json()["values"] == {"n": 1}
    asked = script.last("BulkUpdateState")
    assert asked.graph.graph_id == "steps"
    assert orjson.loads(asked.supersteps_json)[0]["updates"][0]["as_node"] == "a"


@pytest.mark.parametrize("metadata", [b"{}", b'{"graph_id":5}', b'{"graph_id":""}'])
async def test_supersteps_without_graph_id_answer_201(
    client: httpx.AsyncClient, script: Script, metadata: bytes
) -> None:
    script.on(CreateThread=thread_row(metadata_json=metadata))
    response = await client.post("/threads", json={"supersteps": [{"updates": []}]})
    assert response.status_code == 201
    assert "was created, but there were problems" in response.json()["detail"]


async def test_supersteps_of_an_unknown_node_answer_400(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateThread=thread_row(), BulkUpdateState=reason("USER_ERROR", "Node zzz does not exist"))
    response = await client.post("/threads", json={"supersteps": [{"updates": []}]})
    assert (response.status_code, response.json()) == (400, {"detail": "Node zzz does not exist"})


async def test_supersteps_of_a_thread_that_was_there_and_is_busy_answer_409(
    client: httpx.AsyncClient, script: Script
) -> None:
    script.on(CreateThread=thread_row(), BulkUpdateState=reason("THREAD_BUSY", "busy"))
    body = {"thread_id": THREAD_ID, "if_exists": "do_nothing", "supersteps": [{"updates": []}]}
    response = await client.post("/threads", json=body)
    assert (response.status_code, response.json()) == (409, {"detail": "busy"})


async def test_get(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row())
    assert "ttl" not in (await client.get(BASE)).json()
    assert (await client.get(BASE, params={"include": "ttl"})).json()["ttl"] is None
    assert script.last("GetThread").include_ttl


async def test_request_id_travels_with_the_call(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=thread_row())
    await client.get(BASE, headers={"x-request-id": "mine"})
    await client.get(BASE, headers={"x-request-id": "no\tgood"})
    assert script.request_ids[0] == "mine"
    assert len(script.request_ids[1]) == 36


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", BASE, 404, f"Thread with ID {THREAD_ID} not found"),
        ("PATCH", BASE, 404, "Not Found"),
        ("DELETE", BASE, 404, f"Thread with ID {THREAD_ID} not found"),
        ("POST", f"{BASE}/copy", 409, "Conflict"),
        ("GET", f"{BASE}/storage", 404, f"Thread with ID {THREAD_ID} not found"),
        ("GET", f"{BASE}/state", 404, f"Thread with ID {THREAD_ID} not found"),
        ("GET", f"{BASE}/history", 404, f"Thread with ID {THREAD_ID} not found"),
        ("GET", "/threads/bad", 422, "Invalid thread ID: must be a UUID"),
        ("DELETE", "/threads/bad", 422, "Invalid thread ID: must be a UUID"),
        ("POST", "/threads/bad/copy", 400, "Invalid thread ID: must be a UUID"),
        ("GET", "/threads/bad/state", 422, "Invalid thread ID: must be a UUID"),
    ],
)
async def test_missing_and_malformed_threads(
    client: httpx.AsyncClient, script: Script, method: str, path: str, status: int, detail: str
) -> None:
    names = ("GetThread", "UpdateThread", "DeleteThread", "CopyThread", "GetThreadStorage", "GetState")
    script.on(**dict.fromkeys(names, NOT_FOUND))
    response = await client.request(method, path, json={})
    assert (response.status_code, response.json()) == (status, {"detail": detail})


async def test_patch_merges_and_can_answer_minimally(client: httpx.AsyncClient, script: Script) -> None:
    script.on(UpdateThread=thread_row())
    full = await client.patch(BASE, json={"metadata": {"a": None}})
    assert full.json()["thread_id"] == THREAD_ID
    assert script.last("UpdateThread").metadata_json == b'{"a":null}'
    minimal = await client.patch(BASE, json={}, headers={"prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (204, b"")
    assert script.last("UpdateThread").metadata_json == b""


async def test_a_ttl_without_strategy_leaves_the_threads_own(client: httpx.AsyncClient, script: Script) -> None:
    script.on(UpdateThread=thread_row())
    await client.patch(BASE, json={"ttl": {"ttl": 5}})
    assert script.last("UpdateThread").ttl == threads_pb2.ThreadTtl(ttl_minutes=5)


async def test_delete_stops_runs_before_and_those_created_meanwhile_after_the_thread_goes(
    client: httpx.AsyncClient, script: Script
) -> None:
    assert (await client.delete(BASE)).status_code == 204
    assert script.names() == ["DeleteThreadRuns", "DeleteThread", "DeleteThreadRuns"]


async def test_search_asks_for_a_page_and_reports_more(client: httpx.AsyncClient, script: Script) -> None:
    script.on(SearchThreads=threads_pb2.SearchThreadsResponse(threads=[thread_row()], has_more=True))
    response = await client.post(
        "/threads/search",
        json={
            "ids": [THREAD_ID],
            "metadata": {"a": 1},
            "values": {"n": 1},
            "status": "busy",
            "limit": 1,
            "offset": 4,
            "sort_by": "created_at",
            "sort_order": "asc",
            "select": ["thread_id"],
            "extract": {"last": "values.messages[-1].content"},
        },
    )
    assert response.json() == [{"thread_id": THREAD_ID}]
    assert response.headers["x-pagination-next"] == "5"
    assert response.headers["x-pagination-total"] == "6"
    asked = script.last("SearchThreads")
    assert (asked.limit, asked.offset, asked.sort_by) == (1, 4, asked.SORT_BY_CREATE_TIME)
    assert asked.filter.state == threads_pb2.THREAD_STATE_BUSY
    assert dict(asked.extract) == {"last": "values.messages[-1].content"}


async def test_search_ignores_an_order_without_a_column(client: httpx.AsyncClient, script: Script) -> None:
    script.on(SearchThreads=threads_pb2.SearchThreadsResponse())
    response = await client.post("/threads/search", json={"sort_order": "asc"})
    assert response.headers["x-pagination-total"] == "0"
    asked = script.last("SearchThreads")
    assert (asked.limit, asked.sort_by, asked.sort_order) == (10, 0, 2)


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"ids": ["bad"]}, 400, "Invalid thread ID bad"),
        ({"limit": 0}, 422, "limit"),
        ({"limit": 1001}, 422, "limit"),
        ({"limit": "5"}, 422, "limit"),
        ({"limit": None}, 422, "limit"),
        ({"offset": -1}, 422, "offset"),
        ({"status": "gone"}, 422, "status"),
        ({"sort_by": "name"}, 422, "sort_by"),
        ({"sort_order": "ASC"}, 422, "sort_order"),
        ({"select": ["error"]}, 422, "select"),
        ({"extract": {"a": "status"}}, 422, "Extract path 'status' must start with one of: config, interrupts, meta"),
        ({"extract": {"x-y": "values"}}, 422, "Extract key 'x-y' must be a valid identifier"),
        ({"extract": {"a": "values..b"}}, 422, "Extract path"),
        ({"extract": {f"a{n}": "values" for n in range(11)}}, 422, "extract"),
    ],
)
async def test_search_refuses(client: httpx.AsyncClient, body: dict[str, Any], status: int, detail: str) -> None:
    response = await client.post("/threads/search", json=body)
    assert response.status_code == status
    assert detail in response.json()["detail"]


async def test_count_is_a_bare_number(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CountThreads=threads_pb2.CountThreadsResponse(count=3))
    assert (await client.post("/threads/count", json={"status": "idle"})).content == b"3"


async def test_copy(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CopyThread=thread_row(thread_id="copy"))
    copy = (await client.post(f"{BASE}/copy")).json()
    assert copy["thread_id"] == "copy"
    assert "values" not in copy


@pytest.mark.parametrize(("strategy", "stops"), [("delete", 4), ("keep_latest", 0)])
async def test_prune_stops_runs_of_threads_that_go(
    client: httpx.AsyncClient, script: Script, strategy: str, stops: int
) -> None:
    script.on(PruneThreads=threads_pb2.PruneThreadsResponse(pruned_count=1))
    body = {"thread_ids": [THREAD_ID, THREAD_ID], "strategy": strategy}
    assert (await client.post("/threads/prune", json=body)).json() == {"pruned_count": 1}
    assert script.names().count("DeleteThreadRuns") == stops


async def test_prune_needs_ids(client: httpx.AsyncClient) -> None:
    assert (await client.post("/threads/prune", json={})).status_code == 422


async def test_storage(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThreadStorage=threads_pb2.ThreadStorage(checkpoint_count=1, checkpoint_bytes=2))
    assert (await client.get(f"{BASE}/storage")).json()["total_bytes"] == 2
