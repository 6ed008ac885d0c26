"""Thread streaming: through the SDK's `client.threads.stream` over both transports, and byte by byte."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import Stack
from websockets.asyncio.client import connect

from .conftest import HEARTBEAT_SECONDS
from .driving import Document, Gate, SentEvent, collect, run_has, sent_events, thread_has, until

CHANNELS = ["values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints"]
Open = Callable[..., Any]


@pytest.fixture(params=["sse", "websocket"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def session(client: LangGraphClient, transport: str) -> Open:
    """`session(assistant, thread_id)` opens a stream of a thread, by default of a new one."""

    def open_session(assistant_id: str, thread_id: str | None = None) -> Any:
        return client.threads.stream(thread_id, assistant_id=assistant_id, transport=transport)

    return open_session


async def pausing(thread: Any) -> list[Document]:
    """The questions that the thread asks, once it does."""
    await collect(thread.values)
    assert thread.interrupted
    return list(thread.interrupts)


def says(text: str, **more: Any) -> Document:
    return {"messages": [{"role": "user", "content": text}], **more}


# --- through the SDK


async def test_a_run_and_its_output(session: Open) -> None:
    async with session("two_steps") as thread:
        assert (await thread.run.start(input={"n": 1}))["run_id"]
        assert await thread.output == {"n": 3, "log": ["first", "second"]}


async def test_values_of_a_run(session: Open) -> None:
    async with session("two_steps") as thread:
        await thread.run.start(input={"n": 1})
        seen = [values["n"] for values in await collect(thread.values) if "n" in values]
    # Before them, the SDK gives the state that it has read meanwhile.
    assert seen[-3:] == [1, 2, 3]


async def test_tokens_of_a_run(session: Open) -> None:
    async with session("tokens") as thread:
        await thread.run.start(input=says("go", count=20, pause=0.005))
        (message,) = await collect(thread.messages)
        assert await collect(message.text) == [f"t{n} " for n in range(20)]
        output = await thread.output
    assert output["messages"][-1]["content"][0]["text"] == "".join(f"t{n} " for n in range(20))


async def test_tool_calls_of_a_run(session: Open) -> None:
    async with session("agent_calls") as thread:
        await thread.run.start(input=says("add"))
        (call,) = await collect(thread.tool_calls)
        assert (call.name, call.input) == ("add", {"a": 2, "b": 3})
        assert (await call.output)["content"] == "5"


async def test_subgraphs_of_a_run(session: Open) -> None:
    async with session("nested") as thread:
        await thread.run.start(input={"log": []})
        (child,) = await collect(thread.subgraphs)
        assert (child.graph_name, child.status) == ("child", "completed")


async def test_what_nodes_write_reaches_those_who_ask_for_its_name(session: Open) -> None:
    async with session("two_steps_progress") as thread:
        await thread.run.start(input={"n": 1})
        seen = await collect(thread.extensions["progress"])
    assert [event["payload"]["step"] for event in seen] == ["first", "second"]


async def test_several_projections_at_once(session: Open) -> None:
    async with session("two_steps_progress") as thread:
        await thread.run.start(input={"n": 1})
        seen = [name async for name, _ in thread.interleave_projections(["values", "updates", "progress"])]
    assert {"values", "updates", "progress"} <= set(seen)


async def test_raw_events_of_a_run(session: Open) -> None:
    async with session("two_steps") as thread:
        await thread.run.start(input={"n": 1})
        seen = []
        async for event in thread.events:
            if event["type"] != "event":  # the answer to the subscription, on a WebSocket
                continue
            seen.append(event)
            if event["params"]["data"] == {"event": "completed", "graph_name": "two_steps"}:
                break
    assert [event["method"] for event in seen] == ["lifecycle", "values", "values", "values", "lifecycle"]


async def test_a_failed_run(session: Open) -> None:
    async with session("failing") as thread:
        await thread.run.start(input={"message": "no such luck"})
        with pytest.raises(RuntimeError, match="no such luck"):
            await thread.output


async def test_an_unknown_assistant(session: Open) -> None:
    async with session("no-such-graph") as thread:
        with pytest.raises(RuntimeError, match=r"Protocol error \[unknown_error\]: 422"):
            await thread.run.start(input={})


async def test_an_interrupt_and_its_answer(session: Open) -> None:
    async with session("ask") as thread:
        await thread.run.start(input={"question": "ok?"})
        (asked,) = await pausing(thread)
        assert asked["namespace"] == []
        await thread.run.respond("yes")
        assert (await thread.output)["log"] == ["prepared", "answered yes", "finished"]


async def test_an_interrupt_in_a_subgraph_and_its_answer(session: Open) -> None:
    async with session("nested") as thread:
        await thread.run.start(input={"ask": True, "log": []})
        (asked,) = await pausing(thread)
        assert asked["namespace"][0].startswith("child:")
        await thread.run.respond("yes")
        assert (await thread.output)["log"][-1] == "inner yes"


async def test_two_interrupts_at_once_and_their_answers(session: Open, client: LangGraphClient, thread_id: str) -> None:
    async with session("choices", thread_id) as thread:
        await thread.run.start(input={"log": []})
        await pausing(thread)
        await thread_has(client, thread_id, "interrupted")

        async def both() -> list[Document] | None:
            return list(thread.interrupts) if len(thread.interrupts) == 2 else None

        await until(both)
        state = await client.threads.get_state(thread_id)
        questions = {interrupt["id"]: interrupt["value"] for task in state["tasks"] for interrupt in task["interrupts"]}
        for interrupt_id, question in questions.items():
            await thread.run.respond(question[:-1], interrupt_id=interrupt_id)
            await until(lambda answered=interrupt_id: is_answered(client, thread_id, answered))
    assert (await client.threads.get_state(thread_id))["values"]["log"] == ["left left", "right right"]


async def is_answered(client: LangGraphClient, thread_id: str, interrupt_id: str) -> bool:
    """Whether the thread has gone on, and come to a halt, with an answer to the interrupt."""
    thread = await client.threads.get(thread_id)
    pending = [interrupt["id"] for of_task in thread["interrupts"].values() for interrupt in of_task]
    return thread["status"] != "busy" and interrupt_id not in pending


async def test_a_paused_thread_is_taken_up_by_another_session(session: Open, thread_id: str) -> None:
    async with session("ask", thread_id) as thread:
        await thread.run.start(input={})
        await pausing(thread)
    async with session("ask", thread_id) as thread:

        async def asked() -> bool:
            return bool(thread.interrupts)

        await until(asked)
        await thread.run.respond("again")
        assert (await thread.output)["log"] == ["prepared", "answered again", "finished"]


async def test_a_running_thread_is_taken_up_from_the_start_of_its_run(
    session: Open, thread_id: str, gate: Gate
) -> None:
    async with session("two_steps", thread_id) as thread:
        await thread.run.start(input={"n": 1, "gate": str(gate.file)})
    async with session("two_steps", thread_id) as thread:
        seen: list[Document] = []
        async for values in thread.values:
            seen.append(values)
            gate.open()
        assert seen[-1]["n"] == 3
        assert (await thread.output)["n"] == 3


async def test_a_finished_thread_is_taken_up(session: Open, thread_id: str) -> None:
    async with session("two_steps", thread_id) as thread:
        await thread.run.start(input={"n": 1})
        await thread.output
    async with session("two_steps", thread_id) as thread:
        assert (await thread.output)["n"] == 3


async def test_the_second_session_of_a_thread_sees_its_own_run(session: Open, thread_id: str, gate: Gate) -> None:
    async with session("two_steps", thread_id) as thread:
        await thread.run.start(input={"n": 1})
        await thread.output
    async with session("two_steps", thread_id) as thread:
        await thread.run.start(input={"n": 100, "gate": str(gate.file)})
        seen: list[int] = []
        async for values in thread.values:
            seen.append(values["n"])
            gate.open()
        assert seen[-1] == 102
        assert (await thread.output)["n"] == 102


async def test_two_sessions_of_one_thread_see_the_same_run(session: Open, thread_id: str, gate: Gate) -> None:
    async with session("two_steps", thread_id) as one:
        await one.run.start(input={"n": 1, "gate": str(gate.file)})
        async with session("two_steps", thread_id) as other:
            reading = [asyncio.create_task(collect(each.values)) for each in (one, other)]
            gate.open()
            first, second = await asyncio.gather(*reading)
    assert first[-1] == second[-1]
    assert first[-1]["n"] == 3


async def test_several_turns_in_one_session(session: Open) -> None:
    async with session("two_steps") as thread:
        for n in (1, 100, 200):
            await thread.run.start(input={"n": n})
            seen = [values["n"] for values in await collect(thread.values) if "n" in values]
            assert seen[-1] == n + 2


# --- byte by byte


async def send(http: httpx.AsyncClient, thread_id: str, method: str, **params: Any) -> Document:
    """The result of a command."""
    body = {"id": 1, "method": method, "params": params}
    answer = (await http.post(f"/threads/{thread_id}/commands", json=body)).json()
    assert (answer["type"], answer["id"]) == ("success", 1), answer
    result: Document = answer["result"]
    return result


async def start(http: httpx.AsyncClient, thread_id: str, assistant_id: str, **params: Any) -> str:
    """The id of a new run."""
    result = await send(http, thread_id, "run.start", assistant_id=assistant_id, **params)
    return str(result["run_id"])


@asynccontextmanager
async def following(http: httpx.AsyncClient, thread_id: str, **body: Any) -> AsyncIterator[AsyncIterator[SentEvent]]:
    """The events of a thread, as they come."""
    asked = {"channels": CHANNELS, **body}
    async with asyncio.timeout(60), http.stream("POST", f"/threads/{thread_id}/stream/events", json=asked) as response:
        assert response.status_code == 200
        yield sent_events(response)


def said(event: SentEvent) -> str:
    """What an event tells, in a word: `running`, `values`, `completed`…"""
    data = event.data["params"]["data"]
    at_root = event.name == "lifecycle" and not event.data["params"]["namespace"]
    return str(data["event"]) if at_root else event.name


async def up_to(events: AsyncIterator[SentEvent], *words: str) -> list[SentEvent]:
    """Events up to the first that says one of the words."""
    seen = []
    async for event in events:
        assert event.data["type"] == "event", event
        seen.append(event)
        if said(event) in words:
            return seen
    raise AssertionError(f"the stream ended: {seen}")


async def replayed(http: httpx.AsyncClient, thread_id: str, count: int, **body: Any) -> list[SentEvent]:
    """The first so many events of a new stream."""
    async with following(http, thread_id, **body) as events:
        return [await anext(events) for _ in range(count)]


async def test_frames_of_a_plain_run_are_the_references(http: httpx.AsyncClient) -> None:
    """The stream is opened before there is a thread."""
    thread_id = str(uuid4())
    async with following(http, thread_id) as events:
        run_id = await start(http, thread_id, "two_steps", input={"n": 1})
        seen = await up_to(events, "completed")
    assert [event.name for event in seen] == ["lifecycle", "values", "values", "values", "lifecycle"]
    assert [event.id for event in seen] == ["1", "2", "3", "4", "5"]
    for event in seen:
        assert list(event.data) == ["type", "event_id", "seq", "method", "params"]
        assert list(event.data["params"]) == ["namespace", "timestamp", "data"]
        assert (event.data["method"], str(event.data["seq"])) == (event.name, event.id)
        assert event.data["params"]["namespace"] == []
    moments = [event.data["params"]["timestamp"] for event in seen[1:]]
    assert moments == sorted(moments)
    assert [event.data["params"]["data"] for event in seen] == [
        {"event": "running", "graph_name": "two_steps"},
        {"n": 1, "log": []},
        {"n": 2, "log": ["first"]},
        {"n": 3, "log": ["first", "second"]},
        {"event": "completed", "graph_name": "two_steps"},
    ]
    ids = [event.data["event_id"] for event in seen]
    assert (ids[0], ids[4]) == (f"synth:{run_id}:lc||running", f"synth:{run_id}:lc||completed")
    assert len(set(ids)) == 5


async def test_frames_of_a_subgraph_are_the_references(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as events:
        run_id = await start(http, thread_id, "nested", input={"log": []})
        seen = await up_to(events, "completed")
    child = next(event.data["params"]["namespace"] for event in seen if event.data["params"]["namespace"])
    (segment,) = child
    name, _, task_id = segment.partition(":")
    assert name == "child"
    assert [(said(event), event.data["params"]["namespace"]) for event in seen] == [
        ("running", []),
        ("values", []),
        ("values", []),
        ("values", child),
        ("lifecycle", child),
        ("values", child),
        ("lifecycle", child),
        ("values", []),
        ("completed", []),
    ]
    begin, end = (event.data for event in seen if event.name == "lifecycle" and event.data["params"]["namespace"])
    assert begin["params"]["data"] == {
        "event": "started",
        "namespace": child,
        "graph_name": "child",
        "trigger_call_id": task_id,
    }
    assert end["params"]["data"] == {"event": "completed", "graph_name": "child"}
    assert end["event_id"] == f"synth:{run_id}:lc|{segment}|completed"


async def test_frames_of_an_interrupt(http: httpx.AsyncClient, thread_id: str) -> None:
    """Those of the reference, except that the end comes last, as every end does: there, `values` come after it."""
    async with following(http, thread_id) as events:
        run_id = await start(http, thread_id, "ask", input={"question": "ok?"})
        seen = await up_to(events, "interrupted")
        (asked,) = (event.data for event in seen if event.name == "input.requested")
        assert list(asked["params"]["data"]) == ["interrupt_id", "payload"]
        assert asked["params"]["data"]["payload"] == {"question": "ok?"}
        interrupt_id = asked["params"]["data"]["interrupt_id"]
        assert asked["event_id"] == f"synth:{run_id}:input||{interrupt_id}"
        await send(http, thread_id, "input.respond", interrupt_id=interrupt_id, namespace=[], response="yes")
        seen += await up_to(events, "completed")
    assert [said(event) for event in seen] == [
        *("running", "values", "values", "input.requested", "values", "interrupted"),
        *("running", "values", "values", "values", "completed"),
    ]
    assert [event.id for event in seen] == [str(n) for n in range(1, 12)]
    assert seen[-2].data["params"]["data"]["log"] == ["prepared", "answered yes", "finished"]


async def test_what_is_replayed_is_what_was_seen_live(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as events:
        for n in (1, 100):
            await start(http, thread_id, "two_steps", input={"n": n})
            seen = await up_to(events, "completed")
    again = await replayed(http, thread_id, 10)
    assert [event.id for event in again] == [str(n) for n in range(1, 11)]
    assert [said(event) for event in again[5:]] == ["running", "values", "values", "values", "completed"]
    assert [(event.id, event.data["event_id"], event.data["params"]["data"]) for event in again[5:]] == [
        (event.id, event.data["event_id"], event.data["params"]["data"]) for event in seen
    ]
    assert [event.id for event in await replayed(http, thread_id, 3, since=7)] == ["8", "9", "10"]
    values = await replayed(http, thread_id, 3, channels=["values"], since=3)
    assert [event.id for event in values] == ["4", "7", "8"]


async def test_a_stream_that_was_cut_goes_on_after_its_number(
    http: httpx.AsyncClient, thread_id: str, gate: Gate
) -> None:
    await start(http, thread_id, "two_steps", input={"n": 1, "gate": str(gate.file)})
    seen = await replayed(http, thread_id, 3)
    async with following(http, thread_id, since=int(seen[-1].id or 0)) as events:
        gate.open()
        rest = await up_to(events, "completed")
    assert [event.id for event in seen + rest] == ["1", "2", "3", "4", "5"]


async def test_a_stream_shows_only_the_chosen_namespaces(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as events:
        await start(http, thread_id, "nested", input={"log": []})
        seen = await up_to(events, "completed")
    inside = [event.id for event in seen if event.data["params"]["namespace"]]
    outside = [event.id for event in seen if not event.data["params"]["namespace"]]
    chosen = await replayed(http, thread_id, len(inside), namespaces=[["child"]])
    assert [event.id for event in chosen] == inside
    chosen = await replayed(http, thread_id, len(outside), namespaces=[[]], depth=0)
    assert [event.id for event in chosen] == outside


async def test_a_silent_stream_beats(http: httpx.AsyncClient, thread_id: str) -> None:
    body = {"channels": ["values"]}
    async with (
        asyncio.timeout(HEARTBEAT_SECONDS * 20),
        http.stream("POST", f"/threads/{thread_id}/stream/events", json=body) as response,
    ):
        async for chunk in response.aiter_bytes():
            assert chunk == b": heartbeat\r\n\r\n"
            break


async def test_a_run_that_is_cancelled_while_it_waits_is_interrupted(
    client: LangGraphClient, http: httpx.AsyncClient, thread_id: str, gate: Gate
) -> None:
    """The reference is silent about it, and clients of such a run wait for ever."""
    await start(http, thread_id, "two_steps", input={"n": 1, "gate": str(gate.file)})
    async with following(http, thread_id, channels=["lifecycle"]) as events:
        await up_to(events, "running")
        pending = await start(http, thread_id, "two_steps", input=None)  # with input, it would first wait for the other
        await client.runs.cancel(thread_id, pending)
        (cancelled,) = await up_to(events, "interrupted")
        assert cancelled.data["event_id"] == f"synth:{pending}:lc||interrupted"
        gate.open()
        await up_to(events, "completed")


async def test_a_running_run_that_is_cancelled_is_interrupted(
    client: LangGraphClient, http: httpx.AsyncClient, thread_id: str, gate: Gate
) -> None:
    async with following(http, thread_id, channels=["lifecycle"]) as events:
        run_id = await start(http, thread_id, "two_steps", input={"n": 1, "gate": str(gate.file)})
        await up_to(events, "running")
        await client.runs.cancel(thread_id, run_id)
        (cancelled,) = await up_to(events, "interrupted", "completed", "failed")
    assert cancelled.data["event_id"] == f"synth:{run_id}:lc||interrupted"


async def test_a_failed_run_tells_why_also_later(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id, channels=["lifecycle"]) as events:
        await start(http, thread_id, "failing", input={"message": "no such luck"})
        failed = (await up_to(events, "failed"))[-1]
    told = {"event": "failed", "graph_name": "failing", "error": "no such luck"}
    assert failed.data["params"]["data"] == told
    again = await replayed(http, thread_id, 2, channels=["lifecycle"])
    assert again[-1].data["params"]["data"] == told


async def test_the_end_is_told_once_the_thread_shows_it(
    client: LangGraphClient, http: httpx.AsyncClient, thread_id: str
) -> None:
    async with following(http, thread_id) as events:
        for word, graph in (("completed", "two_steps"), ("interrupted", "ask"), ("completed", "two_steps")):
            run_id = await start(http, thread_id, graph, input={"n": 1} if graph == "two_steps" else {})
            await up_to(events, word)
            if word == "completed":
                assert (await client.runs.get(thread_id, run_id))["status"] == "success"
                assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_a_run_of_the_other_api_is_seen(http: httpx.AsyncClient, thread_id: str) -> None:
    """Messages of such a run are not those of this protocol, so they do not show."""
    body = {
        "assistant_id": "tokens",
        "input": says("go", count=3),
        "stream_mode": ["values", "messages-tuple", "updates"],
    }
    async with following(http, thread_id) as events:
        response = await http.post(f"/threads/{thread_id}/runs/stream", json=body)
        assert response.status_code == 200
        seen = await up_to(events, "completed")
    assert [said(event) for event in seen] == ["running", "values", "updates", "values", "completed"]
    assert "speak" in seen[2].data["params"]["data"]


async def test_a_run_of_the_other_api_is_replayed_if_it_can_be_resumed(http: httpx.AsyncClient, thread_id: str) -> None:
    for resumable in (False, True):
        body = {"assistant_id": "two_steps", "input": {"n": 1}, "stream_resumable": resumable}
        assert (await http.post(f"/threads/{thread_id}/runs/stream", json=body)).status_code == 200
    seen = await replayed(http, thread_id, 5)
    assert [said(event) for event in seen] == ["running", "values", "values", "values", "completed"]
    assert seen[1].data["params"]["data"] == {"n": 1, "log": ["first", "second"]}


async def test_a_run_of_this_protocol_is_one_of_the_other_api(
    client: LangGraphClient, http: httpx.AsyncClient, thread_id: str
) -> None:
    config = {"tags": ["t"], "configurable": {"mark": "!"}}
    run_id = await start(http, thread_id, "two_steps", input={"n": 1}, config=config, metadata={"m": "n"})
    assert (await http.get(f"/threads/{thread_id}/runs/{run_id}/join")).json() == {"n": 3, "log": ["first", "second"]}
    run = (await http.get(f"/threads/{thread_id}/runs/{run_id}")).json()
    assert (run["status"], run["multitask_strategy"], run["metadata"]["m"]) == ("success", "enqueue", "n")
    kwargs = run["kwargs"]
    assert kwargs["input"] == {"n": 1}
    assert kwargs["config"]["tags"] == ["t"]
    assert kwargs["config"]["configurable"]["mark"] == "!"
    assert kwargs["config"]["configurable"]["__event_streaming_v2"] is True
    assert (kwargs["subgraphs"], kwargs["resumable"]) == (True, True)
    assert {"values", "updates", "messages", "tools", "lifecycle", "custom", "tasks", "checkpoints"} <= set(
        kwargs["stream_mode"]
    )
    assert [each["run_id"] for each in await client.runs.list(thread_id)] == [run_id]


async def test_a_run_of_this_protocol_is_joined_while_it_runs(
    client: LangGraphClient, http: httpx.AsyncClient, thread_id: str, gate: Gate
) -> None:
    run_id = await start(http, thread_id, "two_steps", input={"n": 1, "gate": str(gate.file)})
    joining = asyncio.create_task(client.runs.join(thread_id, run_id))
    await run_has(client, {"thread_id": thread_id, "run_id": run_id}, "running")
    gate.open()
    assert (await joining)["log"] == ["first", "second"]


async def test_a_fork_runs_again_from_a_checkpoint(
    client: LangGraphClient, http: httpx.AsyncClient, thread_id: str
) -> None:
    async with following(http, thread_id) as events:
        await start(http, thread_id, "two_steps", input={"n": 1})
        await up_to(events, "completed")
        (before,) = [state for state in await client.threads.get_history(thread_id) if state["next"] == ["second"]]
        configurable = {"checkpoint_id": before["checkpoint"]["checkpoint_id"]}
        await start(http, thread_id, "two_steps", input=None, config={"configurable": configurable})
        seen = await up_to(events, "completed")
    assert [event.data["params"]["data"].get("log") for event in seen[1:-1]] == [["first"], ["first", "second"]]


async def test_input_for_a_paused_thread_is_its_answer(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as events:
        await start(http, thread_id, "ask", input={})
        await up_to(events, "interrupted")
        # At once: the run that asks has not ended yet.
        await start(http, thread_id, "ask", input="yes")
        seen = await up_to(events, "completed")
    assert seen[-2].data["params"]["data"]["log"] == ["prepared", "answered yes", "finished"]


async def test_both_transports_show_the_same_events(stack: Stack, http: httpx.AsyncClient, thread_id: str) -> None:
    url = f"ws{stack.url.removeprefix('http')}/threads/{thread_id}/stream/events"
    async with following(http, thread_id) as events, connect(url) as socket:
        subscribe = {"id": 1, "method": "subscription.subscribe", "params": {"channels": CHANNELS}}
        await socket.send(orjson.dumps(subscribe).decode())
        assert orjson.loads(await socket.recv())["result"]["replayed_events"] == 0
        await start(http, thread_id, "nested", input={"log": []})
        seen = await up_to(events, "completed")
        told = [orjson.loads(await socket.recv()) for _ in seen]
    assert told == [event.data for event in seen]


async def test_an_agent_protocol_client_streams_a_thread(http: httpx.AsyncClient, thread_id: str) -> None:
    await start(http, thread_id, "two_steps", input={"n": 1})
    async with http.stream("POST", f"/threads/{thread_id}/stream", json={"channels": ["lifecycle"]}) as response:
        seen = await up_to(sent_events(response), "completed")
    assert [said(event) for event in seen] == ["running", "completed"]
