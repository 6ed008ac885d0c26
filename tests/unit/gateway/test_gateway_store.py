"""Store endpoints and namespace rules."""

from typing import Any

import httpx
import pytest
from threadmill_protos.store.v1 import store_pb2

from .gateway_script import Script, item_row, stored

ITEMS = "/store/items"
PUT = {"namespace": ["u1", "mem"], "key": "k1", "value": {"a": 1}}


def op(script: Script) -> store_pb2.Op:
    found: store_pb2.Op = script.last("Batch").ops[0]
    return found


@pytest.mark.parametrize(
    ("index", "expected"),
    [({}, None), ({"index": None}, None), ({"index": False}, []), ({"index": ["a", "b[*]"]}, ["a", "b[*]"])],
)
async def test_put(
    client: httpx.AsyncClient, script: Script, index: dict[str, Any], expected: list[str] | None
) -> None:
    script.on(Batch=stored())
    response = await client.put(ITEMS, json={**PUT, **index, "ttl": 2})
    assert (response.status_code, response.content) == (204, b"")
    put = op(script).put
    assert (list(put.namespace), put.key, put.value_json, put.ttl_minutes) == (["u1", "mem"], "k1", b'{"a":1}', 2)
    assert (list(put.index.paths) if put.HasField("index") else None) == expected


@pytest.mark.parametrize(
    "changes", [{"index": True}, {"value": []}, {"namespace": None}, {"key": 5}, {"ttl": 0}, {"namespace": ["a", 1]}]
)
async def test_put_refuses(client: httpx.AsyncClient, changes: dict[str, Any]) -> None:
    response = await client.put(ITEMS, json={**PUT, **changes})
    assert response.status_code == 422
    assert next(iter(changes)) in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", ITEMS, {**PUT, "namespace": ["a.b"]}),
        ("DELETE", ITEMS, {"key": "k", "namespace": ["a.b"]}),
        ("POST", f"{ITEMS}/search", {"namespace_prefix": ["a.b"]}),
        ("POST", "/store/namespaces", {"suffix": ["a.b"]}),
    ],
)
async def test_bad_label_is_bare_text_without_content_type(
    client: httpx.AsyncClient, method: str, path: str, body: Any
) -> None:
    response = await client.request(method, path, json=body)
    assert response.status_code == 422
    assert response.text == "Namespace label 'a.b' must be a non-empty string without periods"
    assert "content-type" not in response.headers


@pytest.mark.parametrize(
    ("namespace", "detail"),
    [
        ([], "Namespace cannot be empty."),
        (["langgraph", "x"], "Root label for namespace cannot be \"langgraph\". Got: ('langgraph', 'x')"),
    ],
)
async def test_namespaces_that_cannot_be_written(client: httpx.AsyncClient, namespace: list[str], detail: str) -> None:
    response = await client.put(ITEMS, json={**PUT, "namespace": namespace})
    assert (response.status_code, response.json()) == (400, {"detail": detail})


async def test_get(client: httpx.AsyncClient, script: Script) -> None:
    script.on(Batch=stored(item=item_row()))
    response = await client.get(ITEMS, params={"namespace": "u1.mem", "key": "k1"})
    assert response.json()["value"] == {"a": 1}
    assert "score" not in response.json()
    assert list(op(script).get.namespace) == ["u1", "mem"]
    assert not op(script).get.HasField("refresh_ttl")
    await client.get(ITEMS, params={"namespace": "u1", "key": "k1", "refresh_ttl": "false"})
    assert op(script).get.HasField("refresh_ttl")


async def test_missing_item_is_null(client: httpx.AsyncClient, script: Script) -> None:
    script.on(Batch=stored())
    response = await client.get(ITEMS, params={"namespace": "u1", "key": "k1"})
    assert (response.status_code, response.content) == (200, b"null")


@pytest.mark.parametrize("query", ["namespace=a", "namespace=a&key="])
async def test_get_needs_a_key(client: httpx.AsyncClient, query: str) -> None:
    response = await client.get(f"{ITEMS}?{query}")
    assert (response.status_code, response.json()) == (400, {"error": "Key is required"})


async def test_namespace_may_be_one_label_each_as_in_the_agent_protocol(
    client: httpx.AsyncClient, script: Script
) -> None:
    script.on(Batch=stored(item=item_row()))
    assert (await client.get(f"{ITEMS}?key=k1&namespace=u1&namespace=mem")).json()["key"] == "k1"
    assert list(op(script).get.namespace) == ["u1", "mem"]


async def test_get_needs_a_namespace(client: httpx.AsyncClient) -> None:
    for query in ("key=k", "key=k&namespace=", "key=k&namespace=a..b"):
        assert (await client.get(f"{ITEMS}?{query}")).status_code == 422


async def test_delete(client: httpx.AsyncClient, script: Script) -> None:
    script.on(Batch=stored())
    response = await client.request("DELETE", ITEMS, json={"key": "k", "namespace": ["a"]})
    assert response.status_code == 204
    assert op(script).delete.key == "k"
    assert (await client.request("DELETE", ITEMS, json={"namespace": ["a"]})).status_code == 422


async def test_search(client: httpx.AsyncClient, script: Script) -> None:
    script.on(Batch=stored(items=store_pb2.Items(items=[item_row(score=0.5), item_row()])))
    body = {
        "namespace_prefix": ["u1"],
        "filter": {"a": 1, "b": {"$gt": 2, "$lte": 5}, "c": {"x": 1}},
        "query": "q",
        "refresh_ttl": False,
    }
    response = await client.post(f"{ITEMS}/search", json=body)
    assert [hit["score"] for hit in response.json()["items"]] == [0.5, None]
    search = op(script).search
    operators = [
        (one.key, store_pb2.FilterCondition.Operator.Name(one.operator), one.value_json) for one in search.conditions
    ]
    assert operators == [
        ("a", "OPERATOR_EQ", b"1"),
        ("b", "OPERATOR_GT", b"2"),
        ("b", "OPERATOR_LTE", b"5"),
        ("c", "OPERATOR_MATCH", b'{"x":1}'),
    ]
    assert (search.limit, search.query, search.HasField("refresh_ttl")) == (10, "q", True)


async def test_search_without_prefix_finds_everything_instead_of_failing(
    client: httpx.AsyncClient, script: Script
) -> None:
    script.on(Batch=stored(items=store_pb2.Items()))
    response = await client.post(f"{ITEMS}/search", json={"filter": None, "query": None, "refresh_ttl": None})
    assert response.json() == {"items": []}


async def test_search_refuses_unknown_operators(client: httpx.AsyncClient) -> None:
    response = await client.post(f"{ITEMS}/search", json={"namespace_prefix": [], "filter": {"a": {"$in": [1]}}})
    assert (response.status_code, response.json()) == (400, {"detail": "Unsupported operator: $in"})


async def test_namespaces(client: httpx.AsyncClient, script: Script) -> None:
    found = store_pb2.Namespaces(namespaces=[store_pb2.Namespace(labels=["u1"]), store_pb2.Namespace()])
    script.on(Batch=stored(namespaces=found))
    response = await client.post("/store/namespaces", json={"prefix": ["*"], "max_depth": 0})
    assert response.json() == {"namespaces": [["u1"], []]}
    listing = op(script).list_namespaces
    assert (listing.limit, listing.HasField("max_depth"), list(listing.prefix)) == (100, True, ["*"])
