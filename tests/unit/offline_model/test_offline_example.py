"""The example graph from end to end, in process, against the offline model."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

# trustcall validates patched documents through pydantic models made at run time.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def local_now() -> datetime:
    """Deadlines are local times without a zone."""
    return datetime.now().astimezone().replace(tzinfo=None)


TWO_TODOS = "My wife asked me to book swim lessons for the baby and I need to fix the door lock by Friday."


class Chat:
    """One user's thread with the graph."""

    def __init__(self, example: Any, user_id: str = "Test") -> None:
        self.store = InMemoryStore()
        self.graph = example.builder.compile(checkpointer=InMemorySaver(), store=self.store)
        self.user_id = user_id
        self.config = {"configurable": {"thread_id": "1", "user_id": user_id}}

    def say(self, text: str) -> str:
        result = self.graph.invoke({"messages": [HumanMessage(text)]}, self.config)
        self.messages = result["messages"]
        return str(self.messages[-1].text)

    def items(self, kind: str, category: str = "general") -> list[dict[str, Any]]:
        return [item.value for item in self.store.search((kind, category, self.user_id))]

    def todo(self, word: str) -> dict[str, Any]:
        return next(todo for todo in self.items("todo") if word in todo["task"].lower())


@pytest.fixture
def chat(example: Any) -> Chat:
    return Chat(example)


def test_two_todos_in_one_message(chat: Chat) -> None:
    answer = chat.say(TWO_TODOS)
    assert len(chat.items("todo")) == 2
    deadline = datetime.fromisoformat(chat.todo("lock")["deadline"])
    assert deadline.strftime("%A") == "Friday"
    assert timedelta(0) < deadline - local_now() <= timedelta(days=8)
    assert chat.todo("swim")["deadline"] is None
    assert chat.todo("swim")["status"] == "not started"
    assert chat.todo("lock")["time_to_complete"] > 0
    assert chat.todo("lock")["solutions"]
    assert "swim lessons" in answer
    assert "door lock" in answer


def test_both_todos_get_their_own_deadline(chat: Chat) -> None:
    chat.say("I need to renew my passport by the end of November and I have to call the plumber tomorrow.")
    assert datetime.fromisoformat(chat.todo("passport")["deadline"]).strftime("%d %B") == "30 November"
    tomorrow = local_now().date() + timedelta(days=1)
    assert datetime.fromisoformat(chat.todo("plumber")["deadline"]).date() == tomorrow


def test_tool_messages_say_what_changed(chat: Chat) -> None:
    chat.say(TWO_TODOS)
    (report,) = [m for m in chat.messages if isinstance(m, ToolMessage)]
    assert "Added Book swim lessons for the baby" in report.text
    assert "Added Fix the door lock" in report.text


def test_summary_mentions_everything_and_changes_nothing(chat: Chat) -> None:
    chat.say(TWO_TODOS)
    before = chat.items("todo")
    answer = chat.say("Give me a summary of all ToDos")
    assert "swim lessons" in answer
    assert "door lock" in answer
    assert "Friday" in answer
    assert chat.items("todo") == before


def test_finishing_patches_one_todo(chat: Chat) -> None:
    chat.say(TWO_TODOS)
    answer = chat.say("I finished the swim lessons")
    assert len(chat.items("todo")) == 2
    assert chat.todo("swim")["status"] == "done"
    assert chat.todo("lock")["status"] == "not started"
    assert "swim lessons" in answer
    assert "done" in answer


def test_deadline_is_patched_and_a_new_todo_inserted_together(chat: Chat) -> None:
    chat.say(TWO_TODOS)
    chat.say("For the swim lessons, I need to get that done by end of November. I also need to buy diapers.")
    assert len(chat.items("todo")) == 3
    assert "-11-30T" in chat.todo("swim")["deadline"]
    assert chat.todo("diapers")["status"] == "not started"


