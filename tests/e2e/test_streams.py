"""What each stream mode sends through the SDK, alone and together, with subgraphs, and to several readers."""

import asyncio
from itertools import pairwise
from typing import Any

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import StreamPart

from .driving import Gate, collect, collect_into, run_has, until

HELLO = {"messages": [{"role": "user", "content": "hello there"}]}


async def parts_of(client: LangGraphClient, thread_id: str | None, graph: str, **options: Any) -> list[StreamPart]:
    return await collect(client.runs.stream(thread_id, graph, **options))


def events(parts: list[StreamPart]) -> list[str]:
    return [part.event for part in parts]


async def test_metadata_comes_first_and_nothing_after_the_end(client: LangGraphClient, thread_id: str) -> None:
    created: list[Any] = []
    parts = await parts_of(client, thread_id, "echo", input={"text": "hi"}, on_run_created=created.append)
    assert events(parts) == ["metadata", "values", "values"]
    assert parts[0].data == {"run_id": created[0]["run_id"], "attempt": 1}
    assert created[0]["thread_id"] == thread_id


async def test_run_has_ended_when_its_stream_has(client: LangGraphClient, thread_id: str) -> None:
    parts = await parts_of(client, thread_id, "echo", input={"text": "hi"})
    run, thread, state = await asyncio.gather(
        client.runs.get(thread_id, parts[0].data["run_id"]),
        client.threads.get(thread_id),
        client.threads.get_state(thread_id),
    )
    assert run["status"] == "success"
    assert thread["status"] == "idle"
    assert thread["values"] == state["values"] == parts[-1].data


async def test_values_are_the_whole_state_after_the_input_and_each_step(
    client: LangGraphClient, thread_id: str
) -> None:
    parts = await parts_of(client, thread_id, "nested", input={"log": ["in"]}, stream_mode="values")
    assert [len(part.data["log"]) for part in parts[1:]] == [1, 2, 5]


async def test_updates_are_what_each_node_wrote(client: LangGraphClient, thread_id: str) -> None:
    parts = await parts_of(client, thread_id, "echo", input={"text": "hi"}, stream_mode="updates")
    assert [(part.event, part.data) for part in parts[1:]] == [("updates", {"reply": {"answer": "echo: hi"}})]


async def test_custom_is_what_the_writer_got(client: LangGraphClient, thread_id: str) -> None:
    parts = await parts_of(client, thread_id, "chat", input=HELLO, stream_mode="custom")
    assert [(part.event, part.data) for part in parts[1:]] == [("custom", {"heard": "hello there"})]


