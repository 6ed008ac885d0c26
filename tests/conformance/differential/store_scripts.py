"""The store."""

from typing import Any
from uuid import uuid4

from .recording import Recorder
from .scripts import script


async def put(server: Recorder, namespace: Any, key: Any, value: Any, **more: Any) -> None:
    await server.call("PUT", "/store/items", {"namespace": namespace, "key": key, "value": value, **more})


@script
async def store_items(server: Recorder) -> None:
    root = server.name(str(uuid4()))
    await put(server, [root, "a"], "k", {"v": 1})
    await server.get(f"/store/items?namespace={root}.a&key=k")
    await put(server, [root, "a"], "k", {"w": 2})
    await server.get(f"/store/items?namespace={root}.a&key=k&refresh_ttl=true")
    await server.get(f"/store/items?namespace={root}&namespace=a&key=k")
    for query in (
        "key=k",
        f"namespace={root}.a",
        f"namespace={root}.a&key=",
        f"namespace={root}.a&key=none",
        "namespace=&key=k",
    ):
        await server.get(f"/store/items?{query}")
    await server.get(f"/store/items?namespace={root}.a&key=k&refresh_ttl=nonsense")
    await put(server, [root, "x y/z*"], "", {"v": 1})
    await put(server, [root, "deep", "langgraph"], "key with / and é", {"v": 1}, ttl=5)
    await put(server, [root], "i", {"v": 1}, index=False)
    await put(server, [root], "i", {"v": 1}, index=["v"])
    bad: tuple[tuple[Any, Any, Any, dict[str, Any]], ...] = (
        ([root], "k", {}, {"index": True}), ([root], "k", [], {}), ([root], "k", None, {}), ([root], "k", "x", {}),
        (None, "k", {}, {}), ([], "k", {}, {}), ([root, ""], "k", {}, {}), ([root, "a.b"], "k", {}, {}),
        (["langgraph", "x"], "k", {}, {}), ([root, 5], "k", {}, {}), (root, "k", {}, {}), ([root], None, {}, {}),
        ([root], 5, {}, {}), ([root], "k", {}, {"ttl": "x"}), ([root], "k", {}, {"ttl": None}), ([root], "k", {},
        {"ttl": -1}),
        ([root], "k", {}, {"index": "v"}), ([root], "k", {}, {"index": None}),
    )  # fmt: skip
    for namespace, key, value, more in bad:
        await put(server, namespace, key, value, **more)
    await server.call("PUT", "/store/items", {"key": "k", "value": {}})
    await server.call("PUT", "/store/items", {"namespace": [root], "value": {}})
    await server.call("PUT", "/store/items", {"namespace": [root], "key": "k"})
    await server.get("/store/items?namespace=langgraph.x&key=k")
    await server.get("/store/items?namespace=a..b&key=k")
    for body in ({"namespace": [root, "a"], "key": "k"}, {"namespace": [root, "a"], "key": "k"},
    {"namespace": [root]}, {"key": "k"},
                 {"namespace": [root, "a.b"], "key": "k"}, {"namespace": ["langgraph"], "key": "k"},
                 {"namespace": None, "key": "k"}):  # fmt: skip
        await server.call("DELETE", "/store/items", body)
    await server.get(f"/store/items?namespace={root}.a&key=k")
    for content in (b"", b"nonsense", b"[]"):
        await server.raw("PUT", "/store/items", content)
        await server.raw("DELETE", "/store/items", content)


@script
async def store_search(server: Recorder) -> None:
    root = server.name(str(uuid4()))
    for number in range(4):
        await put(
            server, [root, "mem", f"u{number % 2}"], f"k{number}", {"n": number, "nest": {"q": number % 2}, "s": "abc"}
        )
    await put(server, [root, "memory"], "other", {"s": None})
    await put(server, [root, "mem", "lists"], "list", {"n": 9, "l": [{"x": 1, "y": 2}, 2]})
    filters: tuple[dict[str, Any], ...] = (
        {"n": 1}, {"n": {"$gt": 1}}, {"n": {"$gte": 1, "$lt": 3}}, {"n": {"$lte": 0}}, {"n": {"$ne": 1}},
        {"n": {"$eq": 2}},
        {"nest": {"q": 1}}, {"nest.q": 1}, {"s": None}, {"missing": None}, {"n": {"$in": [1]}}, {"s": "abc", "n": 0},
        {},
        {"s": {"$gt": "abb"}}, {"nest": {"$eq": {"q": 1}}}, {"nest": {}}, {"nest": {"q": {"$ne": 1}}},
        {"nest": {"q": {"$gte": 1}}}, {"nest": {"q": None}}, {"nest": {"q": 1, "r": 1}},
        {"l": [{"x": 1}, 2]}, {"l": [{"x": 1, "y": {"$lt": 3}}, 2]}, {"l": [{"x": 1}]}, {"l": [2, {"x": 1}]},
        {"l": [[]]},
    )  # fmt: skip
    for condition in filters:
        await server.post("/store/items/search", {"namespace_prefix": [root], "filter": condition})
    queries: tuple[dict[str, Any], ...] = (
        {}, {"limit": 2}, {"limit": 2.0}, {"limit": 2.5}, {"offset": 1.0},
        {"limit": 2, "offset": 2}, {"offset": 99}, {"query": "abc"}, {"query": None, "filter": None},
        {"refresh_ttl": True}, {"namespace_prefix": [root, "mem"]}, {"namespace_prefix": [root, "me"]},
        {"namespace_prefix": [root, "mem", "u1"]}, {"limit": 5000}, {"limit": "x"}, {"offset": "x"}, {"filter": []},
        {"namespace_prefix": "x"}, {"namespace_prefix": ["a.b"]}, {"limit": None}, {"unknown": 1},
        {"namespace_prefix": [""]},
    )  # fmt: skip
    for query in queries:
        await server.post("/store/items/search", {"namespace_prefix": [root], **query})
    for content in (b"", b"nonsense", b"[]"):
        await server.raw("POST", "/store/items/search", content)