def test_profile_grows_over_two_messages(chat: Chat) -> None:
    chat.say("My name is Lance. I live in San Francisco with my wife Anna. I work as a software engineer.")
    chat.say("I love hiking and jazz.")
    (profile,) = chat.items("profile")
    assert profile["name"] == "Lance"
    assert profile["location"] == "San Francisco"
    assert profile["job"] == "software engineer"
    assert profile["connections"] == ["Anna (wife)"]
    assert profile["interests"] == ["hiking", "jazz"]
    assert "San Francisco" in chat.say("Where do I live?")


def test_instructions_are_kept_and_applied(chat: Chat) -> None:
    chat.say("I live in Leeds.")
    chat.say("When creating or updating ToDo items, always include local business options.")
    chat.say("Never put more than one errand into a task.")
    (memory,) = chat.items("instructions")
    assert "local business options" in memory["memory"]
    assert "more than one errand" in memory["memory"]
    chat.say("I need to repair the washing machine.")
    assert any("local businesses in Leeds" in step for step in chat.todo("washing")["solutions"])


def test_several_kinds_of_memory_in_one_message(chat: Chat) -> None:
    chat.say("My name is Kim. I need to pay the rent by Monday.")
    assert chat.items("profile")[0]["name"] == "Kim"
    assert "rent" in chat.items("todo")[0]["task"]
    call_ids = {c["id"] for m in chat.messages if isinstance(m, AIMessage) for c in m.tool_calls}
    answered = {m.tool_call_id for m in chat.messages if isinstance(m, ToolMessage)}
    assert len(call_ids) == 2
    assert call_ids == answered


def test_focus_streams_in_tokens(chat: Chat) -> None:
    chat.say(TWO_TODOS)
    question = {"messages": [HumanMessage("what should I focus on first?")]}
    stream = chat.graph.stream(question, chat.config, stream_mode="messages")
    tokens = [chunk.text for chunk, _ in stream if isinstance(chunk, AIMessageChunk) and chunk.text]
    assert len(tokens) > 10
    assert "Fix the door lock" in "".join(tokens)
    assert "".join(tokens).index("door lock") < "".join(tokens).index("swim lessons")


def test_memory_belongs_to_user_and_category(example: Any) -> None:
    chat = Chat(example)
    work = {"configurable": {"thread_id": "2", "user_id": "Test", "todo_category": "work"}}
    chat.graph.invoke({"messages": [HumanMessage("I need to write the report.")]}, work)
    assert chat.items("todo") == []
    assert len(chat.items("todo", "work")) == 1


def test_context_configures_and_configurable_wins(example: Any) -> None:
    context = example.Configuration(user_id="from-context", todo_category="home")
    merged = example.Configuration.of({"configurable": {"user_id": "Test"}}, context)
    assert (merged.user_id, merged.todo_category) == ("Test", "home")
    assert example.Configuration.of({}).user_id == "default-user"


def test_calls_that_no_node_serves_are_answered(example: Any) -> None:
    calls = [
        {"name": "UpdateMemory", "args": {"update_type": "shopping"}, "id": "a", "type": "tool_call"},
        {"name": "Other", "args": {}, "id": "b", "type": "tool_call"},
    ]
    state = {"messages": [AIMessage("", tool_calls=calls)]}
    assert example.route(state) == ["reject_calls"]
    assert [m.tool_call_id for m in example.reject_calls(state)["messages"]] == ["a", "b"]


def test_repeated_calls_of_one_kind_share_the_report(example: Any) -> None:
    call = {"name": "UpdateMemory", "args": {"update_type": "todo"}, "type": "tool_call"}
    state = {"messages": [AIMessage("", tool_calls=[{**call, "id": "a"}, {**call, "id": "b"}])]}
    first, second = example.answer_calls(state, "todo", ["Added X"])["messages"]
    assert first.text == "Added X"
    assert second.tool_call_id == "b"


async def _last_text(graph: Any, text: str, config: dict[str, Any]) -> str:
    result = await graph.ainvoke({"messages": [HumanMessage(text)]}, config)
    return str(result["messages"][-1].text)


def test_runs_asynchronously(chat: Chat) -> None:
    import asyncio

    answer = asyncio.run(_last_text(chat.graph, TWO_TODOS, chat.config))
    assert "door lock" in answer
    assert len(chat.items("todo")) == 2
