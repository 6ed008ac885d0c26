"""Document extraction as trustcall asks for it, with schemas that the rules have not seen before."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import date
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field, ValidationError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NOW = SystemMessage("Keep the records of the user up to date. System Time: 2025-11-20T09:00:00")


class Task(BaseModel):
    """A thing to do, in another shape than that of the example."""

    title: str
    due_date: date | None = None
    minutes: int | None = Field(default=None, description="Estimated minutes")
    status: Literal["todo", "doing", "done", "cancelled"] = "todo"
    steps: list[str] = Field(default_factory=list, min_length=1)


class UserInfo(BaseModel):
    """What is known of the user."""

    name: str | None = None
    city: str | None = None
    occupation: str | None = None
    hobbies: list[str] | None = None


class Memory(BaseModel):
    """A note."""

    content: str = Field(description="What to remember, with its context")


@pytest.fixture
def extractor(openai_env: None) -> Callable[..., Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # trustcall imports names that langgraph has moved
        from trustcall import create_extractor

    def make(*tools: Any, **options: Any) -> Any:
        return create_extractor(ChatOpenAI(model="gpt-4o-mini"), tools=list(tools), **options)

    return make


def test_several_new_documents_in_one_answer(extractor: Callable[..., Any]) -> None:
    run = extractor(Task, tool_choice="Task")
    text = "I need to paint the fence by 2025-12-01, call the vet tomorrow and buy a lamp."
    found = run.invoke({"messages": [NOW, HumanMessage(text)]})["responses"]
    assert [task.title for task in found] == ["Paint the fence", "Call the vet", "Buy a lamp"]
    assert [task.due_date for task in found] == [date(2025, 12, 1), date(2025, 11, 21), None]
    assert all(task.steps and task.minutes for task in found)


def test_patch_and_insert_in_one_answer(extractor: Callable[..., Any]) -> None:
    run = extractor(Task, tool_choice="Task", enable_inserts=True)
    existing = [
        ("id-1", "Task", Task(title="Paint the fence", steps=["Buy paint"]).model_dump(mode="json")),
        ("id-2", "Task", Task(title="Call the vet", steps=["Look up"]).model_dump(mode="json")),
    ]
    text = "I called the vet. I also have to order a cake by Friday."
    result = run.invoke({"messages": [NOW, HumanMessage(text)], "existing": existing})
    pairs = list(zip(result["response_metadata"], result["responses"], strict=True))
    assert [(meta.get("json_doc_id"), doc.title, doc.status) for meta, doc in pairs] == [
        ("id-2", "Call the vet", "done"),
        (None, "Order a cake", "todo"),
    ]


def test_nothing_new_changes_nothing(extractor: Callable[..., Any]) -> None:
    run = extractor(Task, tool_choice="Task", enable_inserts=True)
    existing = [("id-1", "Task", Task(title="Paint the fence", steps=["Buy paint"]).model_dump(mode="json"))]
    result = run.invoke({"messages": [NOW, HumanMessage("Nice weather.")], "existing": existing})
    assert result["responses"] == []


def test_single_document_by_name(extractor: Callable[..., Any]) -> None:
    run = extractor(UserInfo, tool_choice="UserInfo")
    (info,) = run.invoke({"messages": [NOW, HumanMessage("I'm Ada, I live in Paris and I enjoy chess.")]})["responses"]
    assert info == UserInfo(name="Ada", city="Paris", hobbies=["chess"])
    text = "I moved to Rome. I work as a baker. I love opera."
    result = run.invoke({"messages": [NOW, HumanMessage(text)], "existing": {"UserInfo": info.model_dump()}})
    (changed,) = result["responses"]
    assert changed == UserInfo(name="Ada", city="Rome", occupation="baker", hobbies=["chess", "opera"])


def test_removal(extractor: Callable[..., Any]) -> None:
    run = extractor(UserInfo, enable_deletes=True, enable_updates=False)
    existing = [("a", "UserInfo", {"name": "Ada"}), ("b", "UserInfo", {"name": "Bob"})]
    result = run.invoke({"messages": [NOW, HumanMessage("Please delete the record of Bob.")], "existing": existing})
    assert [doc.json_doc_id for doc in result["responses"]] == ["b"]


def test_free_text_documents(extractor: Callable[..., Any]) -> None:
    run = extractor(Memory, tool_choice="Memory")
    (note,) = run.invoke({"messages": [NOW, HumanMessage("The spare key is under the pot.")]})["responses"]
    assert "spare key" in note.content


class Order(BaseModel):
    """An order of goods."""

    product: str
    amount: int


def test_a_rejected_call_is_repaired(openai_env: None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trustcall._base import PatchFunctionErrors

    call = {"name": "Order", "args": {"product": "tea", "amount": "several"}, "id": "call-1", "type": "tool_call"}
    with pytest.raises(ValidationError) as rejected:
        Order.model_validate(call["args"])
    report = (
        f"Error:\n\n```\n{rejected.value}\n```\nExpected Parameter Schema:\n\n"
        f"```json\n{Order.model_json_schema()}\n```\nPlease fix all errors for json_doc_id=[call-1]."
    )
    history = [
        HumanMessage("I order tea, 3 packets of it."),
        AIMessage("", tool_calls=[call]),
        ToolMessage(report, tool_call_id="call-1", status="error"),
    ]
    llm = ChatOpenAI(model="gpt-4o-mini").bind_tools([PatchFunctionErrors], tool_choice="any")
    (repair,) = llm.invoke(history).tool_calls
    assert repair["args"]["json_doc_id"] == "call-1"
    assert repair["args"]["patches"] == [{"op": "replace", "path": "/amount", "value": 3}]
