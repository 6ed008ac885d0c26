"""Graphs that stop for a person: interrupt(), breakpoints, resuming, and changing the state in between."""

from typing import Any

from langgraph_sdk.client import LangGraphClient

from .driving import collect


async def test_interrupt_stops_the_run_and_marks_the_thread(client: LangGraphClient, thread_id: str) -> None:
    result = await client.runs.wait(thread_id, "ask", input={"question": "ok?"})
    (interrupt,) = result["__interrupt__"]
    assert interrupt["value"] == {"question": "ok?"}
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "interrupted"
    ((task_id, (pending,)),) = thread["interrupts"].items()
    assert pending == {"id": interrupt["id"], "value": {"question": "ok?"}}
    state = await client.threads.get_state(thread_id)
    assert state["next"] == ["ask"]
    assert [task["id"] for task in state["tasks"]] == [task_id]
    assert state["tasks"][0]["interrupts"] == state["interrupts"] == [pending]
    assert [run["status"] for run in await client.runs.list(thread_id)] == ["success"]


async def test_resume_continues_where_it_stopped(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "ask", input={"question": "ok?"})
    result = await client.runs.wait(thread_id, "ask", command={"resume": "yes"})
    assert result == {"question": "ok?", "log": ["prepared", "answered yes", "finished"]}
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["interrupts"]) == ("idle", {})


async def test_resume_by_the_interrupts_id(client: LangGraphClient, thread_id: str) -> None:
    result = await client.runs.wait(thread_id, "ask", input={"question": "ok?"})
    resume = {result["__interrupt__"][0]["id"]: {"say": "sure"}}
    result = await client.runs.wait(thread_id, "ask", command={"resume": resume})
    assert result["log"] == ["prepared", "answered {'say': 'sure'}", "finished"]


async def test_two_questions_at_once_are_answered_by_id_one_by_one(client: LangGraphClient, thread_id: str) -> None:
    result = await client.runs.wait(thread_id, "choices", input={"log": []})
    ids = {interrupt["value"]: interrupt["id"] for interrupt in result["__interrupt__"]}
    assert set(ids) == {"left?", "right?"}
    result = await client.runs.wait(thread_id, "choices", command={"resume": {ids["left?"]: "L"}})
    assert [interrupt["value"] for interrupt in result["__interrupt__"]] == ["right?"]
    result = await client.runs.wait(thread_id, "choices", command={"resume": {ids["right?"]: "R"}})
    assert result == {"log": ["left L", "right R"]}


async def test_plain_answer_to_two_questions_is_an_error_that_keeps_them(
    client: LangGraphClient, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "choices", input={"log": []})
    result = await client.runs.wait(thread_id, "choices", command={"resume": "both"}, raise_error=False)
    assert result["__error__"]["error"] == "RuntimeError"
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "error"
    assert len(thread["interrupts"]) == 2


async def test_streams_show_the_interrupt(client: LangGraphClient, thread_id: str) -> None:
    stream = client.runs.stream(thread_id, "ask", input={"question": "ok?"}, stream_mode=["values", "updates"])
    parts = await collect(stream)
    shown: list[Any] = [(part.event, part.data["__interrupt__"]) for part in parts if "__interrupt__" in part.data]
    assert [event for event, _ in shown] in (["updates", "values"], ["values", "updates"])
    for _, (interrupt,) in shown:
        assert interrupt["value"] == {"question": "ok?"}
        assert set(interrupt) == {"value", "id", "response_schema"}


async def test_breakpoint_before_a_node(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "nested", input={"log": []}, interrupt_before=["child"])
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["interrupts"]) == ("interrupted", {})
    assert (await client.threads.get_state(thread_id))["next"] == ["child"]
    result = await client.runs.wait(thread_id, "nested", input=None)
    assert result["log"][-1] == "inner unasked"


async def test_breakpoint_after_a_node(client: LangGraphClient, thread_id: str) -> None:
    result = await client.runs.wait(thread_id, "nested", input={"log": []}, interrupt_after=["outer"])
    assert result["log"] == ["outer"]
    assert (await client.threads.get_state(thread_id))["next"] == ["child"]
    assert (await client.threads.get(thread_id))["status"] == "interrupted"


