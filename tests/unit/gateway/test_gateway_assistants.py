"""Assistant endpoints."""

from typing import Any

import httpx
import orjson
import pytest
from threadmill_protos.runs.v1 import assistants_pb2, graphs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from .gateway_script import ASSISTANT_ID, THREAD_ID, Script, assistant_row, thread_row
from .reasons import reason

BASE = f"/assistants/{ASSISTANT_ID}"
DOCUMENT = graphs_pb2.JsonDocument(json=b'{"ready":true}')


async def test_create_forwards_everything(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateAssistant=assistant_row())
    body = {
        "graph_id": "steps",
        "assistant_id": ASSISTANT_ID,
        "config": {"tags": ["t"]},
        "context": {"model": "m"},
        "metadata": {"a": 1},
        "name": "n",
        "description": "d",
        "if_exists": "do_nothing",
    }
    assert (await client.post("/assistants", json=body)).json()["version"] == 1
    assert script.last("CreateAssistant") == assistants_pb2.CreateAssistantRequest(
        assistant_id=ASSISTANT_ID,
        graph_id="steps",
        config_json=b'{"tags":["t"]}',
        context_json=b'{"model":"m"}',
        metadata_json=b'{"a":1}',
        name="n",
        description="d",
        do_nothing_if_exists=True,
    )


async def test_create_defaults(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateAssistant=assistant_row())
    await client.post("/assistants", json={"graph_id": "steps", "description": None})
    asked = script.last("CreateAssistant")
    assert (asked.assistant_id, asked.name, asked.HasField("description")) == ("", "Untitled", False)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"graph_id": "g", "assistant_id": "bad"}, 422),
        ({"graph_id": "g", "name": None}, 422),
        ({"graph_id": "g", "if_exists": "other"}, 422),
        ({"graph_id": "g", "context": {"a": 1}, "config": {"configurable": {"a": 1}}}, 400),
    ],
)
async def test_create_refuses(client: httpx.AsyncClient, body: dict[str, Any], status: int) -> None:
    assert (await client.post("/assistants", json=body)).status_code == status


async def test_create_conflict(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateAssistant=reason("ASSISTANT_EXISTS"))
    response = await client.post("/assistants", json={"graph_id": "g", "assistant_id": ASSISTANT_ID})
    assert (response.status_code, response.json()) == (409, {"detail": f"Assistant {ASSISTANT_ID} already exists"})


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("GET", BASE, "Not Found"),
        ("PATCH", BASE, f"Assistant {ASSISTANT_ID} not found"),
        ("DELETE", BASE, f"Assistant with ID {ASSISTANT_ID} not found"),
        ("DELETE", f"{BASE}?delete_threads=true", f"Assistant with ID {ASSISTANT_ID} not found"),
        ("POST", f"{BASE}/versions", f"Assistant {ASSISTANT_ID} not found"),
        ("GET", f"{BASE}/graph", "Not Found"),
        ("GET", f"{BASE}/schemas", "Not Found"),
    ],
)
async def test_unknown_assistant(
    client: httpx.AsyncClient, script: Script, method: str, path: str, detail: str
) -> None:
    names = ("GetAssistant", "UpdateAssistant", "DeleteAssistant", "ListAssistantVersions")
    script.on(**dict.fromkeys(names, reason("ASSISTANT_NOT_FOUND")))
    response = await client.request(method, path, json={})
    assert (response.status_code, response.json()) == (404, {"detail": detail})


