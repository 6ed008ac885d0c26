"""A person's afternoon with the demo application, on the offline model: to-dos, memory, tokens, forks and copies."""

from typing import Any
from uuid import uuid4

import pytest
from langgraph_sdk.client import LangGraphClient

from .driving import Document, collect

TWO_TODOS = "My wife asked me to book swim lessons for the baby and I need to fix the door lock by Friday."


class Person:
    """Somebody who talks with the assistant on one thread, and whose memory nobody else shares."""

    def __init__(self, client: LangGraphClient, thread_id: str) -> None:
        self.client = client
        self.thread_id = thread_id
        self.user_id = f"person-{uuid4().hex}"

    @property
    def config(self) -> Any:
        return {"configurable": {"user_id": self.user_id, "todo_category": "personal"}}

    async def say(self, text: str, thread_id: str | None = None) -> list[Document]:
        """One turn; answers all messages of the thread."""
        given = {"messages": [{"role": "user", "content": text}]}
        result: Any = await self.client.runs.wait(
            thread_id or self.thread_id, "task_maistro", input=given, config=self.config
        )
        return list(result["messages"])

    async def todos(self) -> list[Document]:
        found = await self.client.store.search_items(["todo", "personal", self.user_id])
        return [dict(item) for item in found["items"]]


@pytest.fixture
def person(client: LangGraphClient, thread_id: str) -> Person:
    return Person(client, thread_id)


def last_text(messages: list[Document]) -> str:
    assert messages[-1]["type"] == "ai"
    return str(messages[-1]["content"])


async def test_two_todos_in_one_message_become_two_items(person: Person) -> None:
    messages = await person.say(TWO_TODOS)
    items = await person.todos()
    assert sorted(item["value"]["task"] for item in items) == [
        "Book swim lessons for the baby",
        "Fix the door lock",
    ]
    assert {tuple(item["namespace"]) for item in items} == {("todo", "personal", person.user_id)}
    assert [message["type"] for message in messages] == ["human", "ai", "tool", "ai"]
    for todo in ("swim lessons", "door lock"):
        assert todo in last_text(messages)


async def test_items_are_read_one_by_one(client: LangGraphClient, person: Person) -> None:
    await person.say(TWO_TODOS)
    for item in await person.todos():
        found = await client.store.get_item(item["namespace"], item["key"])
        assert found["value"] == item["value"]
        assert found["value"]["status"] == "not started"
    listed = await client.store.list_namespaces(prefix=["todo", "personal", person.user_id])
    assert listed["namespaces"] == [["todo", "personal", person.user_id]]


async def test_summary_on_another_thread_mentions_both(client: LangGraphClient, person: Person) -> None:
    await person.say(TWO_TODOS)
    other = (await client.threads.create())["thread_id"]
    summary = last_text(await person.say("Give me a summary of all ToDos", other))
    assert "swim lessons" in summary
    assert "door lock" in summary
    assert len(await person.todos()) == 2


async def test_context_says_whose_memory_it_is(client: LangGraphClient, person: Person) -> None:
    given = {"messages": [{"role": "user", "content": TWO_TODOS}]}
    context = {"user_id": person.user_id, "todo_category": "personal"}
    await client.runs.wait(person.thread_id, "task_maistro", input=given, context=context)
    assert len(await person.todos()) == 2


async def test_assistant_of_ones_own_says_whose_memory_it_is(client: LangGraphClient, person: Person) -> None:
    assistant = await client.assistants.create("task_maistro", config=person.config, name=person.user_id)
    given = {"messages": [{"role": "user", "content": TWO_TODOS}]}
    await client.runs.wait(person.thread_id, assistant["assistant_id"], input=given)
    assert len(await person.todos()) == 2


async def test_memory_of_one_person_is_not_that_of_another(client: LangGraphClient, person: Person) -> None:
    await person.say(TWO_TODOS)
    stranger = Person(client, (await client.threads.create())["thread_id"])
    assert "door lock" not in last_text(await stranger.say("Give me a summary of all ToDos"))
    assert await stranger.todos() == []


