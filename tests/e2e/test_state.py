"""State of threads through the SDK: now, then, changed, and forked."""

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, NotFoundError

from .driving import Document

QUESTION = {"messages": [{"role": "user", "content": "hello", "id": "question"}]}


async def history_of(client: LangGraphClient, thread_id: str) -> list[Document]:
    return list(await client.threads.get_history(thread_id, limit=100))  # type: ignore[arg-type]


async def before_answer(client: LangGraphClient, thread_id: str) -> Document:
    """The oldest state in which `answer` was about to run."""
    return [state for state in await history_of(client, thread_id) if state["next"] == ["answer"]][-1]


def said(state: Document) -> list[str]:
    return [message["content"] for message in state["values"]["messages"]]


async def test_state_before_any_run_is_empty(client: LangGraphClient, thread_id: str) -> None:
    state = await client.threads.get_state(thread_id)
    assert state["values"] == {}
    assert state["next"] == []
    assert state["tasks"] == []


async def test_state_after_a_run(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "chat", input=QUESTION)
    state = await client.threads.get_state(thread_id)
    assert said(state) == ["hello", "you said hello as message 1"]
    assert state["next"] == []
    assert state["checkpoint"]["thread_id"] == thread_id
    assert state["checkpoint_id"] == state["checkpoint"]["checkpoint_id"]
    assert state["parent_checkpoint"]["checkpoint_id"] < state["checkpoint_id"]
    assert (state["metadata"]["source"], state["metadata"]["step"]) == ("loop", 1)
    assert state["metadata"]["graph_id"] == "chat"


async def test_history_is_newest_first_and_each_state_can_be_asked_for(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "chat", input=QUESTION)
    history = await history_of(client, thread_id)
    assert [state["metadata"]["step"] for state in history] == [1, 0, -1]
    assert [state["metadata"]["source"] for state in history] == ["loop", "loop", "input"]
    assert [state["next"] for state in history] == [[], ["answer"], ["__start__"]]
    for state in history:
        by_id = await client.threads.get_state(thread_id, checkpoint_id=state["checkpoint_id"])
        by_checkpoint = await client.threads.get_state(thread_id, checkpoint=state["checkpoint"])
        assert by_id["values"] == by_checkpoint["values"] == state["values"]
        assert by_id["next"] == by_checkpoint["next"] == state["next"]


async def test_history_is_limited_filtered_and_continued(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "chat", input=QUESTION)
    newest, middle, oldest = await history_of(client, thread_id)
    assert await client.threads.get_history(thread_id, limit=1) == [newest]
    assert await client.threads.get_history(thread_id, before=newest["checkpoint"]) == [middle, oldest]
    assert await client.threads.get_history(thread_id, metadata={"source": "input"}) == [oldest]
    assert await client.threads.get_history(thread_id, checkpoint=middle["checkpoint"]) == [middle]


async def test_unknown_checkpoint_is_an_empty_state(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "chat", input=QUESTION)
    unknown = "1f0a9d9e-0000-6000-8000-000000000000"
    state = await client.threads.get_state(thread_id, checkpoint_id=unknown)
    assert state["values"] == {}
    assert state["checkpoint"]["checkpoint_id"] == unknown


async def test_update_adds_by_the_reducer(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "nested", input={"log": ["in"]})
    answer = await client.threads.update_state(thread_id, {"log": ["by hand"], "unknown": 1})
    state = await client.threads.get_state(thread_id)
    assert state["values"] == {"log": ["in", "outer", "in", "outer", "inner unasked", "by hand"]}
    assert state["checkpoint_id"] == answer["checkpoint"]["checkpoint_id"]
    assert state["metadata"]["source"] == "update"
    assert (await client.threads.get(thread_id))["values"] == state["values"]


async def test_update_with_the_id_of_a_message_overwrites_it(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "chat", input=QUESTION)
    changed = {"messages": [{"role": "user", "content": "changed", "id": "question"}]}
    await client.threads.update_state(thread_id, changed)
    assert said(await client.threads.get_state(thread_id)) == ["changed", "you said hello as message 1"]  # type: ignore[arg-type]


async def test_fork_overwrites_the_message_and_runs_from_there(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "chat", input=QUESTION)
    base = await before_answer(client, thread_id)
    fork = await client.threads.update_state(
        thread_id,
        {"messages": [{"role": "user", "content": "other", "id": "question"}]},
        checkpoint_id=base["checkpoint_id"],
    )
    forked = await client.threads.get_state(thread_id, checkpoint=fork["checkpoint"])
    assert said(forked) == ["other"]  # type: ignore[arg-type]
    assert forked["next"] == ["answer"]
    result = await client.runs.wait(thread_id, "chat", input=None, checkpoint_id=fork["checkpoint"]["checkpoint_id"])
    assert said({"values": result}) == ["other", "you said other as message 1"]
    assert said(await client.threads.get_state(thread_id)) == said({"values": result})  # type: ignore[arg-type]