async def test_breakpoint_before_every_node(client: LangGraphClient, thread_id: str) -> None:
    seen = []
    given: Any = {"log": []}
    while not seen or seen[-1]:
        await client.runs.wait(thread_id, "nested", input=given, interrupt_before="*")
        seen.append((await client.threads.get_state(thread_id))["next"])
        given = None
    assert seen == [["outer"], ["child"], []]


async def test_update_of_an_interrupted_thread_answers_in_the_nodes_place(
    client: LangGraphClient, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "ask", input={"question": "ok?"})
    await client.threads.update_state(thread_id, {"log": ["answered by hand"]}, as_node="ask")
    thread = await client.threads.get(thread_id)
    assert thread["interrupts"] == {}
    assert (await client.threads.get_state(thread_id))["next"] == ["finish"]
    result = await client.runs.wait(thread_id, "ask", input=None)
    assert result["log"] == ["prepared", "answered by hand", "finished"]


async def test_new_input_on_an_interrupted_thread_starts_over(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "ask", input={"question": "first?"})
    result = await client.runs.wait(thread_id, "ask", input={"question": "second?"})
    assert [each["value"] for each in result["__interrupt__"]] == [{"question": "second?"}]
    assert (await client.threads.get_state(thread_id))["values"]["log"] == ["prepared", "prepared"]


async def test_resume_with_nothing_pending_changes_nothing(client: LangGraphClient, thread_id: str) -> None:
    before = await client.runs.wait(thread_id, "echo", input={"text": "hi"})
    assert await client.runs.wait(thread_id, "echo", command={"resume": "?"}) == before


async def test_interrupt_inside_a_subgraph(client: LangGraphClient, thread_id: str) -> None:
    result = await client.runs.wait(thread_id, "nested", input={"ask": True, "log": []})
    assert [interrupt["value"] for interrupt in result["__interrupt__"]] == ["inner?"]
    (task,) = (await client.threads.get_state(thread_id))["tasks"]
    assert task["checkpoint"]["checkpoint_ns"] == f"child:{task['id']}"
    (task,) = (await client.threads.get_state(thread_id, subgraphs=True))["tasks"]
    assert task["state"]["next"] == ["inner"]
    assert task["state"]["values"]["log"] == ["outer"]
    result = await client.runs.wait(thread_id, "nested", command={"resume": "yes"})
    assert result["log"][-1] == "inner yes"


async def test_command_updates_and_goes_to_a_node(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "nested", input={"log": []})
    command: Any = {"update": {"log": ["told"]}, "goto": "child"}
    result = await client.runs.wait(thread_id, "nested", command=command)
    assert "told" in result["log"]
    assert result["log"][-1] == "inner unasked"


async def test_command_to_another_node_leaves_the_question_open(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "ask", input={"question": "ok?"})
    command: Any = {"goto": "finish"}
    parts = await collect(client.runs.stream(thread_id, "ask", command=command, stream_mode="updates"))
    assert {"finish": {"log": ["finished"]}} in [part.data for part in parts]
    assert (await client.threads.get(thread_id))["status"] == "interrupted"


async def test_thread_row_and_state_agree_after_a_part_was_answered(client: LangGraphClient, thread_id: str) -> None:
    result = await client.runs.wait(thread_id, "choices", input={"log": []})
    left = next(each["id"] for each in result["__interrupt__"] if each["value"] == "left?")
    await client.runs.wait(thread_id, "choices", command={"resume": {left: "L"}})
    thread = await client.threads.get(thread_id)
    state = await client.threads.get_state(thread_id)
    assert [each["value"] for pending in thread["interrupts"].values() for each in pending] == ["right?"]
    assert [each["value"] for each in state["interrupts"]] == ["right?"]
    assert state["values"] == {"log": ["left L"]}
    assert thread["status"] == "interrupted"
