"""Threads, their state and their history."""

from typing import Any
from uuid import uuid4

from .recording import Recorder
from .run_scripts import HELLO, look, wait
from .scripts import script


@script
async def thread_create(server: Recorder) -> None:
    await server.post("/threads", {})
    await server.post("/threads", {"metadata": {"a": {"b": 1}}, "unknown": 1})
    thread = server.name(str(uuid4()))
    await server.post("/threads", {"thread_id": thread, "metadata": {"v": 1}})
    await server.post("/threads", {"thread_id": thread, "metadata": {"v": 2}})
    await server.post("/threads", {"thread_id": thread, "metadata": {"v": 3}, "if_exists": "do_nothing"})
    await server.post("/threads", {"thread_id": thread, "if_exists": "raise"})
    await server.post("/threads", {"ttl": {"ttl": 10, "strategy": "delete"}})
    bad: tuple[dict[str, Any], ...] = (
        {"thread_id": "bad"}, {"thread_id": None}, {"thread_id": 5}, {"metadata": None}, {"metadata": []},
        {"if_exists": "nonsense"}, {"if_exists": None}, {"ttl": 5}, {"ttl": None}, {"ttl": {"ttl": "x"}},
        {"ttl": {"strategy": "nonsense", "ttl": 1}}, {"ttl": {}}, {"ttl": {"ttl": -1}}, {"supersteps": None},
        {"supersteps": []}, {"supersteps": {}}, {"supersteps": [{}]}, {"supersteps": [{"updates": [{"values": {}}]}]},
    )  # fmt: skip
    for body in bad:
        await server.post("/threads", body)
    for content in (b"", b"nonsense", b"[]", b"null"):
        await server.raw("POST", "/threads", content)


@script
async def thread_supersteps(server: Recorder) -> None:
    steps: list[dict[str, Any]] = [
        {"updates": [{"values": {"question": "q?"}, "as_node": "__input__"}]},
        {"updates": [{"values": {"log": ["prepared before"]}, "as_node": "prepare"}]},
    ]
    row = await server.post("/threads", {"supersteps": steps, "metadata": {"graph_id": "ask"}})
    await look(server, row["thread_id"])
    await server.get(f"/threads/{row['thread_id']}/history", params={"limit": 10})
    await wait(server, row["thread_id"], "ask", input=None)
    await server.post("/threads", {"supersteps": steps})
    bad = [{"updates": [{"values": {}, "as_node": "nowhere"}]}]
    thread = server.name(str(uuid4()))
    await server.post("/threads", {"thread_id": thread, "supersteps": bad, "metadata": {"graph_id": "ask"}})
    await server.get(f"/threads/{thread}")
    steps = [
        {"updates": [{"values": {"question": "q?"}, "as_node": "__input__"}]},
        {"updates": [{"values": {}, "command": {"update": {"log": ["by command"]}}, "as_node": "prepare"}]},
    ]
    row = await server.post("/threads", {"supersteps": steps, "metadata": {"graph_id": "ask"}})


@script
async def thread_update_and_delete(server: Recorder) -> None:
    thread = await server.thread(metadata={"a": 1, "b": {"c": 1}})
    await server.call("PATCH", f"/threads/{thread}", {"metadata": {"b": {"d": 2}, "e": None}})
    await server.call("PATCH", f"/threads/{thread}", {"metadata": {}}, headers={"prefer": "return=minimal"})
    await server.call("PATCH", f"/threads/{thread}", {})
    await server.call("PATCH", f"/threads/{thread}", {"metadata": None})
    await server.call("PATCH", f"/threads/{thread}", {"ttl": {"ttl": 5}})
    await server.call("PATCH", f"/threads/{thread}", {"ttl": 5})
    await server.call("PATCH", f"/threads/{thread}", {"metadata": {"graph_id": "echo", "thread_id": "x"}})
    await look(server, thread)
    for of in (str(uuid4()), "bad"):
        await server.get(f"/threads/{of}")
        await server.call("PATCH", f"/threads/{of}", {"metadata": {}})
        await server.call("DELETE", f"/threads/{of}")
        await server.get(f"/threads/{of}/state")
        await server.get(f"/threads/{of}/state/{uuid4()}")
        await server.get(f"/threads/{of}/history")
        await server.post(f"/threads/{of}/history", {})
        await server.post(f"/threads/{of}/state", {"values": {}})
        await server.post(f"/threads/{of}/state/checkpoint", {"checkpoint": {"checkpoint_id": str(uuid4())}})
        await server.post(f"/threads/{of}/copy")
        await server.get(f"/threads/{of}/storage")
    await server.call("DELETE", f"/threads/{thread}")
    await server.get(f"/threads/{thread}")
    await server.call("DELETE", f"/threads/{thread}")


