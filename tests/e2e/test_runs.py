"""Runs through the SDK: in the background, waited for, joined, listed, stateless, failing."""

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError, UnprocessableEntityError

from .driving import Gate, collect, run_has, thread_has, until


async def test_background_run_goes_from_pending_to_running_to_success(
    client: LangGraphClient, thread_id: str, gate: Gate
) -> None:
    run = await client.runs.create(thread_id, "gated", input=gate.input("A"))
    assert run["status"] == "pending"
    assert run["thread_id"] == thread_id
    await run_has(client, run, "running")
    assert (await client.threads.get(thread_id))["status"] == "busy"
    gate.open()
    assert (await client.runs.join(thread_id, run["run_id"]))["log"] == ["entered A", "left A"]
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "success"
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "idle"
    assert thread["values"]["log"] == ["entered A", "left A"]


async def test_run_shows_what_it_was_created_with(client: LangGraphClient, thread_id: str) -> None:
    created = await client.runs.create(
        thread_id,
        "echo",
        input={"text": "hi"},
        metadata={"colour": "red"},
        config={"tags": ["t"], "configurable": {"user_id": "u"}},
        stream_mode=["updates"],
        multitask_strategy="reject",
    )
    await client.runs.join(thread_id, created["run_id"])
    run = await client.runs.get(thread_id, created["run_id"])
    assert run["metadata"]["colour"] == "red"
    assert run["metadata"]["graph_id"] == "echo"
    assert run["multitask_strategy"] == "reject"
    assert run["kwargs"]["input"] == {"text": "hi"}
    assert run["kwargs"]["stream_mode"] == ["updates"]
    assert run["kwargs"]["config"]["configurable"]["user_id"] == "u"
    assert run["kwargs"]["config"]["tags"] == ["t"]


async def test_wait_answers_with_the_last_values(client: LangGraphClient, thread_id: str) -> None:
    assert await client.runs.wait(thread_id, "echo", input={"text": "hi"}) == {"text": "hi", "answer": "echo: hi"}


async def test_runs_are_listed_newest_first_and_by_status(client: LangGraphClient, thread_id: str) -> None:
    for text in ("one", "two"):
        await client.runs.wait(thread_id, "echo", input={"text": text})
    await client.runs.wait(thread_id, "failing", input={}, raise_error=False)
    assert [run["status"] for run in await client.runs.list(thread_id)] == ["error", "success", "success"]
    succeeded = await client.runs.list(thread_id, status="success")
    assert [run["kwargs"]["input"]["text"] for run in succeeded] == ["two", "one"]
    assert [run["run_id"] for run in await client.runs.list(thread_id, limit=1, offset=2)] == [succeeded[1]["run_id"]]


async def test_join_of_a_finished_run_answers_with_the_present_values(client: LangGraphClient, thread_id: str) -> None:
    first = await client.runs.create(thread_id, "echo", input={"text": "one"})
    await client.runs.join(thread_id, first["run_id"])
    await client.runs.wait(thread_id, "echo", input={"text": "two"})
    assert (await client.runs.join(thread_id, first["run_id"]))["answer"] == "echo: two"


async def test_finished_run_can_be_deleted(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "echo", input={"text": "hi"})
    await client.runs.join(thread_id, run["run_id"])
    await client.runs.delete(thread_id, run["run_id"])
    with pytest.raises(NotFoundError):
        await client.runs.get(thread_id, run["run_id"])


async def test_deleting_a_running_run_stops_it_and_frees_the_thread(
    client: LangGraphClient, thread_id: str, gate: Gate, open_gate: Gate
) -> None:
    run = await client.runs.create(thread_id, "gated", input=gate.input("A"))
    await run_has(client, run, "running")
    await client.runs.delete(thread_id, run["run_id"])

    async def freed() -> bool:
        return (await client.threads.get(thread_id))["status"] != "busy"

    assert await until(freed)
    result = await client.runs.wait(thread_id, "gated", input=open_gate.input("B"))
    assert result["log"][-2:] == ["entered B", "left B"]


async def test_stateless_wait_leaves_nothing_behind(client: LangGraphClient) -> None:
    created: list[dict[str, str]] = []
    result = await client.runs.wait(None, "echo", input={"text": "hi"}, on_run_created=created.append)
    assert result["answer"] == "echo: hi"
    thread_id = created[0]["thread_id"]
    assert thread_id

    async def gone() -> bool:
        try:
            await client.threads.get(thread_id)
        except NotFoundError:
            return True
        return False

    assert await until(gone)


async def test_stateless_stream_leaves_nothing_behind(client: LangGraphClient, gate: Gate) -> None:
    before = await client.threads.count()
    stream = client.runs.stream(None, "gated", input=gate.input("A"), stream_mode=["custom", "values"])
    names = []
    async for part in stream:
        names.append(part.event)
        if part.event == "custom":
            gate.open()
    assert names == ["metadata", "values", "values", "custom", "values"]

    async def as_before() -> bool:
        return await client.threads.count() == before

    assert await until(as_before)