async def test_run_from_a_past_checkpoint_leaves_the_old_branch_in_history(
    client: LangGraphClient, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "chat", input=QUESTION)
    before = await history_of(client, thread_id)
    base = await before_answer(client, thread_id)
    result = await client.runs.wait(thread_id, "chat", input=None, checkpoint=base["checkpoint"])
    assert said({"values": result}) == ["hello", "you said hello as message 1"]
    after = await history_of(client, thread_id)
    assert after[-len(before) :] == before
    assert len(after) > len(before)


async def test_new_input_at_a_past_checkpoint_forgets_what_came_later(client: LangGraphClient, thread_id: str) -> None:
    first = await client.runs.wait(thread_id, "chat", input=QUESTION)
    end = await client.threads.get_state(thread_id)
    await client.runs.wait(thread_id, "chat", input={"messages": [{"role": "user", "content": "second"}]})
    result = await client.runs.wait(
        thread_id, "chat", input={"messages": [{"role": "user", "content": "instead"}]}, checkpoint=end["checkpoint"]
    )
    assert len(first["messages"]) == 2
    assert [message["content"] for message in result["messages"]][2:] == ["instead", "you said instead as message 2"]


async def test_update_as_a_node_decides_what_comes_next(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "ask", input={}, interrupt_before=["prepare"])
    await client.threads.update_state(thread_id, {"log": ["by hand"]}, as_node="ask")
    assert (await client.threads.get_state(thread_id))["next"] == ["finish"]
    assert (await client.runs.wait(thread_id, "ask", input=None))["log"] == ["by hand", "finished"]


async def test_update_as_the_end_drops_pending_work(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "ask", input={"question": "?"})
    await client.threads.update_state(thread_id, None, as_node="__end__")
    assert (await client.threads.get_state(thread_id))["next"] == []
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_update_as_an_unknown_node_is_refused(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "echo", input={"text": "hi"})
    with pytest.raises(BadRequestError, match="Node nonode does not exist"):
        await client.threads.update_state(thread_id, {"text": "x"}, as_node="nonode")


async def test_update_needs_to_know_the_graph(client: LangGraphClient, thread_id: str) -> None:
    with pytest.raises(BadRequestError, match="has no assigned graph ID"):
        await client.threads.update_state(thread_id, {"text": "x"})


async def test_update_of_an_empty_thread_acts_as_input(client: LangGraphClient) -> None:
    thread = await client.threads.create(graph_id="echo")
    await client.threads.update_state(thread["thread_id"], {"text": "put"})
    assert (await client.threads.get_state(thread["thread_id"]))["next"] == ["reply"]
    assert (await client.runs.wait(thread["thread_id"], "echo", input=None))["answer"] == "echo: put"


async def test_state_of_a_thread_of_an_unknown_graph_names_the_known_ones(client: LangGraphClient) -> None:
    thread = await client.threads.create(metadata={"graph_id": "gone"})
    with pytest.raises(NotFoundError, match="Graph 'gone' not found"):
        await client.threads.get_state(thread["thread_id"])


async def test_a_state_that_its_schema_refuses_is_refused_and_left_by_a_branch(
    client: LangGraphClient, thread_id: str
) -> None:
    good = await client.runs.wait(thread_id, "strict", input={"n": 1, "note": "kept"})
    before = await client.threads.get_state(thread_id)
    result = await client.runs.wait(thread_id, "strict", input={"n": "no number"}, raise_error=False)
    assert result["__error__"]["error"] == "ValidationError"  # type: ignore[call-overload]
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["values"]) == ("error", good)
    with pytest.raises(BadRequestError, match="validation error"):
        await client.threads.get_state(thread_id)
    again = await client.runs.wait(thread_id, "strict", input={"n": 5}, checkpoint=before["checkpoint"])
    assert again == {"n": 6, "note": "kept"}
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_a_history_larger_than_any_message(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    thread = await client.threads.create(
        graph_id="echo",
        supersteps=[{"updates": [{"values": {"text": f"{n}" + "x" * 200_000}, "as_node": "reply"}]} for n in range(40)],
    )
    answer = await http.post(f"/threads/{thread['thread_id']}/history", json={"limit": 1000})
    assert answer.headers["transfer-encoding"] == "chunked"
    states = answer.json()
    assert [state["values"]["text"].strip("x") for state in states] == [str(n) for n in reversed(range(40))]
    middle = {"checkpoint_id": states[19]["checkpoint_id"]}
    rest = await http.post(f"/threads/{thread['thread_id']}/history", json={"limit": 5, "before": middle})
    assert rest.json() == states[20:25]
