"""Long-term memory through the SDK, and its view of what graphs wrote."""

import asyncio
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, UnprocessableEntityError


@pytest.fixture
def root() -> str:
    """A namespace that no other test uses."""
    return f"e2e-{uuid4().hex}"


async def test_item_is_put_replaced_and_deleted(client: LangGraphClient, root: str) -> None:
    await client.store.put_item([root, "a"], "key", {"n": 1, "nest": {"x": [1.5, None, "ü"]}})
    item = await client.store.get_item([root, "a"], "key")
    assert item["namespace"] == [root, "a"]
    assert (item["key"], item["value"]) == ("key", {"n": 1, "nest": {"x": [1.5, None, "ü"]}})
    await client.store.put_item([root, "a"], "key", {"m": 2})
    replaced = await client.store.get_item([root, "a"], "key")
    assert replaced["value"] == {"m": 2}
    assert replaced["created_at"] == item["created_at"]
    assert replaced["updated_at"] > item["updated_at"]
    for _ in range(2):  # also when it is gone
        await client.store.delete_item([root, "a"], "key")
    assert await client.store.get_item([root, "a"], "key") is None


async def test_search_finds_below_a_prefix_by_content(client: LangGraphClient, root: str) -> None:
    for number in range(4):
        await client.store.put_item(
            [root, "deep", str(number % 2)], f"k{number}", {"n": number, "odd": number % 2 == 1}
        )
    await client.store.put_item([f"{root}-other"], "k", {"n": 1})

    async def keys(**options: object) -> list[str]:
        found = await client.store.search_items([root], **options)  # type: ignore[arg-type]
        return [item["key"] for item in found["items"]]

    assert await keys() == ["k0", "k1", "k2", "k3"]
    assert await keys(filter={"odd": True}) == ["k1", "k3"]
    assert await keys(filter={"n": {"$gte": 1, "$lt": 3}}) == ["k1", "k2"]
    assert await keys(filter={"n": {"$ne": 0}, "odd": False}) == ["k2"]
    assert await keys(limit=2, offset=1) == ["k1", "k2"]
    with pytest.raises(BadRequestError, match=r"Unsupported operator: \$in"):
        await keys(filter={"n": {"$in": [1]}})


async def test_a_nested_filter_fits_what_has_at_least_its_keys(client: LangGraphClient, root: str) -> None:
    for key, value in {"a": {"q": 1, "r": 2}, "b": {"q": 2}, "c": {"q": 1}}.items():
        await client.store.put_item([root], key, {"nest": value})

    async def keys(condition: object) -> list[str]:
        return [item["key"] for item in (await client.store.search_items([root], filter={"nest": condition}))["items"]]

    assert await keys({"q": 1}) == ["a", "c"]
    assert await keys({"q": {"$gt": 1}}) == ["b"]
    assert await keys({"$eq": {"q": 1}}) == ["c"]
    with pytest.raises(BadRequestError, match=r"Unsupported operator: \$in"):
        await keys({"q": {"$in": [1]}})


async def test_what_postgres_cannot_hold_is_refused_with_its_place(http: httpx.AsyncClient, root: str) -> None:
    for value, place in (({"t": {"u": ["a\0b"]}}, "t.u.0"), ({"k\0": 1}, "k\0")):
        refused = await http.put("/store/items", json={"namespace": [root], "key": "k", "value": value})
        expected = f"the value of 'k' must not contain the character U+0000, as it does at {place!r}"
        assert (refused.status_code, refused.json()["detail"]) == (422, expected)
    found = await http.post("/store/items/search", json={"namespace_prefix": [root], "filter": {"t": "\0"}})
    assert (found.status_code, found.json()["detail"]) == (
        422,
        "the filter on 't' must not contain the character U+0000",
    )


