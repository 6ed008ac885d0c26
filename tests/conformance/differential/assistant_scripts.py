"""Assistants: rows, versions, search, drawing, schemas, subgraphs."""

from typing import Any
from uuid import uuid4

from .normalise import SYSTEM_ASSISTANTS
from .recording import Recorder
from .scripts import script

BY_GRAPH = {name[1:-1].split()[1]: assistant for assistant, name in SYSTEM_ASSISTANTS.items()}
GRAPHS = ("echo", "ask", "nested", "fan", "configured", "agent", "deep", "chat", "steps")


@script
async def assistant_views(server: Recorder) -> None:
    for graph in GRAPHS:
        assistant = BY_GRAPH[graph]
        await server.get(f"/assistants/{assistant}")
        await server.get(f"/assistants/{graph}/graph")
        for xray in ("true", "1", "2", "false", "0", "-1", "nonsense"):
            await server.get(f"/assistants/{assistant}/graph?xray={xray}")
        await server.get(f"/assistants/{assistant}/schemas")
        await server.get(f"/assistants/{assistant}/subgraphs")
        await server.get(f"/assistants/{assistant}/subgraphs?recurse=true")
    await server.get(f"/assistants/{BY_GRAPH['deep']}/subgraphs/middle")
    await server.get(f"/assistants/{BY_GRAPH['deep']}/subgraphs/middle?recurse=true")
    await server.get(f"/assistants/{BY_GRAPH['deep']}/subgraphs/middle%7Cinner")
    await server.get(f"/assistants/{BY_GRAPH['deep']}/subgraphs/nowhere")
    await server.get(f"/assistants/{BY_GRAPH['nested']}/subgraphs?recurse=nonsense")


@script
async def assistant_unknown(server: Recorder) -> None:
    for of in (str(uuid4()), "bad", "echo", "nope"):
        await server.get(f"/assistants/{of}")
        await server.call("PATCH", f"/assistants/{of}", {"name": "x"})
        await server.call("DELETE", f"/assistants/{of}")
        await server.get(f"/assistants/{of}/graph")
        await server.get(f"/assistants/{of}/schemas")
        await server.get(f"/assistants/{of}/subgraphs")
        await server.post(f"/assistants/{of}/versions", {})
        await server.post(f"/assistants/{of}/latest", {"version": 1})


@script
async def assistant_create(server: Recorder) -> None:
    bodies: tuple[dict[str, Any], ...] = (
        {}, {"name": "n", "description": "d", "metadata": {"a": 1}}, {"context": {"tone": "warm"}},
        {"config": {"configurable": {"tone": "x"}, "tags": ["t"], "recursion_limit": 5}}, {"config": {"tags": ["t"]}},
        {"config": {"configurable": {}}, "context": {"a": 1}}, {"config": {"configurable": {"a": 1}}, "context": {}},
        {"config": {"configurable": {"a": 1}}, "context": {"b": 1}}, {"graph_id": "nope"}, {"graph_id": None},
        {"graph_id": 5}, {"assistant_id": "bad"}, {"assistant_id": None}, {"config": None}, {"config": []},
        {"context": None}, {"metadata": None}, {"metadata": []}, {"name": None}, {"name": 5}, {"name": ""},
        {"description": None}, {"description": 5}, {"if_exists": None}, {"if_exists": "nonsense"}, {"unknown": 1},
        {"config": {"configurable": {"a": 1}}, "context": {"a": 1}},
    )  # fmt: skip
    for body in bodies:
        await server.post("/assistants", {"graph_id": "configured", **body})
    assistant = server.name(str(uuid4()))
    for name, if_exists in (("one", "raise"), ("two", "raise"), ("three", "do_nothing")):
        await server.post(
            "/assistants", {"graph_id": "echo", "assistant_id": assistant, "name": name, "if_exists": if_exists}
        )
    for content in (b"", b"nonsense", b"[]", b"null"):
        await server.raw("POST", "/assistants", content)
    await server.post("/assistants", {})


