"""The OpenAI wire format, as OpenAI's own clients and plain HTTP see it."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field
from starlette.testclient import TestClient
from threadmill_cli.offline_model.app import create_app


@pytest.fixture
def http() -> TestClient:
    return TestClient(create_app())


@pytest.fixture
def llm(openai_env: None) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o-mini")


@tool
def get_weather(city: str) -> str:
    """Get the current weather of a city."""
    return f"sunny in {city}"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class UpdateMemory(BaseModel):
    """Choose the memory to update."""

    update_type: Literal["user", "todo", "instructions"]


def chat_body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}


def events(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.splitlines() if line]


def test_plain_answer(llm: ChatOpenAI) -> None:
    answer = llm.invoke("What is 12 * 12?")
    assert "144" in answer.text
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] > answer.usage_metadata["output_tokens"] > 0


def test_streamed_answer_adds_up(llm: ChatOpenAI) -> None:
    chunks = [chunk.text for chunk in llm.stream("Say the quick brown fox") if chunk.text]
    assert chunks == ["the", " quick", " brown", " fox"]


def test_stream_on_the_wire(http: TestClient) -> None:
    body = chat_body("Say one two", stream=True, stream_options={"include_usage": True})
    response = http.post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(response.text)
    assert done == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    assert {chunk["object"] for chunk in parsed} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in parsed}) == 1
    assert parsed[0]["choices"][0]["delta"]["role"] == "assistant"
    assert parsed[-2]["choices"][0]["finish_reason"] == "stop"
    assert parsed[-1]["choices"] == []
    assert parsed[-1]["usage"]["completion_tokens"] == 2


def test_stream_has_no_usage_unless_asked(http: TestClient) -> None:
    response = http.post("/v1/chat/completions", json=chat_body("Say hi", stream=True))
    assert "usage" not in response.text


def test_parallel_tool_calls_whole_and_streamed(llm: ChatOpenAI) -> None:
    bound = llm.bind_tools([get_weather, add])
    question = "What's the weather in Paris and Rome?"
    whole = bound.invoke(question)
    assert [call["args"] for call in whole.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert whole.response_metadata["finish_reason"] == "tool_calls"
    streamed: AIMessageChunk | None = None
    pieces = 0
    for chunk in bound.stream(question):
        streamed = chunk if streamed is None else streamed + chunk
        pieces += len(chunk.tool_call_chunks)
    assert streamed is not None
    assert [call["args"] for call in streamed.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert pieces > 2


def test_parallel_calls_can_be_switched_off(llm: ChatOpenAI) -> None:
    bound = llm.bind_tools([get_weather], parallel_tool_calls=False)
    first = bound.invoke("What's the weather in Paris and Rome?")
    assert len(first.tool_calls) == 1


def test_tool_result_is_answered_in_words(llm: ChatOpenAI) -> None:
    bound = llm.bind_tools([get_weather, add])
    question = HumanMessage("What is 3 plus 4?")
    call = bound.invoke([question])
    assert [(c["name"], c["args"]) for c in call.tool_calls] == [("add", {"a": 3, "b": 4})]
    result = ToolMessage("7", tool_call_id=call.tool_calls[0]["id"])
    answer = bound.invoke([question, call, result])
    assert not answer.tool_calls
    assert "7" in answer.text


def test_small_talk_calls_no_tool(llm: ChatOpenAI) -> None:
    answer = llm.bind_tools([get_weather, add, UpdateMemory]).invoke("Hello!")
    assert not answer.tool_calls
    assert "Hello" in answer.text


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("none", []), ("required", ["get_weather"]), ("add", ["add"]), ("auto", ["get_weather"])],
)
def test_tool_choice(llm: ChatOpenAI, choice: str, expected: list[str]) -> None:
    answer = llm.bind_tools([get_weather, add], tool_choice=choice).invoke("What is the weather in Oslo today?")
    assert [call["name"] for call in answer.tool_calls] == expected


def test_memory_updates_one_after_the_other(llm: ChatOpenAI) -> None:
    bound = llm.bind_tools([UpdateMemory], parallel_tool_calls=False)
    history: list[Any] = [SystemMessage("You keep lists."), HumanMessage("I'm Kim. I need to buy a lamp by Friday.")]
    kinds = []
    while (answer := bound.invoke(history)).tool_calls:
        (call,) = answer.tool_calls
        kinds.append(call["args"]["update_type"])
        history += [answer, ToolMessage("done", tool_call_id=call["id"])]
    assert kinds == ["user", "todo"]
    assert "Kim" in answer.text
    assert "lamp" in answer.text


class Person(BaseModel):
    """A person."""

    name: str = Field(description="The person's name")
    age: int
    city: str | None = None
    mood: Literal["happy", "sad"] = "happy"


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(llm: ChatOpenAI, method: Literal["json_schema", "function_calling"]) -> None:
    person = llm.with_structured_output(Person, method=method).invoke("My name is Ada, I am 36 and I live in London.")
    assert isinstance(person, Person)
    assert (person.name, person.age, person.city) == ("Ada", 36, "London")


def test_json_object(http: TestClient) -> None:
    body = chat_body("Say hello", response_format={"type": "json_object"})
    content = http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    assert json.loads(content) == {"answer": "hello"}


def test_limits(http: TestClient) -> None:
    cut = http.post("/v1/chat/completions", json=chat_body("Count to 9", max_tokens=3)).json()["choices"][0]
    assert (cut["message"]["content"], cut["finish_reason"]) == ("1 2 3", "length")
    stopped = http.post("/v1/chat/completions", json=chat_body("Count to 9", stop=" 4")).json()["choices"][0]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("1 2 3", "stop")


def test_content_parts(http: TestClient) -> None:
    body = chat_body("")
    body["messages"][0]["content"] = [{"type": "text", "text": "Say "}, {"type": "text", "text": "parts"}]
    answer = http.post("/v1/chat/completions", json=body).json()
    assert answer["choices"][0]["message"]["content"] == "parts"


def calls_message(call_id: str = "c") -> dict[str, Any]:
    function = {"name": "f", "arguments": "{}"}
    return {"role": "assistant", "tool_calls": [{"id": call_id, "type": "function", "function": function}]}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]}, "messages[0]"),
        ({"messages": [calls_message(), {"role": "user", "content": "hi"}]}, "messages"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "messages[0].tool_calls"),
        ({"tools": [{"type": "function", "function": {"name": "not a name"}}]}, "tools[0].function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"n": 2}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_bad_chat_requests(http: TestClient, change: dict[str, Any], param: str) -> None:
    response = http.post("/v1/chat/completions", json={**chat_body("hi"), **change})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_bodies_that_are_no_objects(http: TestClient, content: bytes) -> None:
    response = http.post("/v1/chat/completions", content=content)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_unknown_paths_and_methods(http: TestClient) -> None:
    assert http.get("/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    assert http.get("/v1/embeddings").status_code == 405


def test_models_and_health(http: TestClient) -> None:
    assert http.get("/health").json() == {"status": "ok"}
    assert "gpt-4o-mini" in {model["id"] for model in http.get("/v1/models").json()["data"]}


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_embeddings_are_near_when_texts_share_words(openai_env: None) -> None:
    model = OpenAIEmbeddings(model="text-embedding-3-small", dimensions=256, check_embedding_ctx_length=False)
    lock, door, cake = model.embed_documents(["Fix the door lock", "the lock of a door", "bake a birthday cake"])
    assert len(lock) == 256
    assert cosine(lock, lock) == pytest.approx(1.0, abs=1e-5)
    assert cosine(lock, door) > cosine(lock, cake)
    assert model.embed_query("Fix the door lock") == pytest.approx(lock)


def test_embedding_encodings_agree(http: TestClient) -> None:
    def embed(**more: Any) -> Any:
        body = {"model": "text-embedding-3-small", "input": "some text", "dimensions": 8, **more}
        return http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]

    assert struct.unpack("<8f", b64decode(embed(encoding_format="base64"))) == pytest.approx(embed())


@pytest.mark.parametrize(("given", "count"), [([1, 2, 3], 1), ([[1, 2], [3]], 2), (["a", "b"], 2), ("", 0), ([], 0)])
def test_embedding_inputs(http: TestClient, given: Any, count: int) -> None:
    response = http.post("/v1/embeddings", json={"model": "m", "input": given})
    assert response.status_code == (200 if count else 400)
    assert len(response.json().get("data", [])) == count


@pytest.mark.parametrize(
    ("change", "param"),
    [({"dimensions": 0}, "dimensions"), ({"encoding_format": "hex"}, "encoding_format"), ({"input": [{}]}, "input")],
)
def test_bad_embedding_requests(http: TestClient, change: dict[str, Any], param: str) -> None:
    response = http.post("/v1/embeddings", json={"model": "m", "input": "x", **change})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_answers_from_the_conversation(llm: ChatOpenAI) -> None:
    history = [
        HumanMessage("The code of the garage is 4711."),
        AIMessage("Noted."),
        HumanMessage("What is the code of the garage?"),
    ]
    assert "4711" in llm.invoke(history).text


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", ["1" * 100_000, "in Paris and " * 10_000, "word and buy milk, " * 5_000])
def test_long_messages_do_not_block(http: TestClient, text: str) -> None:
    router = {"type": "function", "function": {"name": "UpdateMemory", "parameters": UpdateMemory.model_json_schema()}}
    assert http.post("/v1/chat/completions", json=chat_body(text, tools=[router])).status_code == 200


def test_says_so_when_it_knows_nothing(llm: ChatOpenAI) -> None:
    assert "rules" in llm.invoke("Who won the chess championship of 1921?").text