@script
async def thread_copy(server: Recorder) -> None:
    thread = await server.thread(metadata={"of": "source"})
    await wait(server, thread, "ask", input={"question": "q?"})
    copy = (await server.post(f"/threads/{thread}/copy"))["thread_id"]
    await look(server, copy)
    await server.get(f"/threads/{copy}/history", params={"limit": 10})
    await server.get(f"/threads/{copy}/runs")
    await wait(server, copy, "ask", command={"resume": "in the copy"})
    await look(server, copy)
    await look(server, thread)
    empty = await server.thread()
    await server.post(f"/threads/{empty}/copy")


@script
async def thread_search(server: Recorder) -> None:
    mark = {"mark": server.name(str(uuid4()))}
    threads = [
        await server.thread(metadata={**mark, "n": number, "nested": {"a": 1, "b": [1, 2]}}) for number in range(3)
    ]
    await wait(server, threads[0], "echo", input={"text": "zero"})
    await wait(server, threads[1], "ask", input={"question": "one?"})
    queries: tuple[dict[str, Any], ...] = (
        {}, {"limit": 1}, {"limit": 2, "offset": 1}, {"offset": 9}, {"status": "idle"}, {"status": "interrupted"},
        {"status": "busy"}, {"status": "error"}, {"values": {"text": "zero"}}, {"ids": threads[:2]}, {"ids": []},
        {"ids": [str(uuid4())]}, {"metadata": {**mark, "nested": {"a": 1}}},
        {"metadata": {**mark, "nested": {"b": [2]}}},
        {"metadata": {**mark, "nested": {"b": [1, 2]}}}, {"metadata": {**mark, "n": 2}},
        {"sort_by": "created_at", "sort_order": "asc"}, {"sort_by": "thread_id"}, {"sort_by": "status"},
        {"sort_by": "updated_at", "sort_order": "asc"}, {"sort_by": "state_updated_at"}, {"sort_order": "asc"},
        {"select": ["thread_id", "status"]}, {"select": ["values", "interrupts", "metadata"]}, {"select": []},
        {"extract": {"text": "values.text", "first": "values.log[0]", "n": "metadata.nested.b[-1]"}},
        {"extract": {"no": "values.x.y"}},
        {"extract": {"a": "interrupts", "c": "config.configurable"}, "select": ["thread_id"]},
        {"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"limit": None}, {"offset": -1}, {"status": "nonsense"},
        {"sort_by": "nonsense"}, {"sort_order": "ASC"}, {"select": ["nonsense"]}, {"ids": ["bad"]}, {"ids": None},
        {"metadata": None}, {"values": None}, {"extract": {"x-y": "values.a"}}, {"extract": {"s": "status"}},
        {"extract": {f"a{n}": "values" for n in range(11)}}, {"extract": {}}, {"extract": {"a": "values..b"}},
        {"extract": {"a": "values[0"}}, {"unknown": 1},
    )  # fmt: skip
    for query in queries:
        await server.post("/threads/search", {"metadata": mark, **query})
        await server.post("/threads/count", {"metadata": mark, **query})
    for path in ("/threads/search", "/threads/count"):
        for content in (b"", b"nonsense", b"[]", b"null"):
            await server.raw("POST", path, content)


@script
async def thread_prune(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "echo", input={"text": "a"})
    await server.post("/threads/prune", {"thread_ids": [thread, str(uuid4())], "strategy": "delete"})
    await server.get(f"/threads/{thread}")
    bad: tuple[Any, ...] = ({}, {"thread_ids": []}, {"thread_ids": ["bad"]}, {"thread_ids": None})
    for body in (*bad, {"thread_ids": [str(uuid4())], "strategy": "nonsense"}, {"thread_ids": [str(uuid4())]}):
        await server.post("/threads/prune", body)


@script
async def thread_prune_keep_latest(server: Recorder) -> None:
    thread = await server.thread()
    for text in ("a", "b"):
        await wait(server, thread, "echo", input={"text": text})
    await server.post("/threads/prune", {"thread_ids": [thread, str(uuid4())], "strategy": "keep_latest"})
    await look(server, thread)
    await wait(server, thread, "echo", input={"text": "c"})


@script
async def state_metadata(server: Recorder) -> None:
    """Metadata of all JSON types, on the thread, the run and its config, shows in its states and finds them."""
    thread = await server.thread(metadata={"of_thread": {"a": 1}})
    body = {
        "metadata": {"nested": {"a": [1, {"b": None}]}, "list": [1], "null": None, "float": 1.5, "true": True},
        "config": {
            "configurable": {"c": {"d": 1}, "e": [2], "f": None, "g": "", "__h": 1},
            "metadata": {"i": {"j": 1}},
        },
    }
    await wait(server, thread, "nested", input={"ask": True}, **body)
    await server.get(f"/threads/{thread}/state?subgraphs=true")
    for wanted in ({"nested": {"a": [1, {"b": None}]}}, {"of_thread": {"a": 1}}, {"c": {"d": 1}}, {"list": [2]}):
        await server.post(f"/threads/{thread}/history", {"limit": 10, "metadata": wanted})
    base = (await server.get(f"/threads/{thread}/history", params={"limit": 10}))[-1]
    await server.post(f"/threads/{thread}/state", {"values": {"log": ["x"]}, "checkpoint": base["checkpoint"]})
    await server.get(f"/threads/{thread}/state")
    await wait(server, thread, "nested", input={}, checkpoint_id=base["checkpoint_id"])
    await server.get(f"/threads/{thread}/history", params={"limit": 10})


@script
async def state_of_new_thread(server: Recorder) -> None:
    thread = await server.thread()
    await server.get(f"/threads/{thread}/state")
    await server.get(f"/threads/{thread}/state?subgraphs=true")
    await server.get(f"/threads/{thread}/state?subgraphs=nonsense")
    await server.get(f"/threads/{thread}/history")
    await server.post(f"/threads/{thread}/history", {})
    await server.post(f"/threads/{thread}/state", {"values": {"text": "a"}})
    thread = await server.thread(metadata={"graph_id": "echo"})
    await server.get(f"/threads/{thread}/state")
    await server.post(f"/threads/{thread}/state", {"values": {"text": "a", "unknown": 1}})
    await look(server, thread)
    await wait(server, thread, "echo", input=None)
    await look(server, thread)
    thread = await server.thread(metadata={"graph_id": "gone"})
    await server.get(f"/threads/{thread}/state")
    await server.get(f"/threads/{thread}/history")
    await server.post(f"/threads/{thread}/state", {"values": {}})
    await server.get(f"/threads/{thread}/storage")


@script
async def state_reads(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "ask", input={"question": "q?"})
    rows = await server.get(f"/threads/{thread}/history", params={"limit": 10})
    for row in rows:
        await server.get(f"/threads/{thread}/state/{row['checkpoint_id']}")
        await server.post(f"/threads/{thread}/state/checkpoint", {"checkpoint": row["checkpoint"], "subgraphs": True})
    await server.get(f"/threads/{thread}/state/{uuid4()}")
    await server.get(f"/threads/{thread}/state/bad")
    for body in (
        {},
        {"checkpoint": None},
        {"checkpoint": {}},
        {"checkpoint": "x"},
        {"checkpoint": {"checkpoint_id": "bad"}},
    ):
        await server.post(f"/threads/{thread}/state/checkpoint", body)
    await wait(server, thread, "ask", command={"resume": "r"})
    for body in (
        {"limit": 2}, {"limit": 2, "before": {"configurable": {"checkpoint_id": rows[0]["checkpoint_id"]}}},
        {"limit": 2, "before": rows[0]["checkpoint"]}, {"limit": 2, "before": rows[0]["checkpoint_id"]},
        {"limit": 5, "metadata": {"source": "input"}}, {"limit": 5, "metadata": {"step": 1}},
        {"limit": 5, "checkpoint": rows[0]["checkpoint"]}, {"limit": 5, "checkpoint": {"checkpoint_ns": "child:x"}},
        {"limit": 0}, {"limit": 1001}, {"limit": None}, {"limit": "x"}, {"before": None}, {"metadata": None}, {},
        {"before": {}}, {"checkpoint": None}, {"before": {"configurable": {}}},
    ):  # fmt: skip
        await server.post(f"/threads/{thread}/history", body)
    for query in ("", "?limit=3", "?limit=0", "?limit=-1", "?limit=abc", "?limit=2000", "?before=bad"):
        await server.get(f"/threads/{thread}/history{query}")
    await server.get(f"/threads/{thread}/history?limit=5&before={rows[0]['checkpoint_id']}")
    await server.raw("POST", f"/threads/{thread}/history", b"")


@script
async def state_refused_by_its_schema(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "strict", input={"n": 1, "note": "kept"})
    await wait(server, thread, "strict", input={"n": "no number"})
    await server.get(f"/threads/{thread}")
    await server.get(f"/threads/{thread}/state")
    await server.post(f"/threads/{thread}/history", {"limit": 10})


@script
async def state_of_subgraph(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "nested", input={"ask": True})
    state = await server.get(f"/threads/{thread}/state")
    inner = state["tasks"][0]["checkpoint"]
    await server.post(f"/threads/{thread}/state/checkpoint", {"checkpoint": inner})
    await server.post(f"/threads/{thread}/state/checkpoint", {"checkpoint": inner, "subgraphs": True})
    await server.post(
        f"/threads/{thread}/history", {"limit": 10, "checkpoint": {"checkpoint_ns": inner["checkpoint_ns"]}}
    )
    await server.post(f"/threads/{thread}/state", {"values": {"log": ["put inside"]}, "checkpoint": inner})
    await look(server, thread)
    await server.get(f"/threads/{thread}/state?subgraphs=true")
    await wait(server, thread, "nested", command={"resume": "r"})
    await look(server, thread)


@script
async def state_updates(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "ask", input={"question": "q?"})
    bodies: tuple[dict[str, Any], ...] = (
        {"values": {"log": ["one"]}},
        {"values": {"log": ["two"]}, "as_node": "ask"},
        {"values": {"log": ["three"]}, "as_node": "prepare"},
        {"values": [{"log": ["four"]}, {"log": ["five"]}], "as_node": "prepare"},
        {"values": None},
        {"values": None, "as_node": "__copy__"},
        {"values": None, "as_node": "__end__"},
        {"values": {}, "as_node": "__end__"},
        {"values": {"log": ["x"]}, "as_node": "__end__"},
        {"values": {"log": ["six"]}, "as_node": "__start__"},
        {"values": {"log": ["seven"]}, "as_node": "__input__"},
        {"values": {"log": ["x"]}, "as_node": "nonode"},
        {"values": {"log": 5}},
        {"values": 5},
        {"values": "x"},
        {},
        {"values": {}, "as_node": None},
        {"values": {}, "checkpoint": None},
        {"values": {}, "checkpoint_id": None},
        {"values": {"unknown": 1}},
    )
    for body in bodies:
        await server.post(f"/threads/{thread}/state", body)
        await look(server, thread)


@script
async def state_updates_elsewhere(server: Recorder) -> None:
    """At checkpoints that there are not."""
    for checkpoint in ("bad", str(uuid4())):
        thread = await server.thread()
        await wait(server, thread, "ask", input={"question": "q?"})
        await server.post(f"/threads/{thread}/state", {"values": {}, "checkpoint_id": checkpoint})


@script
async def state_update_then_run(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "ask", input={"question": "q?"})
    await server.post(f"/threads/{thread}/state", {"values": {"log": ["answered by hand"]}, "as_node": "ask"})
    await look(server, thread)
    await wait(server, thread, "ask", input=None)
    rows = await server.get(f"/threads/{thread}/history", params={"limit": 10})
    base = next(row for row in rows if row["next"] == ["ask"])
    await server.post(f"/threads/{thread}/state", {"values": {"question": "branch?"}, "checkpoint": base["checkpoint"]})
    await look(server, thread)
    await server.post(
        f"/threads/{thread}/state", {"values": {"log": ["b"]}, "checkpoint_id": base["checkpoint_id"], "as_node": "ask"}
    )
    await look(server, thread)
    await wait(server, thread, "ask", input=None)
    await server.get(f"/threads/{thread}/history", params={"limit": 20})
    await server.post(f"/threads/{thread}/runs", {"assistant_id": "slow", "input": {"seconds": 1}})
    await server.post(f"/threads/{thread}/state", {"values": {"question": "while busy"}})


@script
async def state_of_messages(server: Recorder) -> None:
    thread = await server.thread()
    await wait(server, thread, "agent", input=HELLO)
    await look(server, thread)
    message = {"role": "user", "content": "put", "id": "m2"}
    await server.post(f"/threads/{thread}/state", {"values": {"messages": [message]}})
    await look(server, thread)
    await server.post(
        f"/threads/{thread}/state", {"values": {"messages": [{"type": "remove", "id": "m1", "content": ""}]}}
    )
    await look(server, thread)
    await server.get(f"/threads/{thread}/storage")
    await server.get(f"/threads/{thread}?include=ttl")
    await server.get(f"/threads/{thread}?include=nonsense")