async def test_message_tuples_are_chunks_with_metadata(client: LangGraphClient, thread_id: str) -> None:
    parts = await parts_of(client, thread_id, "chat", input=HELLO, stream_mode="messages-tuple")
    assert set(events(parts[1:])) == {"messages"}
    chunks = [chunk for chunk, _ in (part.data for part in parts[1:])]
    assert "".join(chunk["content"] for chunk in chunks) == "you said hello there as message 1"
    assert len(chunks) > 5
    assert {chunk["type"] for chunk in chunks} == {"AIMessageChunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {metadata["langgraph_node"] for _, metadata in (part.data for part in parts[1:])} == {"answer"}


async def test_messages_accumulate(client: LangGraphClient, thread_id: str) -> None:
    parts = await parts_of(client, thread_id, "chat", input=HELLO, stream_mode="messages")
    assert events(parts)[:2] == ["metadata", "messages/metadata"]
    assert set(events(parts[2:])) == {"messages/partial"}
    (message_id,) = parts[1].data
    texts = [message["content"] for (message,) in (part.data for part in parts[2:])]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert texts[-1] == "you said hello there as message 1"
    assert {message["id"] for (message,) in (part.data for part in parts[2:])} == {message_id}
    assert {message["type"] for (message,) in (part.data for part in parts[2:])} == {"ai"}


async def test_tokens_of_an_asynchronous_model_arrive_one_by_one(client: LangGraphClient, thread_id: str) -> None:
    given = {"messages": HELLO["messages"], "count": 150}
    parts = await parts_of(client, thread_id, "tokens", input=given, stream_mode="messages-tuple")
    contents = [part.data[0]["content"] for part in parts[1:]]
    assert [content for content in contents if content] == [f"t{n} " for n in range(150)]


async def test_debug_shows_checkpoints_and_tasks(client: LangGraphClient, thread_id: str) -> None:
    parts = await parts_of(client, thread_id, "echo", input={"text": "hi"}, stream_mode="debug")
    kinds = [part.data["type"] for part in parts[1:]]
    assert kinds == ["checkpoint", "checkpoint", "task", "task_result", "checkpoint"]
    last = parts[-1].data["payload"]
    assert last["values"] == {"text": "hi", "answer": "echo: hi"}
    assert last["checkpoint"]["thread_id"] == thread_id
    assert last["parent_checkpoint"]["checkpoint_id"] == parts[2].data["payload"]["checkpoint"]["checkpoint_id"]


async def test_tasks_and_checkpoints(client: LangGraphClient, thread_id: str) -> None:
    parts = await parts_of(client, thread_id, "echo", input={"text": "hi"}, stream_mode=["tasks", "checkpoints"])
    tasks = [part.data for part in parts if part.event == "tasks"]
    assert [task["name"] for task in tasks] == ["reply", "reply"]
    assert tasks[0]["id"] == tasks[1]["id"]
    assert tasks[1]["result"] == {"answer": "echo: hi"}
    checkpoints = [part.data for part in parts if part.event == "checkpoints"]
    assert [checkpoint["metadata"]["step"] for checkpoint in checkpoints] == [-1, 0, 1]
    assert checkpoints[-1]["next"] == []


async def test_events_are_those_of_langchain(client: LangGraphClient, thread_id: str) -> None:
    parts = await parts_of(client, thread_id, "chat", input=HELLO, stream_mode=["events", "updates"])
    names = [part.data["event"] for part in parts if part.event == "events"]
    assert names[0] == "on_chain_start"
    assert names[-1] == "on_chain_end"
    assert names.count("on_chat_model_stream") > 5
    assert "updates" in events(parts)


async def test_several_modes_at_once_keep_their_order(client: LangGraphClient, thread_id: str) -> None:
    modes = ["values", "updates", "custom", "messages-tuple"]
    parts = await parts_of(client, thread_id, "chat", input=HELLO, stream_mode=modes)
    names = events(parts)
    assert names[:3] == ["metadata", "values", "custom"]
    assert names[-2:] == ["updates", "values"]
    assert set(names[3:-2]) == {"messages"}


async def test_subgraphs_are_named_in_the_event(client: LangGraphClient, thread_id: str) -> None:
    parts = await parts_of(client, thread_id, "nested", input={"log": []}, stream_mode="updates", stream_subgraphs=True)
    plain, inner, outer = events(parts)[1:]
    assert (plain, outer) == ("updates", "updates")
    mode, _, namespace = inner.partition("|")
    assert mode == "updates"
    assert namespace.startswith("child:")
    assert parts[2].data == {"inner": {"log": ["inner unasked"]}}


async def test_subgraphs_are_silent_unless_asked_for(client: LangGraphClient, thread_id: str) -> None:
    parts = await parts_of(client, thread_id, "nested", input={"log": []}, stream_mode="updates")
    assert [list(part.data) for part in parts[1:]] == [["outer"], ["child"]]


async def test_stateless_stream(client: LangGraphClient) -> None:
    parts = await parts_of(client, None, "echo", input={"text": "hi"}, stream_mode=["updates", "values"])
    assert events(parts) == ["metadata", "values", "updates", "values"]


async def test_join_stream_serves_several_readers_the_same(client: LangGraphClient, thread_id: str, gate: Gate) -> None:
    run = await client.runs.create(
        thread_id, "gated", input=gate.input("A"), stream_mode=["updates", "custom"], stream_resumable=True
    )
    readers: list[list[StreamPart]] = [[] for _ in range(5)]
    async with asyncio.TaskGroup() as group:
        for parts in readers:
            stream = client.runs.join_stream(thread_id, run["run_id"], last_event_id="-1")
            group.create_task(collect_into(parts, stream))

        async def all_have_begun() -> bool:
            return all("custom" in events(parts) for parts in readers)

        await until(all_have_begun)
        gate.open()
    assert events(readers[0]) == ["metadata", "updates", "custom", "updates"]
    assert all(parts == readers[0] for parts in readers)


async def test_join_stream_without_an_id_begins_with_what_comes_next(
    client: LangGraphClient, thread_id: str, gate: Gate, open_gate: Gate
) -> None:
    first = await client.runs.create(thread_id, "gated", input=gate.input("A"))
    await run_has(client, first, "running")
    second = await client.runs.create(thread_id, "gated", input=open_gate.input("B"), stream_mode="updates")
    parts: list[StreamPart] = []
    opened = asyncio.Event()
    stream = client.runs.http.stream(
        f"/threads/{thread_id}/runs/{second['run_id']}/stream", "GET", on_response=lambda _: opened.set()
    )
    reading = asyncio.create_task(collect_into(parts, stream))
    await opened.wait()
    gate.open()
    await reading
    assert [part for part in events(parts) if part != "metadata"] == ["updates", "updates"]
    assert parts[-1].data == {"wait": {"log": ["left B"]}}


async def test_join_stream_filters_by_mode(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(
        thread_id, "chat", input=HELLO, stream_mode=["values", "custom", "updates"], stream_resumable=True
    )
    await client.runs.join(thread_id, run["run_id"])
    parts = await collect(
        client.runs.join_stream(thread_id, run["run_id"], stream_mode=["custom", "updates"], last_event_id="-1")
    )
    assert events(parts) == ["custom", "updates"]


async def test_join_stream_of_a_finished_run_closes(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "echo", input={"text": "hi"})
    await client.runs.join(thread_id, run["run_id"])
    assert await collect(client.runs.join_stream(thread_id, run["run_id"])) == []


async def test_thread_stream_follows_run_after_run(client: LangGraphClient, thread_id: str) -> None:
    stream = await client.threads.join_stream(thread_id, last_event_id="0")
    names: list[Any] = []
    for text in ("one", "two"):
        await client.runs.wait(thread_id, "echo", input={"text": text})
    run = await client.runs.create(
        thread_id, "echo", input={"text": "three"}, stream_mode="updates", stream_resumable=True
    )
    async with asyncio.timeout(30):
        async for part in stream:
            names.append((part.event, part.data))
            if part.event == "metadata" and part.data == {"status": "run_done", "run_id": run["run_id"]}:
                break
    assert ("updates", {"reply": {"answer": "echo: three"}}) in names
    assert [data["status"] for event, data in names if event == "metadata" and "status" in data] == ["run_done"] * 3