async def test_stateless_run_is_kept_when_asked(client: LangGraphClient) -> None:
    run = await client.runs.create(None, "echo", input={"text": "hi"}, on_completion="keep")
    thread = await thread_has(client, run["thread_id"], "idle")
    assert thread["thread_id"] == run["thread_id"]
    assert (await run_has(client, run, "success"))["run_id"] == run["run_id"]


async def test_batch_creates_stateless_runs(client: LangGraphClient) -> None:
    runs = await client.runs.create_batch([{"assistant_id": "echo", "input": {"text": str(n)}} for n in range(3)])
    assert len({run["run_id"] for run in runs}) == 3


async def test_error_is_an_error_event_the_last_of_the_stream(client: LangGraphClient, thread_id: str) -> None:
    parts = await collect(client.runs.stream(thread_id, "failing", input={}, stream_mode="updates"))
    assert [part.event for part in parts] == ["metadata", "error"]
    assert parts[-1].data == {"error": "ValueError", "message": "bad value here"}


async def test_error_of_a_waited_run_is_raised_by_the_sdk(client: LangGraphClient, thread_id: str) -> None:
    with pytest.raises(Exception, match="ValueError: bad value here"):
        await client.runs.wait(thread_id, "failing", input={})


async def test_error_document_when_nothing_is_raised(client: LangGraphClient, thread_id: str) -> None:
    result = await client.runs.wait(thread_id, "failing", input={"message": "no"}, raise_error=False)
    assert result == {"__error__": {"error": "ValueError", "message": "no"}}


async def test_error_marks_run_and_thread_and_the_task(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "failing", input={}, raise_error=False)
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "error"
    assert thread["error"] == {"error": "ValueError", "message": "bad value here"}
    assert [run["status"] for run in await client.runs.list(thread_id)] == ["error"]
    state = await client.threads.get_state(thread_id)
    assert state["next"] == ["fail"]
    assert state["tasks"][0]["error"] == "ValueError('bad value here')"


async def test_internal_error_shows_its_class_and_no_text(client: LangGraphClient, thread_id: str) -> None:
    failing = {"error": "OSError", "message": "/etc/secret"}
    result = await client.runs.wait(thread_id, "failing", input=failing, raise_error=False)
    assert result == {"__error__": {"error": "OSError", "message": "An internal error occurred"}}


async def test_thread_in_error_can_be_used_again(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "failing", input={}, raise_error=False)
    assert (await client.runs.wait(thread_id, "echo", input={"text": "hi"}))["answer"] == "echo: hi"
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["error"]) == ("idle", None)


async def test_run_creates_its_thread_when_asked(client: LangGraphClient) -> None:
    thread_id = "0195f000-0000-7000-8000-00000000e2e1"
    with pytest.raises(NotFoundError):
        await client.runs.create(thread_id, "echo", input={"text": "hi"})
    await client.runs.wait(thread_id, "echo", input={"text": "hi"}, if_not_exists="create")
    assert (await client.threads.get(thread_id))["values"]["answer"] == "echo: hi"


async def test_delayed_run_starts_later(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "echo", input={"text": "hi"}, after_seconds=1)
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "pending"
    assert (await client.threads.get(thread_id))["status"] == "busy"
    assert (await client.runs.join(thread_id, run["run_id"]))["answer"] == "echo: hi"


async def test_unknown_graph_is_refused_with_the_known_ones(client: LangGraphClient, thread_id: str) -> None:
    with pytest.raises(UnprocessableEntityError, match="Invalid assistant: 'nope'") as raised:
        await client.runs.create(thread_id, "nope", input={})
    assert "task_maistro" in str(raised.value)


async def test_input_on_an_empty_thread_is_required(client: LangGraphClient, thread_id: str) -> None:
    result = await client.runs.wait(thread_id, "echo", input=None, raise_error=False)
    assert result["__error__"]["error"] == "EmptyInputError"


async def test_exit_durability_leaves_one_checkpoint(client: LangGraphClient) -> None:
    counts = {}
    for durability in ("sync", "async", "exit"):
        thread = await client.threads.create()
        await client.runs.wait(thread["thread_id"], "nested", input={"log": []}, durability=durability)
        counts[durability] = len(await client.threads.get_history(thread["thread_id"]))
    assert counts == {"sync": 4, "async": 4, "exit": 1}


async def test_state_is_not_updated_under_a_running_run(client: LangGraphClient, thread_id: str, gate: Gate) -> None:
    run = await client.runs.create(thread_id, "gated", input=gate.input("A"))
    await run_has(client, run, "running")
    with pytest.raises(ConflictError):
        await client.threads.update_state(thread_id, {"name": "B"})
    gate.open()
    await client.runs.join(thread_id, run["run_id"])


async def test_context_and_configurable_together_are_refused(client: LangGraphClient, thread_id: str) -> None:
    with pytest.raises(BadRequestError):
        await client.runs.create(thread_id, "echo", input={}, config={"configurable": {"a": 1}}, context={"a": 1})
