"""RemoteGraph: a served graph used as if it were a local one."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command, Interrupt
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import Stack
from typing_extensions import TypedDict

HELLO = {"messages": [{"role": "user", "content": "hello", "id": "question"}]}


@pytest.fixture
def config() -> RunnableConfig:
    """A thread that does not exist yet: RemoteGraph creates it."""
    return {"configurable": {"thread_id": str(uuid4())}}


def remote(client: LangGraphClient, graph: str) -> RemoteGraph:
    return RemoteGraph(graph, client=client)


async def test_invoke_without_a_thread(client: LangGraphClient) -> None:
    assert await remote(client, "echo").ainvoke({"text": "hi"}) == {"text": "hi", "answer": "echo: hi"}


async def test_invoke_with_a_thread_remembers(client: LangGraphClient, config: RunnableConfig) -> None:
    graph = remote(client, "chat")
    await graph.ainvoke(HELLO, config)
    result = await graph.ainvoke({"messages": [{"role": "user", "content": "again"}]}, config)
    assert [message["type"] for message in result["messages"]] == ["human", "ai", "human", "ai"]


async def test_stream_of_one_and_of_several_modes(client: LangGraphClient, config: RunnableConfig) -> None:
    graph = remote(client, "echo")
    single = [part async for part in graph.astream({"text": "hi"}, config, stream_mode="updates")]
    assert single == [{"reply": {"answer": "echo: hi"}}]
    several = [
        tuple(part)[:2] async for part in graph.astream({"text": "hi"}, config, stream_mode=["values", "updates"])
    ]
    assert ("updates", {"reply": {"answer": "echo: hi"}}) in several
    assert several[-1] == ("values", {"text": "hi", "answer": "echo: hi"})


async def test_stream_of_tokens(client: LangGraphClient, config: RunnableConfig) -> None:
    graph = remote(client, "chat")
    parts: list[Any] = [part async for part in graph.astream(HELLO, config, stream_mode="messages")]
    assert "".join(chunk["content"] for chunk, _ in parts) == "you said hello as message 1"


async def test_stream_of_subgraphs_has_namespaces(client: LangGraphClient, config: RunnableConfig) -> None:
    graph = remote(client, "nested")
    parts = [part async for part in graph.astream({"log": []}, config, stream_mode="updates", subgraphs=True)]
    namespaces = [part[0] for part in parts]
    assert namespaces[0] == ()
    assert namespaces[1][0].startswith("child:")


async def test_state_and_history(client: LangGraphClient, config: RunnableConfig) -> None:
    graph = remote(client, "echo")
    await graph.ainvoke({"text": "hi"}, config)
    snapshot = await graph.aget_state(config)
    assert snapshot.values == {"text": "hi", "answer": "echo: hi"}
    assert snapshot.next == ()
    history = [state async for state in graph.aget_state_history(config)]
    assert [state.metadata["step"] for state in history if state.metadata] == [1, 0, -1]
    assert history[0].config == snapshot.config
    then = await graph.aget_state(history[1].config)
    assert then.next == ("reply",)
    later = [state async for state in graph.aget_state_history(config, before=history[0].config, limit=1)]
    assert [state.config for state in later] == [history[1].config]


async def test_update_state_and_continue_from_it(client: LangGraphClient, config: RunnableConfig) -> None:
    graph = remote(client, "chat")
    await graph.ainvoke(HELLO, config)
    base = [state async for state in graph.aget_state_history(config) if state.next == ("answer",)][-1]
    changed = {"messages": [{"role": "user", "content": "changed", "id": "question"}]}
    fork = await graph.aupdate_state(base.config, changed)
    result = await graph.ainvoke(None, fork)
    assert [message["content"] for message in result["messages"]] == ["changed", "you said changed as message 1"]


async def test_interrupt_is_shown_and_resumed(client: LangGraphClient, config: RunnableConfig) -> None:
    graph = remote(client, "ask")
    result = await graph.ainvoke({"question": "ok?"}, config)
    assert [each["value"] for each in result["__interrupt__"]] == [{"question": "ok?"}]
    snapshot = await graph.aget_state(config)
    assert snapshot.next == ("ask",)
    assert [interrupt.value for interrupt in snapshot.interrupts] == [{"question": "ok?"}]
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert result["log"] == ["prepared", "answered yes", "finished"]


async def test_interrupt_of_a_remote_node_interrupts_the_graph_around_it(client: LangGraphClient) -> None:
    class State(TypedDict, total=False):
        question: str

    graph = remote(client, "ask")
    around = StateGraph(State).add_node("remote", graph).add_edge(START, "remote").add_edge("remote", END).compile()
    result = await around.ainvoke({"question": "ok?"})
    (interrupt,) = result["__interrupt__"]
    assert isinstance(interrupt, Interrupt)
    assert interrupt.value == {"question": "ok?"}


async def test_error_is_raised_with_the_servers_words(client: LangGraphClient, config: RunnableConfig) -> None:
    with pytest.raises(RemoteException) as raised:
        await remote(client, "failing").ainvoke({"message": "no"}, config)
    assert raised.value.args[0] == {"error": "ValueError", "message": "no"}


async def test_graph_is_drawn(client: LangGraphClient) -> None:
    drawn = await remote(client, "nested").aget_graph()
    assert list(drawn.nodes) == ["__start__", "outer", "child", "__end__"]


async def test_blocking_use(stack: Stack) -> None:
    with get_sync_client(url=stack.url) as client:
        graph = RemoteGraph("echo", sync_client=client)
        assert await asyncio.to_thread(graph.invoke, {"text": "hi"}) == {"text": "hi", "answer": "echo: hi"}