async def test_finished_todo_is_patched(person: Person) -> None:
    await person.say(TWO_TODOS)
    keys = {item["key"] for item in await person.todos()}
    await person.say("I finished the swim lessons")
    items = await person.todos()
    assert {item["key"] for item in items} == keys
    statuses = {item["value"]["task"]: item["value"]["status"] for item in items}
    assert statuses == {"Book swim lessons for the baby": "done", "Fix the door lock": "not started"}


async def test_what_to_focus_on_first_is_streamed_in_tokens(client: LangGraphClient, person: Person) -> None:
    await person.say(TWO_TODOS)
    question = {"messages": [{"role": "user", "content": "what should I focus on first"}]}
    parts = await collect(
        client.runs.stream(
            person.thread_id, "task_maistro", input=question, config=person.config, stream_mode="messages-tuple"
        )
    )
    chunks = [part.data[0] for part in parts if part.event == "messages"]
    tokens = [chunk["content"] for chunk in chunks if chunk["content"]]
    assert len(tokens) > 10
    answer = "".join(tokens)
    assert answer.index("door lock") < answer.index("swim lessons")
    state: Any = await client.threads.get_state(person.thread_id)
    assert state["values"]["messages"][-1]["content"] == answer
    nodes = {part.data[1]["langgraph_node"] for part in parts if part.event == "messages"}
    assert nodes == {"task_mAIstro"}


async def test_history_shows_every_step(client: LangGraphClient, person: Person) -> None:
    await person.say(TWO_TODOS)
    history: Any = await client.threads.get_history(person.thread_id)
    assert [state["next"] for state in history] == [
        [],
        ["task_mAIstro"],
        ["update_todos"],
        ["task_mAIstro"],
        ["__start__"],
    ]
    assert [len(state["values"].get("messages", ())) for state in history] == [4, 3, 2, 1, 0]


async def test_fork_by_message_id_takes_back_what_was_said(client: LangGraphClient, person: Person) -> None:
    messages = await person.say("I need to buy diapers.")
    history: Any = await client.threads.get_history(person.thread_id)
    base = [state for state in history if state["next"] == ["task_mAIstro"]][-1]
    changed = {"messages": [{"role": "user", "content": "I need to buy milk.", "id": messages[0]["id"]}]}
    fork = await client.threads.update_state(person.thread_id, changed, checkpoint_id=base["checkpoint_id"])
    result: Any = await client.runs.wait(
        person.thread_id,
        "task_maistro",
        input=None,
        config=person.config,
        checkpoint_id=fork["checkpoint"]["checkpoint_id"],
    )
    assert [message["content"] for message in result["messages"] if message["type"] == "human"] == [
        "I need to buy milk."
    ]
    assert "milk" in last_text(result["messages"])
    state: Any = await client.threads.get_state(person.thread_id)
    assert state["values"]["messages"][0]["content"] == "I need to buy milk."
    # Memory is no part of the thread: what the first branch noted is still there.
    assert sorted(item["value"]["task"] for item in await person.todos()) == ["Buy diapers", "Buy milk"]


async def test_copied_thread_goes_its_own_way(client: LangGraphClient, person: Person) -> None:
    said = await person.say(TWO_TODOS)
    copy = (await client.threads.copy(person.thread_id))["thread_id"]
    continued = await person.say("Give me a summary of all ToDos", copy)
    assert continued[: len(said)] == said
    assert "swim lessons" in last_text(continued)
    state: Any = await client.threads.get_state(person.thread_id)
    assert state["values"]["messages"] == said
    copied: Any = await client.threads.get_history(copy, limit=100)
    original: Any = await client.threads.get_history(person.thread_id, limit=100)
    ids = [state["checkpoint_id"] for state in copied]
    assert ids[-len(original) :] == [state["checkpoint_id"] for state in original]
    assert len(ids) > len(original)


async def test_a_client_that_names_no_user_gets_the_default_one(client: LangGraphClient, thread_id: str) -> None:
    text = "Remind me to water the plants tomorrow"
    await client.runs.wait(thread_id, "task_maistro", input={"messages": [{"role": "user", "content": text}]})
    found = await client.store.search_items(("todo", "general", "default-user"))
    assert any("plants" in item["value"]["task"].lower() for item in found["items"])