@script
async def store_namespaces(server: Recorder) -> None:
    root = server.name(str(uuid4()))
    for namespace in (["a", "x"], ["b", "x"], ["b", "y", "z"], ["c"]):
        await put(server, [root, *namespace], "k", {"v": 1})
    queries: tuple[dict[str, Any], ...] = (
        {}, {"max_depth": 2}, {"max_depth": 1}, {"max_depth": 0}, {"suffix": ["x"]}, {"suffix": ["*", "x"]},
        {"limit": 2},
        {"limit": 2, "offset": 2}, {"prefix": [root, "b"]}, {"prefix": [root, "*", "x"]}, {"prefix": [root[:5]]},
        {"limit": 0},
        {"prefix": ["*", "a"], "suffix": [root]}, {"limit": "x"}, {"max_depth": "x"}, {"max_depth": -1},
        {"prefix": "x"},
        {"prefix": ["a.b"]}, {"suffix": [""]}, {"limit": -1}, {"offset": -1}, {"max_depth": None}, {"suffix": None},
    )  # fmt: skip
    for query in queries:
        await server.post("/store/namespaces", {"prefix": [root], **query})
    for content in (b"", b"nonsense", b"[]"):
        await server.raw("POST", "/store/namespaces", content)


@script
async def store_parameters(server: Recorder) -> None:
    """Every parameter of every endpoint, with each type of value that it takes."""
    root = server.name(str(uuid4()))
    for index in (None, False, ["v"], ["v", "list[0]", "nest.q"], []):
        await put(server, [root, "index"], "k", {"v": "text", "list": ["x"], "nest": {"q": "y"}}, index=index)
    for ttl in (None, 1, 0.5, 1e9):
        await put(server, [root, "ttl"], "k", {"v": 1}, ttl=ttl)
    for value in ({}, {"v": None}, {"v": [1, {"w": 2.5}]}, {"": 1}, {"é": "ü\n"}):
        await put(server, [root, "value"], "k", value)
        await server.get(f"/store/items?namespace={root}.value&key=k")
    for refresh in ("true", "false", "1", "0", ""):
        await server.get(f"/store/items?namespace={root}.ttl&key=k&refresh_ttl={refresh}")
    for number in range(3):
        await put(server, [root, "search"], f"k{number}", {"n": number, "even": number % 2 == 0, "none": None})
    queries: tuple[dict[str, Any], ...] = (
        {"filter": {"even": True}}, {"filter": {"even": 1}}, {"filter": {"n": 1.0}}, {"filter": {"n": "1"}},
        {"filter": {"n": {"$ne": 1}}}, {"filter": {"n": {"$eq": None}}}, {"filter": {"none": {"$ne": None}}},
        {"filter": {"n": {}}}, {"filter": {"n": {"$eq": 1, "$ne": 2}}}, {"refresh_ttl": None}, {"refresh_ttl": False},
        {"query": ""}, {"query": 5}, {"refresh_ttl": "x"}, {"filter": {"n": 1}, "limit": 1, "offset": 0},
    )  # fmt: skip
    for query in queries:
        await server.post("/store/items/search", {"namespace_prefix": [root, "search"], **query})
    for labels in (["*"], [root, "*"], ["*", "search"], [], [root, "sea"]):
        await server.post("/store/namespaces", {"prefix": [root], "suffix": labels})
    for query_string in ("", "key=k", f"namespace={root}.value", f"namespace={root}..value&key=k"):
        await server.get(f"/store/items?{query_string}")


@script
async def store_written_by_a_graph(server: Recorder) -> None:
    user = {"role": "user", "content": "hello"}
    await server.post("/runs/wait", {"assistant_id": "chat", "input": {"messages": [user]}})
    await server.get("/store/items?namespace=heard.nobody&key=1")
