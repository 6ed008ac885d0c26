"""Every method of the synchronous SDK client, called once each: it shares no code with the asynchronous one."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from threadmill_cli.stack import Stack

# A thread's own protocol, which is not the REST API.
OTHER_PROTOCOL = {"stream"}
NEW_YEAR = "0 0 1 1 *"
SLOW = {"seconds": 30}
TEXT = {"text": "a"}


class Noted:
    """One part of the client; notes which of its methods were called."""

    def __init__(self, part: Any) -> None:
        self._part = part
        self.left = {name for name in dir(type(part)) if not name.startswith("_") and callable(getattr(part, name))}

    def __getattr__(self, name: str) -> Any:
        self.left.discard(name)
        return getattr(self._part, name)


async def with_client(stack: Stack, use: Callable[[SyncLangGraphClient], None]) -> None:
    """Calls `use` on a thread of its own: the system's output is read on this loop meanwhile."""

    def run() -> None:
        with get_sync_client(url=stack.url) as client:
            use(client)

    await asyncio.to_thread(run)


async def test_assistants(stack: Stack) -> None:
    await with_client(stack, use_assistants)


def use_assistants(client: SyncLangGraphClient) -> None:
    assistants = Noted(client.assistants)
    mark = {"mark": str(uuid4())}
    made = assistants.create("configured", context={"tone": "warm"}, metadata=mark, name="first")
    assistant_id = made["assistant_id"]
    assert assistants.get(assistant_id) == made
    assert assistants.get_graph(assistant_id)["nodes"][0]["id"] == "__start__"
    assert assistants.get_schemas(assistant_id)["graph_id"] == "configured"
    assert assistants.get_subgraphs(assistant_id, recurse=True) == {}
    changed = assistants.update(assistant_id, name="second", context={})
    assert (changed["version"], changed["name"], changed["context"]) == (2, "second", {})
    assert [row["version"] for row in assistants.get_versions(assistant_id)] == [2, 1]
    assert assistants.set_latest(assistant_id, 1)["context"] == {"tone": "warm"}
    found = assistants.search(metadata=mark, response_format="object")
    assert ([row["assistant_id"] for row in found["assistants"]], found["next"]) == ([assistant_id], None)
    assert assistants.count(metadata=mark) == 1
    assistants.delete(assistant_id, delete_threads=True)
    assert assistants.search(metadata=mark) == []
    assert assistants.left == set()


async def test_threads(stack: Stack) -> None:
    await with_client(stack, use_threads)


def use_threads(client: SyncLangGraphClient) -> None:
    threads = Noted(client.threads)
    mark = {"mark": str(uuid4())}
    thread_id = threads.create(metadata=mark, graph_id="ask", ttl=60)["thread_id"]
    assert threads.get(thread_id, include=["ttl"])["ttl"]["ttl_minutes"] == 60
    assert threads.update(thread_id, metadata={"more": 1})["metadata"]["more"] == 1
    assert threads.update(thread_id, metadata={"more": 2}, return_minimal=True) is None
    client.runs.wait(thread_id, "ask", input={"question": "q?"})
    state = threads.get_state(thread_id, subgraphs=True)
    assert (state["next"], len(state["interrupts"])) == (["ask"], 1)
    assert threads.get_state(thread_id, checkpoint=state["checkpoint"])["values"] == state["values"]
    written = threads.update_state(thread_id, {"log": ["by hand"]}, as_node="ask")
    newest = threads.get_history(thread_id, limit=1)
    assert [row["checkpoint_id"] for row in newest] == [written["checkpoint_id"]]
    found = threads.search(metadata=mark, extract={"question": "values.question"}, select=["thread_id"])
    assert found == [{"thread_id": thread_id, "extracted": {"question": "q?"}}]
    assert threads.count(metadata=mark) == 1
    assert threads.copy(thread_id) is not None
    copies = [row["thread_id"] for row in threads.search(metadata=mark) if row["thread_id"] != thread_id]
    assert threads.prune(copies, strategy="delete") == {"pruned_count": 1}
    client.runs.wait(thread_id, "ask", input=None, metadata={"followed": True})
    ended = client.runs.list(thread_id, limit=1)[0]
    for event in threads.join_stream(thread_id, last_event_id="-"):
        if event.event == "metadata" and event.data.get("status") == "run_done":
            break
    assert event.data["run_id"] != ended["run_id"], "the first run comes first"
    threads.delete(thread_id)
    assert threads.count(metadata=mark) == 0
    assert threads.left == OTHER_PROTOCOL


