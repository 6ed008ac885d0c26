"""Threads through the SDK: create, get, search, count, update, copy, prune, delete."""

import asyncio
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

from .driving import until

STORED_PARTS = ("checkpoints", "channel_values", "pending_writes")
UNKNOWN = "0195f000-0000-7000-8000-0000000fffff"


@pytest.fixture
def mark() -> dict[str, str]:
    """Metadata that no other test's threads have."""
    return {"mark": uuid4().hex}


async def test_new_thread_is_idle_and_has_no_values(client: LangGraphClient, mark: dict[str, str]) -> None:
    created = await client.threads.create(metadata=mark)
    assert created["status"] == "idle"
    assert created["values"] is None
    assert created["config"] == {}
    assert created["metadata"] == mark
    assert await client.threads.get(created["thread_id"]) == created


async def test_id_of_the_clients_choice_is_kept_and_taken_once(client: LangGraphClient, mark: dict[str, str]) -> None:
    chosen = str(uuid4())
    assert (await client.threads.create(thread_id=chosen, metadata=mark))["thread_id"] == chosen
    with pytest.raises(ConflictError, match="already exists"):
        await client.threads.create(thread_id=chosen)
    again = await client.threads.create(thread_id=chosen, metadata={"mark": "other"}, if_exists="do_nothing")
    assert again["metadata"] == mark


async def test_update_merges_metadata(client: LangGraphClient, mark: dict[str, str]) -> None:
    created = await client.threads.create(metadata=mark)
    updated = await client.threads.update(created["thread_id"], metadata={"colour": "red"})
    assert updated["metadata"] == {**mark, "colour": "red"}
    assert updated["updated_at"] > created["updated_at"]
    assert await client.threads.update(created["thread_id"], metadata={"a": 1}, return_minimal=True) is None
    assert (await client.threads.get(created["thread_id"]))["metadata"]["a"] == 1


async def test_deleted_thread_is_gone_with_its_runs_and_state(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "echo", input={"text": "hi"})
    await client.threads.delete(thread_id)
    for question in (
        client.threads.get(thread_id),
        client.threads.get_state(thread_id),
        client.runs.list(thread_id),
        client.threads.delete(thread_id),
    ):
        with pytest.raises(NotFoundError):
            await question


async def test_unknown_thread_is_named(client: LangGraphClient) -> None:
    with pytest.raises(NotFoundError, match=f"Thread with ID {UNKNOWN} not found"):
        await client.threads.get(UNKNOWN)


async def test_malformed_thread_id_is_refused(client: LangGraphClient) -> None:
    with pytest.raises(UnprocessableEntityError, match="Invalid thread ID: must be a UUID"):
        await client.threads.get("nonsense")


async def test_search_finds_by_metadata_values_status_and_ids(client: LangGraphClient, mark: dict[str, str]) -> None:
    plain = await client.threads.create(metadata=mark)
    ran = await client.threads.create(metadata=mark)
    await client.runs.wait(ran["thread_id"], "echo", input={"text": "hi"})
    failed = await client.threads.create(metadata=mark)
    await client.runs.wait(failed["thread_id"], "failing", input={}, raise_error=False)

    async def found(**filters: object) -> list[str]:
        return [thread["thread_id"] for thread in await client.threads.search(metadata=mark, **filters)]  # type: ignore[arg-type]

    assert set(await found()) == {plain["thread_id"], ran["thread_id"], failed["thread_id"]}
    assert await found(values={"text": "hi"}) == [ran["thread_id"]]
    assert await found(status="error") == [failed["thread_id"]]
    assert await found(ids=[plain["thread_id"]]) == [plain["thread_id"]]
    assert await client.threads.count(metadata=mark) == 3
    assert await client.threads.count(metadata=mark, status="idle") == 2


async def test_search_pages_sorts_and_selects(client: LangGraphClient, mark: dict[str, str]) -> None:
    created = [(await client.threads.create(metadata=mark))["thread_id"] for _ in range(3)]
    query = {"metadata": mark, "sort_by": "created_at", "sort_order": "asc"}
    rows = await client.threads.search(**query, limit=2)  # type: ignore[arg-type]
    assert [row["thread_id"] for row in rows] == created[:2]
    rows = await client.threads.search(**query, limit=2, offset=2)  # type: ignore[arg-type]
    assert [row["thread_id"] for row in rows] == created[2:]
    rows = await client.threads.search(metadata=mark, select=["thread_id", "status"])
    assert all(set(row) == {"thread_id", "status"} for row in rows)


async def test_search_puts_the_last_updated_first(client: LangGraphClient, mark: dict[str, str]) -> None:
    first, second = [(await client.threads.create(metadata=mark))["thread_id"] for _ in range(2)]
    await client.threads.update(first, metadata={"touched": True})
    assert [row["thread_id"] for row in await client.threads.search(metadata=mark)] == [first, second]


async def test_search_extracts_parts_of_the_values(client: LangGraphClient, mark: dict[str, str]) -> None:
    thread = await client.threads.create(metadata=mark)
    await client.runs.wait(thread["thread_id"], "nested", input={"log": ["first"]})
    paths = {"last": "values.log[-1]", "none": "values.absent"}
    (row,) = await client.threads.search(metadata=mark, extract=paths)
    assert row["extracted"] == {"last": "inner unasked", "none": None}


