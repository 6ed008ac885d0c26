"""Stopping for people as LangGraph's documentation teaches it, beyond the one question of test_interrupts."""

from langgraph_sdk.client import LangGraphClient

from .driving import Document


async def asked(client: LangGraphClient, thread_id: str) -> list[object]:
    """What the thread waits for an answer to; its row and its state say the same."""
    state = await client.threads.get_state(thread_id)
    row = await client.threads.get(thread_id)
    of_row = [each["value"] for pending in row["interrupts"].values() for each in pending]
    assert of_row == [each["value"] for each in state["interrupts"]]
    assert row["status"] == ("interrupted" if state["next"] else "idle")
    return of_row


async def resume(client: LangGraphClient, thread_id: str, graph: str, answer: object) -> Document:
    return dict(await client.runs.wait(thread_id, graph, command={"resume": answer}))  # type: ignore[arg-type,call-overload]


async def test_two_questions_of_one_node_come_one_after_the_other(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "twice", input={"log": []})
    assert await asked(client, thread_id) == ["name?"]
    await resume(client, thread_id, "twice", "Ada")
    assert await asked(client, thread_id) == ["age of Ada?"]
    assert (await resume(client, thread_id, "twice", 36))["log"] == ["Ada is 36"]
    assert await asked(client, thread_id) == []


async def test_other_answers_on_a_branch_from_before_the_question(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "twice", input={"log": []})
    question = (await client.threads.get_state(thread_id))["checkpoint"]
    await resume(client, thread_id, "twice", "Ada")
    await resume(client, thread_id, "twice", 36)
    first = await client.threads.get_state(thread_id)
    await client.threads.update_state(thread_id, {"log": ["again"]}, checkpoint=question)  # type: ignore[arg-type]
    await client.runs.wait(thread_id, "twice", input=None)
    assert await asked(client, thread_id) == ["name?"]
    await resume(client, thread_id, "twice", "Bob")
    assert (await resume(client, thread_id, "twice", 7))["log"] == ["again", "Bob is 7"]
    before = await client.threads.get_state(thread_id, checkpoint=first["checkpoint"])
    assert before["values"] == {"log": ["Ada is 36"]}, "the first branch stays readable"


async def test_question_of_a_tool(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "tools", input={"messages": [{"role": "user", "content": "book it"}]})
    assert await asked(client, thread_id) == [{"action": "book", "hotel": "Ritz"}]
    result = await resume(client, thread_id, "tools", {"type": "edit", "hotel": "Savoy"})
    last = result["messages"][-1]
    assert (last["type"], last["content"], last["tool_call_id"]) == ("tool", "booked Savoy", "call-1")
    assert await asked(client, thread_id) == []


async def test_answer_decides_where_to_go(client: LangGraphClient) -> None:
    for answer, log in (("yes", ["reviewed", "accepted"]), ("no", ["reviewed", "refused"])):
        thread_id = str((await client.threads.create())["thread_id"])
        await client.runs.wait(thread_id, "approval", input={"log": []})
        assert (await resume(client, thread_id, "approval", answer))["log"] == log


async def test_breakpoints_that_the_graph_was_compiled_with(client: LangGraphClient, thread_id: str) -> None:
    assert (await client.runs.wait(thread_id, "breakpoints", input={"log": ["in"]}))["log"] == ["in", "one"]
    assert (await client.threads.get_state(thread_id))["next"] == ["two"]
    await client.threads.update_state(thread_id, {"log": ["edited"]})
    second = await client.runs.wait(thread_id, "breakpoints", input=None)
    assert second["log"] == ["in", "one", "edited", "two"]
    assert (await client.threads.get(thread_id))["status"] == "interrupted"
    third = await client.runs.wait(thread_id, "breakpoints", input=None)
    assert third["log"] == ["in", "one", "edited", "two", "three"]
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_update_of_a_subgraph_that_waits(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "nested", input={"ask": True})
    state = await client.threads.get_state(thread_id, subgraphs=True)
    inner = state["tasks"][0]["state"]["checkpoint"]
    await client.threads.update_state(thread_id, {"log": ["in the child"]}, checkpoint=inner)
    inside = await client.threads.get_state(thread_id, checkpoint=inner | {"checkpoint_id": None})
    assert inside["values"]["log"][-1] == "in the child"
    result = await resume(client, thread_id, "nested", "yes")
    assert result["log"][-3:] == ["outer", "in the child", "inner yes"]


async def test_keep_latest_keeps_what_a_person_is_asked(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "nested", input={"ask": True})
    await client.threads.prune([thread_id], strategy="keep_latest")
    assert await asked(client, thread_id) == ["inner?"]
    assert (await resume(client, thread_id, "nested", "still"))["log"][-1] == "inner still"