async def test_runs(stack: Stack) -> None:
    await with_client(stack, use_runs)


def use_runs(client: SyncLangGraphClient) -> None:
    runs = Noted(client.runs)
    thread_id = client.threads.create()["thread_id"]
    seen: list[Any] = []
    values = runs.wait(thread_id, "echo", input=TEXT, on_run_created=seen.append)
    assert (values["answer"], seen[0]["thread_id"]) == ("echo: a", thread_id)
    events = list(runs.stream(thread_id, "echo", input=TEXT, stream_mode=["values", "updates"], stream_resumable=True))
    assert events[0].event == "metadata"
    streamed = events[0].data["run_id"]
    again = list(runs.join_stream(thread_id, streamed, stream_mode=["values", "updates"], last_event_id="-1"))
    assert [event.event for event in again] == [event.event for event in events[1:]], "both modes, though repeated"
    made = runs.create(thread_id, "echo", input=TEXT, metadata={"m": 1})
    assert runs.join(thread_id, made["run_id"])["answer"] == "echo: a"
    assert runs.get(thread_id, made["run_id"])["status"] == "success"
    assert len(runs.list(thread_id, status="success", select=["run_id"])) == 3
    batch = runs.create_batch([{"assistant_id": "echo", "input": TEXT}, {"assistant_id": "echo", "input": TEXT}])
    assert len({run["run_id"] for run in batch}) == 2
    slow = [runs.create(thread_id, "slow", input=SLOW)["run_id"] for _ in range(3)]
    runs.cancel(thread_id, slow[0], wait=True)
    runs.cancel_many(thread_id=thread_id, run_ids=slow[1:], action="rollback")
    runs.delete(thread_id, slow[0])
    assert runs.left == set()


async def test_crons(stack: Stack) -> None:
    await with_client(stack, use_crons)


def use_crons(client: SyncLangGraphClient) -> None:
    crons = Noted(client.crons)
    mark = {"mark": str(uuid4())}
    made = crons.create("echo", schedule=NEW_YEAR, input=TEXT, metadata=mark, timezone="Europe/Berlin")
    thread_id = client.threads.create()["thread_id"]
    of_thread = crons.create_for_thread(thread_id, "echo", schedule=NEW_YEAR, input=TEXT, metadata=mark)
    assert crons.update(made["cron_id"], enabled=False, input={"text": "b"})["payload"]["input"] == {"text": "b"}
    assert [row["cron_id"] for row in crons.search(metadata=mark, enabled=True)] == [of_thread["cron_id"]]
    assert crons.count(metadata=mark) == 2
    for row in (made, of_thread):
        crons.delete(row["cron_id"])
    assert crons.search(metadata=mark) == []
    assert crons.left == set()


async def test_store(stack: Stack) -> None:
    await with_client(stack, use_store)


def use_store(client: SyncLangGraphClient) -> None:
    store = Noted(client.store)
    namespace = [str(uuid4()), "mem"]
    store.put_item(namespace, key="k", value={"v": 1}, index=False, ttl=5)
    assert store.get_item(namespace, "k", refresh_ttl=True)["value"] == {"v": 1}
    assert [item["key"] for item in store.search_items(namespace[:1], filter={"v": 1})["items"]] == ["k"]
    assert store.list_namespaces(prefix=namespace[:1], max_depth=1)["namespaces"] == [namespace[:1]]
    store.delete_item(namespace, "k")
    assert store.search_items(namespace)["items"] == []
    assert store.left == set()