async def test_copy_has_the_history_and_a_future_of_its_own(client: LangGraphClient, mark: dict[str, str]) -> None:
    source = (await client.threads.create(metadata=mark))["thread_id"]
    await client.runs.wait(source, "chat", input={"messages": [{"role": "user", "content": "one"}]})
    copy = (await client.threads.copy(source))["thread_id"]
    assert copy != source
    assert (await client.threads.get(copy))["metadata"]["mark"] == mark["mark"]

    async def checkpoints(thread_id: str) -> list[str]:
        return [state["checkpoint"]["checkpoint_id"] for state in await client.threads.get_history(thread_id)]

    before = await checkpoints(source)
    assert await checkpoints(copy) == before
    result = await client.runs.wait(copy, "chat", input={"messages": [{"role": "user", "content": "two"}]})
    assert [message["type"] for message in result["messages"]] == ["human", "ai", "human", "ai"]
    assert await checkpoints(source) == before
    assert len((await client.threads.get_state(source))["values"]["messages"]) == 2
    await client.threads.delete(source)
    assert len((await client.threads.get_state(copy))["values"]["messages"]) == 4


async def test_copy_of_a_paused_thread_is_resumed_without_touching_the_source(client: LangGraphClient) -> None:
    source = (await client.threads.create())["thread_id"]
    await client.runs.wait(source, "ask", input={"question": "ok?"})
    copy = (await client.threads.copy(source))["thread_id"]
    assert (await client.threads.get_state(copy))["next"] == ["ask"]
    result = await client.runs.wait(copy, "ask", command={"resume": "yes"})
    assert result["log"] == ["prepared", "answered yes", "finished"]
    assert (await client.threads.get(source))["status"] == "interrupted"
    assert (await client.threads.get_state(source))["next"] == ["ask"]


async def test_prune_deletes_or_keeps_the_latest_checkpoint(client: LangGraphClient) -> None:
    gone, kept = [(await client.threads.create())["thread_id"] for _ in range(2)]
    for thread_id in (gone, kept):
        await client.runs.wait(thread_id, "echo", input={"text": "hi"})
    assert (await client.threads.prune([gone, UNKNOWN]))["pruned_count"] == 1
    with pytest.raises(NotFoundError):
        await client.threads.get(gone)
    assert (await client.threads.prune([kept], strategy="keep_latest"))["pruned_count"] == 1
    (state,) = await client.threads.get_history(kept)
    assert state["values"] == {"text": "hi", "answer": "echo: hi"}
    assert (await client.runs.wait(kept, "echo", input={"text": "more"}))["answer"] == "echo: more"


async def test_thread_made_of_supersteps_has_their_state(client: LangGraphClient) -> None:
    thread = await client.threads.create(
        graph_id="echo",
        supersteps=[
            {"updates": [{"values": {"text": "made"}, "as_node": "__input__"}]},
            {"updates": [{"values": {"text": "made"}, "as_node": "__start__"}]},
            {"updates": [{"values": {"answer": "up"}, "as_node": "reply"}]},
        ],
    )
    state = await client.threads.get_state(thread["thread_id"])
    assert state["values"] == {"text": "made", "answer": "up"}
    assert state["next"] == []


async def test_thread_with_a_time_to_live_shows_when_it_expires(client: LangGraphClient) -> None:
    thread = await client.threads.create(ttl=60)
    shown = await client.threads.get(thread["thread_id"], include=["ttl"])
    assert shown["ttl"]["strategy"] == "delete"
    assert shown["ttl"]["ttl_minutes"] == 60


async def test_thread_whose_time_is_over_goes_or_keeps_its_latest_state(client: LangGraphClient) -> None:
    mortal = await client.threads.create()
    kept = await client.threads.create(graph_id="chat")
    for thread in (mortal, kept):
        await client.runs.wait(thread["thread_id"], "chat", input={"messages": "hello"})
    values = (await client.threads.get_state(kept["thread_id"]))["values"]
    await client.threads.update(mortal["thread_id"], metadata={}, ttl={"ttl": 0.001})
    await client.threads.update(kept["thread_id"], metadata={}, ttl={"ttl": 0.001, "strategy": "keep_latest"})

    async def is_gone() -> bool:
        return not await client.threads.search(ids=[mortal["thread_id"]])

    async def is_pruned() -> bool:
        return len(await client.threads.get_history(kept["thread_id"])) == 1

    await until(is_gone)
    with pytest.raises(NotFoundError):
        await client.threads.get_state(mortal["thread_id"])
    await until(is_pruned)
    assert (await client.threads.get_state(kept["thread_id"]))["values"] == values


async def test_storage_tells_what_a_thread_takes(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    empty = (await http.get(f"/threads/{thread_id}/storage")).json()
    assert (empty["total_bytes"], empty["checkpoints"]["count"]) == (0, 0)
    await client.runs.wait(thread_id, "chat", input={"messages": "hello"})
    taken = (await http.get(f"/threads/{thread_id}/storage")).json()
    assert taken["checkpoints"]["count"] == 3
    assert taken["total_bytes"] == sum(taken[part]["bytes"] for part in STORED_PARTS) > 0
    assert "messages" in taken["channel_values"]["by_channel"]


async def test_a_thread_deleted_while_runs_are_created_leaves_none_behind(client: LangGraphClient) -> None:
    async def pair() -> str:
        thread_id = (await client.threads.create())["thread_id"]
        created = client.runs.create(thread_id, "echo", input={"text": "hi"})
        await asyncio.gather(created, client.threads.delete(thread_id), return_exceptions=True)
        return thread_id

    async def is_over(thread_id: str) -> bool:
        try:
            runs = await client.runs.list(thread_id)
        except NotFoundError:
            return True
        return not any(run["status"] in ("pending", "running") for run in runs)

    async with asyncio.timeout(10):  # far less than a lease
        for thread_id in await asyncio.gather(*(pair() for _ in range(20))):
            await until(lambda thread_id=thread_id: is_over(thread_id))