@script
async def assistant_versions(server: Recorder) -> None:
    body = {"graph_id": "configured", "metadata": {"a": 1, "n": {"x": 1}}, "context": {"tone": "warm"}, "name": "first"}
    path = f"/assistants/{(await server.post('/assistants', body))['assistant_id']}"
    patches: tuple[dict[str, Any], ...] = (
        {}, {"metadata": {"b": 2, "n": {"y": 2}}}, {"name": "second", "description": "said"}, {"context": {"size": 2}},
        {"config": {"configurable": {"size": 3}}}, {"config": {"tags": ["t"]}}, {"graph_id": "echo"},
        {"config": {}, "context": {}}, {"context": {"x": 1}}, {"context": {}}, {"config": {"configurable": {}}},
        {"context": {"x": 3}}, {"context": {}, "config": {"tags": ["w"]}},
        {"config": {"tags": ["v"]}, "context": {"y": 1}},
        {"config": {"configurable": {"a": 1}}, "context": {"b": 1}}, {"graph_id": "nope"}, {"graph_id": None},
        {"metadata": None}, {"name": None}, {"config": None}, {"context": None}, {"name": 5}, {"unknown": 1},
    )  # fmt: skip
    for patch in patches:
        await server.call("PATCH", path, patch)
    for query in (
        {},
        {"limit": 2},
        {"limit": 2, "offset": 3},
        {"metadata": {"b": 2}},
        {"limit": 0},
        {"limit": "x"},
        {"offset": -1},
    ):
        await server.post(f"{path}/versions", query)
    await server.raw("POST", f"{path}/versions", b"")
    for latest in ({"version": 1}, {"version": 99}, {}, {"version": "x"}, {"version": None}, {"version": 0}):
        await server.post(f"{path}/latest", latest)
        await server.get(path)
    await server.call("PATCH", path, {"name": "after"})
    await server.call("DELETE", path)
    await server.get(path)
    await server.call("DELETE", path)


@script
async def assistant_search(server: Recorder) -> None:
    mark = {"mark": server.name(str(uuid4()))}
    for name, graph in (("Alpha one", "echo"), ("beta 100%", "ask"), ("Gamma", "echo")):
        await server.post("/assistants", {"graph_id": graph, "name": name, "metadata": {**mark, "n": {"a": 1}}})
    queries: tuple[dict[str, Any], ...] = (
        {}, {"limit": 1}, {"limit": 1, "offset": 1}, {"offset": 9}, {"limit": 3}, {"graph_id": "echo"},
        {"graph_id": "nope"},
        {"name": "ALPHA"}, {"name": "%"}, {"name": "a"}, {"name": "_"}, {"name": ""}, {"name": None},
        {"metadata": {**mark, "n": {"a": 1}}}, {"metadata": {**mark, "n": {}}}, {"metadata": {**mark, "n": 1}},
        {"sort_by": "name"}, {"sort_by": "name", "sort_order": "asc"}, {"sort_by": "created_at", "sort_order": "asc"},
        {"sort_by": "graph_id"}, {"sort_by": "nonsense"}, {"sort_order": "ASC"}, {"sort_order": "asc"},
        {"select": ["assistant_id", "name"]}, {"select": ["nonsense"]}, {"select": []}, {"limit": 0}, {"limit": 1001},
        {"limit": "x"}, {"offset": -1}, {"graph_id": None}, {"metadata": None}, {"unknown": 1},
    )  # fmt: skip
    for query in queries:
        await server.post("/assistants/search", {"metadata": mark, **query})
        await server.post("/assistants/count", {"metadata": mark, **query})
    for path in ("/assistants/search", "/assistants/count"):
        for content in (b"", b"nonsense", b"[]", b"null"):
            await server.raw("POST", path, content)


@script
async def assistant_delete_threads(server: Recorder) -> None:
    for query in ("", "?delete_threads=true"):
        assistant = (await server.post("/assistants", {"graph_id": "echo"}))["assistant_id"]
        thread = await server.thread()
        await server.post(f"/threads/{thread}/runs/wait", {"assistant_id": assistant, "input": {"text": "a"}})
        await server.call("DELETE", f"/assistants/{assistant}{query}")
        await server.get(f"/threads/{thread}")
        await server.get(f"/threads/{thread}/runs")
        await server.get(f"/threads/{thread}/state")