async def test_a_whole_number_may_be_written_as_a_float(
    client: LangGraphClient, http: httpx.AsyncClient, root: str
) -> None:
    for key in ("a", "b", "c"):
        await client.store.put_item([root, key], "k", {})
    found = await http.post("/store/items/search", json={"namespace_prefix": [root], "limit": 2.0, "offset": 1.0})
    assert [item["namespace"][1] for item in found.json()["items"]] == ["b", "c"]
    assert (
        len((await http.post("/store/items/search", json={"namespace_prefix": [root], "limit": 0})).json()["items"])
        == 3
    )
    listed = await http.post("/store/namespaces", json={"prefix": [root], "limit": 2.0})
    assert len(listed.json()["namespaces"]) == 2
    assert (await http.post("/store/items/search", json={"namespace_prefix": [root], "limit": 2.5})).status_code == 422


async def test_namespaces_are_listed_by_prefix_suffix_and_depth(client: LangGraphClient, root: str) -> None:
    for labels in ([root, "u1", "mem"], [root, "u1", "mem", "deep"], [root, "u2", "mem"], [root, "u2", "else"]):
        await client.store.put_item(labels, "k", {})

    async def namespaces(**options: object) -> list[list[str]]:
        found = await client.store.list_namespaces(**{"prefix": [root], **options})  # type: ignore[arg-type]
        return [list(labels) for labels in found["namespaces"]]

    assert await namespaces() == [
        [root, "u1", "mem"],
        [root, "u1", "mem", "deep"],
        [root, "u2", "else"],
        [root, "u2", "mem"],
    ]
    assert await namespaces(suffix=["mem"]) == [[root, "u1", "mem"], [root, "u2", "mem"]]
    assert await namespaces(prefix=[root, "*", "else"]) == [[root, "u2", "else"]]
    assert await namespaces(max_depth=2) == [[root, "u1"], [root, "u2"]]
    assert await namespaces(limit=1, offset=2) == [[root, "u2", "else"]]


async def test_items_that_a_graph_wrote_are_seen(client: LangGraphClient, thread_id: str, root: str) -> None:
    config = {"configurable": {"user_id": root}}
    for text in ("one", "two"):
        await client.runs.wait(
            thread_id,
            "chat",
            input={"messages": [{"role": "user", "content": text}]},
            config=config,  # type: ignore[arg-type]
        )
    found = await client.store.search_items(["heard", root])
    assert {item["key"]: item["value"] for item in found["items"]} == {"1": {"text": "one"}, "2": {"text": "two"}}


async def test_index_false_and_ttl_are_accepted(client: LangGraphClient, root: str) -> None:
    await client.store.put_item([root], "k", {"n": 1}, index=False, ttl=60)
    assert (await client.store.get_item([root], "k", refresh_ttl=True))["value"] == {"n": 1}


async def test_wrong_namespaces_are_refused(client: LangGraphClient) -> None:
    with pytest.raises(BadRequestError, match="Namespace cannot be empty"):
        await client.store.put_item([], "k", {})
    with pytest.raises(BadRequestError, match='Root label for namespace cannot be "langgraph"'):
        await client.store.put_item(["langgraph", "x"], "k", {})
    with pytest.raises(UnprocessableEntityError):
        await client.store.put_item(["a", ""], "k", {})


async def test_null_as_time_to_live_is_taken_as_for_ever(
    client: LangGraphClient, http: httpx.AsyncClient, root: str
) -> None:
    body = {"namespace": [root], "key": "k", "value": {"n": 1}, "ttl": None}
    assert (await http.put("/store/items", json=body)).status_code == 204
    assert (await client.store.get_item([root], "k"))["value"] == {"n": 1}


async def test_many_clients_at_once_each_get_their_own(client: LangGraphClient, root: str) -> None:
    async def triple(number: int) -> None:
        namespace = [root, str(number % 4)]
        await client.store.put_item(namespace, str(number), {"n": number})
        assert (await client.store.get_item(namespace, str(number)))["value"] == {"n": number}
        found = await client.store.search_items(namespace, filter={"n": number})
        assert [item["key"] for item in found["items"]] == [str(number)]
        with pytest.raises(UnprocessableEntityError):
            await client.store.put_item([root, ""], "k", {})

    await asyncio.gather(*(triple(number) for number in range(40)))