@pytest.mark.parametrize("path", ["", "/schemas", "/subgraphs", "/subgraphs/a"])
async def test_graph_names_are_no_ids_here(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(f"/assistants/steps{path}")
    assert (response.status_code, response.json()) == (422, {"detail": "Invalid assistant ID: must be a UUID"})


async def test_patch_sends_only_what_is_given(client: httpx.AsyncClient, script: Script) -> None:
    script.on(UpdateAssistant=assistant_row(version=2))
    await client.patch(BASE, json={"config": {}})
    assert script.last("UpdateAssistant") == assistants_pb2.UpdateAssistantRequest(
        assistant_id=ASSISTANT_ID, config_json=b"{}"
    )


async def test_delete_with_threads_deletes_page_by_page_and_the_assistant_last(
    client: httpx.AsyncClient, script: Script
) -> None:
    pages = [[thread_row()], []]
    script.on(
        GetAssistant=assistant_row(),
        SearchThreads=lambda _: threads_pb2.SearchThreadsResponse(threads=pages.pop(0)),
    )
    assert (await client.delete(f"{BASE}?delete_threads=true")).status_code == 204
    wanted = script.last("SearchThreads").filter.metadata_json
    assert orjson.loads(wanted) == {"assistant_id": ASSISTANT_ID}
    assert script.last("DeleteThread").thread_id == THREAD_ID
    assert script.names()[-4:] == ["DeleteThread", "DeleteThreadRuns", "SearchThreads", "DeleteAssistant"]


async def test_search(client: httpx.AsyncClient, script: Script) -> None:
    script.on(SearchAssistants=assistants_pb2.SearchAssistantsResponse(assistants=[assistant_row()], has_more=False))
    body = {"graph_id": "steps", "name": "st", "sort_by": "name", "sort_order": "asc", "select": ["name"], "offset": 3}
    response = await client.post("/assistants/search", json=body)
    assert response.json() == [{"name": "steps"}]
    assert response.headers["x-pagination-total"] == "4"
    asked = script.last("SearchAssistants")
    assert (asked.filter.name, asked.sort_by, asked.sort_order) == ("st", asked.SORT_BY_NAME, 1)


async def test_search_of_an_unknown_graph_is_told_from_one_without_assistants(
    client: httpx.AsyncClient, script: Script
) -> None:
    script.on(
        SearchAssistants=assistants_pb2.SearchAssistantsResponse(),
        CountAssistants=reason("GRAPH_NOT_FOUND", "Graph 'nope' not found."),
    )
    response = await client.post("/assistants/search", json={"graph_id": "nope"})
    assert (response.status_code, response.json()) == (404, {"detail": "Graph 'nope' not found."})
    script.on(CountAssistants=assistants_pb2.CountAssistantsResponse(count=0))
    assert (await client.post("/assistants/search", json={"graph_id": "steps"})).json() == []
    assert (await client.post("/assistants/search", json={"metadata": {"a": 1}})).json() == []
    assert script.names().count("CountAssistants") == 2


async def test_drawing_of_what_is_neither_id_nor_graph_is_refused(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetAssistant=reason("INVALID_ASSISTANT"))
    response = await client.get("/assistants/nograph/graph")
    assert (response.status_code, response.json()) == (422, {"detail": "Invalid assistant ID: must be a UUID"})


async def test_metadata_keys_of_the_server_are_dropped(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateAssistant=assistant_row(), UpdateAssistant=assistant_row())
    metadata = {"assistant_id": "x", "thread_id": "x", "run_id": "x", "cron_id": "x", "a": 1}
    await client.post("/assistants", json={"graph_id": "steps", "metadata": metadata})
    await client.patch(BASE, json={"metadata": metadata})
    for method in ("CreateAssistant", "UpdateAssistant"):
        assert script.last(method).metadata_json == b'{"a":1}'


async def test_an_order_without_a_column_is_no_order(client: httpx.AsyncClient, script: Script) -> None:
    script.on(SearchAssistants=assistants_pb2.SearchAssistantsResponse())
    await client.post("/assistants/search", json={"sort_order": "asc"})
    asked = script.last("SearchAssistants")
    assert (asked.sort_by, asked.sort_order) == (asked.SORT_BY_UNSPECIFIED, 2)


async def test_a_name_may_be_empty(client: httpx.AsyncClient, script: Script) -> None:
    script.on(UpdateAssistant=assistant_row(name=""))
    assert (await client.patch(BASE, json={"name": ""})).json()["name"] == ""
    asked = script.last("UpdateAssistant")
    assert (asked.HasField("name"), asked.name) == (True, "")


async def test_count(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CountAssistants=assistants_pb2.CountAssistantsResponse(count=2))
    assert (await client.post("/assistants/count", json={})).content == b"2"


async def test_versions_have_no_updated_at(client: httpx.AsyncClient, script: Script) -> None:
    script.on(ListAssistantVersions=assistants_pb2.ListAssistantVersionsResponse(versions=[assistant_row()]))
    response = await client.post(f"{BASE}/versions", json={})
    assert "updated_at" not in response.json()[0]
    assert (await client.post(f"{BASE}/versions")).status_code == 422


async def test_latest(client: httpx.AsyncClient, script: Script) -> None:
    script.on(SetLatestVersion=assistant_row())
    assert (await client.post(f"{BASE}/latest", json={"version": 1})).status_code == 200
    script.on(SetLatestVersion=reason("VERSION_NOT_FOUND"))
    for body, named in (({"version": 99}, "99"), ({}, "None")):
        response = await client.post(f"{BASE}/latest", json=body)
        assert (response.status_code, response.json()) == (
            404,
            {"detail": f"Version {named} not found for assistant {ASSISTANT_ID}"},
        )


@pytest.mark.parametrize(("xray", "depth"), [(None, 0), ("false", 0), ("true", -1), ("True", -1), ("3", 3)])
async def test_graph_is_drawn_by_name_too(
    client: httpx.AsyncClient, script: Script, xray: str | None, depth: int
) -> None:
    script.on(GetAssistant=assistant_row(), DrawGraph=DOCUMENT)
    response = await client.get("/assistants/steps/graph", params={"xray": xray} if xray else {})
    assert response.content == DOCUMENT.json
    assert script.last("GetAssistant").allow_graph_id
    assert script.last("DrawGraph").xray_depth == depth


@pytest.mark.parametrize("xray", ["0", "-1", "much", "99999999999"])
async def test_bad_xray(client: httpx.AsyncClient, xray: str) -> None:
    response = await client.get(f"{BASE}/graph", params={"xray": xray})
    assert (response.status_code, response.json()) == (422, {"detail": "Invalid xray value"})


async def test_schemas_and_subgraphs(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetAssistant=assistant_row(), GetGraphSchemas=DOCUMENT, ListSubgraphs=DOCUMENT)
    assert (await client.get(f"{BASE}/schemas")).content == DOCUMENT.json
    await client.get(f"{BASE}/subgraphs/child", params={"recurse": "true"})
    asked = script.last("ListSubgraphs")
    assert (asked.namespace, asked.recurse, asked.graph.graph_id) == ("child", True, "steps")
