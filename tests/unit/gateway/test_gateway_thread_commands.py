"""The thread-streaming protocol over HTTP: commands."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from threadmill_chassis.errors import DomainError
from threadmill_gateway.thread_protocol import commands
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from .gateway_script import (
    ASSISTANT_ID,
    CHECKPOINT_ID,
    RUN_ID,
    THREAD_ID,
    Script,
    run_row,
    thread_row,
)
from .reasons import reason

COMMANDS = f"/threads/{THREAD_ID}/commands"
BUSY_TEXT = "409: Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
# What each run of this protocol has in its config.
OWN = {"__event_streaming_v2": True, "thread_id": THREAD_ID}
OTHER_RUN_ID = "01a20214-0000-7000-8000-00000000000f"


async def send(client: httpx.AsyncClient, method: str, params: Any = None, thread_id: str = THREAD_ID) -> Any:
    """The answer to a command."""
    body = {"id": 7, "method": method, "params": params}
    response = await client.post(f"/threads/{thread_id}/commands", json=body)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    answer = response.json()
    assert answer.pop("id") == 7
    return answer


def success(seq: int = 0, **result: Any) -> dict[str, Any]:
    return {"type": "success", "result": result, "meta": {"applied_through_seq": seq}}


def error(code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": code, "message": message}


def invalid(message: str) -> dict[str, Any]:
    return error("invalid_argument", message)


NO_RUN = error("no_such_run", "No active run is bound to this thread.")
NO_COMMAND = "Protocol commands must include an integer id and string method."
UNFIT = [
    (b"[]", None),
    (b'"a"', None),
    (b"null", None),
    (b"{}", None),
    (b'{"id":1}', 1),
    (b'{"method":"agent.getTree"}', None),
    (b'{"id":"1","method":"agent.getTree"}', "1"),
    (b'{"id":1.5,"method":"agent.getTree"}', 1.5),
    (b'{"id":1.0,"method":"agent.getTree"}', 1.0),
    (b'{"id":null,"method":"agent.getTree"}', None),
    (b'{"id":99999999999999999999,"method":"agent.getTree"}', 1e20),
    (b'{"id":2,"method":5}', 2),
    (b'{"id":[{}],"method":"agent.getTree"}', [{}]),
]


@pytest.mark.parametrize(("body", "echoed"), UNFIT)
async def test_what_is_no_command_is_400_and_echoes_its_id(client: httpx.AsyncClient, body: bytes, echoed: Any) -> None:
    response = await client.post(COMMANDS, content=body)
    assert response.status_code == 400
    assert response.json() == {"type": "error", "id": echoed, "error": "invalid_argument", "message": NO_COMMAND}


@pytest.mark.parametrize("body", [b"", b"{x", b"\xff"])
async def test_a_command_that_is_no_json_is_400(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post(COMMANDS, content=body)
    assert (response.status_code, response.json()) == (400, {"detail": "Invalid JSON body"})


@pytest.mark.parametrize("command_id", [-5, 0, True, 2**63 - 1])
async def test_any_integer_is_an_id(client: httpx.AsyncClient, command_id: int) -> None:
    body = orjson.dumps({"id": command_id, "method": "agent.getTree"})
    response = await client.post(COMMANDS, content=body, headers={"content-type": "text/plain"})
    assert (response.status_code, response.json()) == (200, {"id": command_id, **NO_RUN})


@pytest.mark.parametrize(
    "method",
    ["", "RUN.START", "run.cancel", "input.inject", "state.get", "state.fork", "state.listCheckpoints", "bogus"],
)
async def test_other_commands_are_unknown(client: httpx.AsyncClient, method: str) -> None:
    assert await send(client, method, {}) == error("unknown_command", f"Unknown protocol command: {method}")


CHANNELS_MISSING = invalid("subscription.subscribe requires a non-empty channels array.")
ID_MISSING = invalid("subscription.unsubscribe requires a subscription_id.")
SUBSCRIBING = [
    ("subscription.subscribe", None, CHANNELS_MISSING),
    ("subscription.subscribe", {}, CHANNELS_MISSING),
    ("subscription.subscribe", {"channels": []}, CHANNELS_MISSING),
    ("subscription.subscribe", {"channels": "values"}, CHANNELS_MISSING),
    (
        "subscription.subscribe",
        {"channels": ["bogus"]},
        invalid("subscription.subscribe received an unsupported channel."),
    ),
    ("subscription.unsubscribe", None, ID_MISSING),
    ("subscription.unsubscribe", {"subscription_id": 5}, ID_MISSING),
    ("subscription.unsubscribe", {"subscription_id": ""}, ID_MISSING),
    (
        "subscription.unsubscribe",
        {"subscription_id": "x"},
        error("no_such_subscription", "Unknown subscription: x"),
    ),
    ("subscription.reconnect", None, NO_RUN),
    ("subscription.reconnect", {"channels": ["values"], "since": 3}, NO_RUN),
    ("agent.getTree", {"x": 1}, NO_RUN),
    ("agent.getTree", "junk", NO_RUN),
]


@pytest.mark.parametrize(("method", "params", "answer"), SUBSCRIBING)
async def test_what_needs_a_connection_says_so(
    client: httpx.AsyncClient, script: Script, method: str, params: Any, answer: Any
) -> None:
    for thread_id in (THREAD_ID, "abc"):
        assert await send(client, method, params, thread_id) == answer
    assert script.asked == []


@pytest.mark.parametrize("more", [{}, {"namespaces": "x", "depth": "y", "since": 4}])
async def test_a_subscription_over_http_is_only_checked(client: httpx.AsyncClient, more: dict[str, Any]) -> None:
    answer = await send(client, "subscription.subscribe", {"channels": ["values"], **more})
    assert answer["result"].pop("subscription_id")
    assert answer == success(replayed_events=0)


# --- run.start

IDLE = thread_row()
PAUSED = thread_row(
    state=threads_pb2.THREAD_STATE_INTERRUPTED,
    interrupts_json=b'{"t1":[{"id":"i1","value":"one?"}],"t2":[{"id":"i2","value":"two?"}]}',
)
BUSY = thread_row(state=threads_pb2.THREAD_STATE_BUSY)
# Busy, and still with the interrupts of the run before.
BUSY_PAUSED = thread_row(state=threads_pb2.THREAD_STATE_BUSY, interrupts_json=PAUSED.interrupts_json)
ABSENT = reason("THREAD_NOT_FOUND", "Thread not found")


@pytest.fixture
def ready(script: Script) -> Script:
    """Services on which a run can be started: the thread is idle, and has had seven events."""
    script.on(CreateRun=run_row(), GetThread=IDLE, GetThreadPosition=runs_pb2.ThreadPosition(seq=7))
    return script


def created(script: Script) -> runs_pb2.CreateRunRequest:
    """The run that was created."""
    request: runs_pb2.CreateRunRequest = script.last("CreateRun")
    assert request.thread_id == THREAD_ID
    return request


async def start(client: httpx.AsyncClient, **params: Any) -> Any:
    return await send(client, "run.start", {"assistant_id": "steps", **params})


async def test_a_run_is_started_and_its_events_are_for_this_protocol(client: httpx.AsyncClient, ready: Script) -> None:
    answer = await start(
        client,
        input={"n": 1},
        config={"tags": ["t"], "recursion_limit": 7, "configurable": {"a": 1}},
        metadata={"m": "n"},
    )
    assert answer == success(7, run_id=RUN_ID)
    request = created(ready)
    assert request.assistant_id == "steps"
    assert orjson.loads(request.input_json) == {"n": 1}
    assert request.command_json == b""
    assert orjson.loads(request.config_json) == {
        "tags": ["t"],
        "recursion_limit": 7,
        "configurable": {"a": 1, **OWN},
    }
    assert orjson.loads(request.metadata_json) == {"m": "n"}
    assert set(request.stream_modes) == {
        "values", "updates", "messages", "tools", "lifecycle", "custom", "tasks", "checkpoints",
    }  # fmt: skip
    assert request.stream_subgraphs
    assert request.stream_resumable
    assert request.create_thread_if_missing
    assert request.multitask_strategy == runs_pb2.MULTITASK_STRATEGY_ENQUEUE
    assert request.run_id
    assert request.checkpoint_json == b""


async def test_the_position_is_asked_for_before_the_run_is_created(client: httpx.AsyncClient, ready: Script) -> None:
    await start(client, input={"n": 1})
    assert ready.names() == ["GetThread", "GetThreadPosition", "CreateRun"]


async def test_a_run_is_started_on_a_thread_that_there_is_not_yet(client: httpx.AsyncClient, ready: Script) -> None:
    ready.on(GetThread=ABSENT, GetThreadPosition=runs_pb2.ThreadPosition())
    assert await start(client, input={}) == success(0, run_id=RUN_ID)
    assert orjson.loads(created(ready).input_json) == {}


async def test_other_parameters_of_a_run_are_not_for_this_protocol(client: httpx.AsyncClient, ready: Script) -> None:
    await start(client, input={"n": 1})
    plain = created(ready)
    await start(
        client,
        input={"n": 1},
        stream_mode="custom",
        interrupt_before=["a"],
        webhook="http://example.com",
        context={"a": 1},
        command={"resume": 1},
        durability="exit",
        after_seconds=60,
        feedback_keys=["a"],
        if_not_exists="reject",
        checkpoint_id=CHECKPOINT_ID,
    )
    strange = created(ready)
    for request in (plain, strange):
        request.ClearField("run_id")
        request.ClearField("request_id")
    assert strange == plain


async def test_a_config_may_not_change_what_is_the_protocols(client: httpx.AsyncClient, ready: Script) -> None:
    await start(client, config={"configurable": {"__event_streaming_v2": False, "thread_id": OTHER_RUN_ID}})
    assert orjson.loads(created(ready).config_json)["configurable"] == OWN


STRATEGIES = [
    ({"multitaskStrategy": "reject"}, "REJECT"),
    ({"multitaskStrategy": "interrupt"}, "INTERRUPT"),
    ({"multitaskStrategy": "rollback"}, "ROLLBACK"),
    ({"multitaskStrategy": "enqueue"}, "ENQUEUE"),
    ({"multitask_strategy": "interrupt"}, "INTERRUPT"),
    ({"multitaskStrategy": "reject", "multitask_strategy": "interrupt"}, "REJECT"),
    ({"multitaskStrategy": "zzz", "multitask_strategy": "interrupt"}, "INTERRUPT"),
    ({"multitaskStrategy": "zzz"}, "ENQUEUE"),
    ({"multitaskStrategy": None}, "ENQUEUE"),
]


@pytest.mark.parametrize(("params", "strategy"), STRATEGIES)
async def test_either_spelling_of_the_strategy_counts(
    client: httpx.AsyncClient, ready: Script, params: dict[str, Any], strategy: str
) -> None:
    await start(client, input={}, **params)
    found = runs_pb2.MultitaskStrategy.Name(created(ready).multitask_strategy)
    assert found == f"MULTITASK_STRATEGY_{strategy}"


@pytest.mark.parametrize("strategy", [["reject"], {"a": 1}])
async def test_a_strategy_that_is_no_text_counts_as_none(
    client: httpx.AsyncClient, ready: Script, strategy: Any
) -> None:
    assert (await start(client, input={}, multitaskStrategy=strategy))["type"] == "success"
    assert created(ready).multitask_strategy == runs_pb2.MULTITASK_STRATEGY_ENQUEUE


async def test_a_run_forks_from_a_checkpoint(client: httpx.AsyncClient, ready: Script) -> None:
    await start(client, input=None, config={"configurable": {"checkpoint_id": CHECKPOINT_ID}})
    configurable = orjson.loads(created(ready).config_json)["configurable"]
    assert configurable == {"checkpoint_id": CHECKPOINT_ID, **OWN}


async def test_a_run_says_where_its_traces_go(client: httpx.AsyncClient, ready: Script) -> None:
    tracer = {"project_name": "p", "example_id": "e"}
    await start(client, input={}, langsmith_tracer=tracer)
    found = orjson.loads(created(ready).header_configurable_json)
    assert found == {"__langsmith_project__": "p", "__langsmith_example_id__": "e"}


@pytest.mark.parametrize("given", [{"n": 7}, "yes", 0, False, "", []])
async def test_input_for_a_paused_thread_is_its_answer(client: httpx.AsyncClient, ready: Script, given: Any) -> None:
    ready.on(GetThread=PAUSED)
    assert await start(client, input=given) == success(7, run_id=RUN_ID)
    assert orjson.loads(created(ready).command_json) == {"resume": given}
    assert created(ready).input_json == b""


@pytest.mark.parametrize("params", [{}, {"input": None}])
async def test_a_paused_thread_without_input_runs_again_from_its_checkpoint(
    client: httpx.AsyncClient, ready: Script, params: dict[str, Any]
) -> None:
    ready.on(GetThread=PAUSED)
    await start(client, **params)
    assert (created(ready).input_json, created(ready).command_json) == (b"", b"")
    assert "GetThread" not in ready.names()


async def test_a_breakpoint_is_no_question_that_input_could_answer(client: httpx.AsyncClient, ready: Script) -> None:
    ready.on(GetThread=thread_row(state=threads_pb2.THREAD_STATE_INTERRUPTED, interrupts_json=b'{"t1":[]}'))
    await start(client, input={"n": 1})
    assert orjson.loads(created(ready).input_json) == {"n": 1}


NO_ASSISTANT = invalid("run.start requires an assistant_id.")
BAD_STARTS: list[tuple[Any, dict[str, Any]]] = [
    (None, NO_ASSISTANT),
    ("x", NO_ASSISTANT),
    ({}, NO_ASSISTANT),
    ({"assistant_id": 5}, NO_ASSISTANT),
    ({"assistant_id": ""}, NO_ASSISTANT),
    (
        {"config": {"configurable": {"checkpoint_id": "zz"}}},
        invalid("Invalid config.configurable.checkpoint_id: 'zz'."),
    ),
    *(
        (
            {"config": {"configurable": {"checkpoint_id": bad}}},
            invalid("config.configurable.checkpoint_id must be a non-empty string."),
        )
        for bad in (5, "", None)
    ),
    ({"langsmith_tracer": "x"}, invalid("langsmith_tracer must be an object.")),
    ({"langsmith_tracer": {"foo": "x"}}, invalid("langsmith_tracer has unsupported fields: ['foo'].")),
    ({"langsmith_tracer": {"project_name": 3}}, invalid("langsmith_tracer.project_name must be a string.")),
    ({"langsmith_tracer": {"example_id": 3}}, invalid("langsmith_tracer.example_id must be a string.")),
    ({"config": "x"}, invalid("config: must be a JSON object")),
    ({"config": {"configurable": "x"}}, invalid("config.configurable: must be a JSON object")),
    ({"metadata": "y"}, invalid("metadata: must be a JSON object")),
    ({"metadata": [1]}, invalid("metadata: must be a JSON object")),
]


@pytest.mark.parametrize(("params", "answer"), BAD_STARTS)
async def test_a_start_that_makes_no_sense_creates_nothing(
    client: httpx.AsyncClient, ready: Script, params: Any, answer: dict[str, Any]
) -> None:
    if isinstance(params, dict) and params and "assistant_id" not in params:
        params = {"assistant_id": "steps", "input": {}, **params}
    assert await send(client, "run.start", params) == answer
    assert "CreateRun" not in ready.names()


async def test_a_config_with_a_wrong_type_is_refused(client: httpx.AsyncClient, ready: Script) -> None:
    answer = await start(client, input={}, config={"recursion_limit": "abc"})
    assert answer["error"] == "invalid_argument"
    assert "recursion_limit" in answer["message"]


@pytest.mark.parametrize("thread_id", ["abc", "not%20uuid"])
async def test_a_run_on_what_is_no_uuid_is_an_error(client: httpx.AsyncClient, ready: Script, thread_id: str) -> None:
    answer = await send(client, "run.start", {"assistant_id": "steps", "input": {}}, thread_id)
    assert answer == error("unknown_error", "422: Invalid thread ID")
    assert ready.asked == []


async def test_a_thread_of_a_command_may_be_spelled_in_capitals(client: httpx.AsyncClient, ready: Script) -> None:
    await send(client, "run.start", {"assistant_id": "steps", "input": {}}, THREAD_ID.upper())
    assert created(ready).thread_id == ready.last("GetThread").thread_id == THREAD_ID


REFUSED = [
    (reason("INVALID_ASSISTANT", "Invalid assistant: 'nope'."), "422: Invalid assistant: 'nope'."),
    (reason("ASSISTANT_NOT_FOUND"), "404: Thread or assistant not found."),
    (reason("THREAD_BUSY"), BUSY_TEXT),
    (reason("INVALID_ARGUMENT", "input_json: too large"), "422: input_json: too large"),
    (RuntimeError("a secret of ours"), "500: Internal Server Error"),
]


@pytest.mark.parametrize(("refusal", "message"), REFUSED)
async def test_a_refused_run_tells_status_and_text(
    client: httpx.AsyncClient, ready: Script, refusal: Exception, message: str
) -> None:
    ready.on(CreateRun=refusal)
    assert await start(client, input={}) == error("unknown_error", message)


@pytest.mark.parametrize("method", ["GetThread", "CreateRun"])
async def test_a_service_that_is_away_is_told(client: httpx.AsyncClient, ready: Script, method: str) -> None:
    ready.on(**{method: reason("UNAVAILABLE")})
    assert await start(client, input={}) == error("unknown_error", "503: Service Unavailable")


async def test_a_position_that_fails_otherwise_is_told(client: httpx.AsyncClient, ready: Script) -> None:
    ready.on(GetThreadPosition=RuntimeError("broken"))
    assert await start(client, input={}) == error("unknown_error", "500: Internal Server Error")
    assert "CreateRun" not in ready.names()


# --- a thread on which a run is under way


class Under:
    """A thread on which a run is under way until `end` is called, after which it is `then`."""

    def __init__(self, script: Script, then: threads_pb2.Thread, during: threads_pb2.Thread = BUSY) -> None:
        self._ended = asyncio.Event()
        self.awaited = asyncio.Event()
        self._then = then
        self._during = during
        script.on(GetThread=self._thread, ListRuns=self._runs, WaitRun=self._wait)

    def end(self) -> None:
        self._ended.set()

    def _thread(self, _: Any) -> threads_pb2.Thread:
        return self._then if self._ended.is_set() else self._during

    def _runs(self, request: runs_pb2.ListRunsRequest) -> runs_pb2.ListRunsResponse:
        assert request.thread_id == THREAD_ID
        running = request.state == runs_pb2.RUN_STATE_RUNNING and not self._ended.is_set()
        return runs_pb2.ListRunsResponse(runs=[run_row(run_id=OTHER_RUN_ID)] if running else [])

    async def _wait(self, request: runs_pb2.WaitRunRequest) -> AsyncIterator[runs_pb2.WaitRunResponse]:
        assert request.run == runs_pb2.RunRef(thread_id=THREAD_ID, run_id=OTHER_RUN_ID)
        yield runs_pb2.WaitRunResponse(run=run_row())
        self.awaited.set()
        await self._ended.wait()
        yield runs_pb2.WaitRunResponse(outcome=runs_pb2.WaitRunResponse.Outcome(body_json=b"{}"))


async def after_the_end(under: Under, command: Any) -> Any:
    """The answer to a command, which has to wait until the run under way ends."""
    task = asyncio.create_task(command)
    async with asyncio.timeout(5):
        await under.awaited.wait()
        under.end()
        return await task


async def test_a_start_with_input_waits_for_the_run_that_may_ask(client: httpx.AsyncClient, ready: Script) -> None:
    under = Under(ready, then=PAUSED)
    await after_the_end(under, start(client, input="yes", multitaskStrategy="reject"))
    assert orjson.loads(created(ready).command_json) == {"resume": "yes"}
    assert ready.names().count("CreateRun") == 1


async def test_a_start_that_waited_for_a_plain_end_gives_its_input(client: httpx.AsyncClient, ready: Script) -> None:
    await after_the_end(Under(ready, then=IDLE), start(client, input={"n": 1}))
    assert orjson.loads(created(ready).input_json) == {"n": 1}


@pytest.mark.parametrize(
    "params", [{"input": None}, {"multitaskStrategy": "interrupt"}, {"multitask_strategy": "rollback"}]
)
async def test_a_start_that_need_not_wait_does_not(
    client: httpx.AsyncClient, ready: Script, params: dict[str, Any]
) -> None:
    Under(ready, then=PAUSED, during=BUSY_PAUSED)
    async with asyncio.timeout(5):
        assert (await start(client, **{"input": {"n": 1}, **params}))["type"] == "success"
    assert created(ready).command_json == b""
    assert "WaitRun" not in ready.names()


async def test_a_start_waits_only_so_long(
    client: httpx.AsyncClient, ready: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the strategy decides; what the run before had asked is not answered by this input."""
    monkeypatch.setattr(commands, "SETTLE_SECONDS", 0.1)
    Under(ready, then=PAUSED, during=BUSY_PAUSED)
    ready.on(CreateRun=reason("THREAD_BUSY"))
    answer = await start(client, input={"n": 1}, multitaskStrategy="reject")
    assert answer == error("unknown_error", BUSY_TEXT)
    assert created(ready).command_json == b""


async def test_a_start_waits_for_a_pending_run_too(client: httpx.AsyncClient, ready: Script) -> None:
    under = Under(ready, then=IDLE)
    states: list[int] = []

    def runs(request: runs_pb2.ListRunsRequest) -> runs_pb2.ListRunsResponse:
        states.append(request.state)
        pending = request.state == runs_pb2.RUN_STATE_PENDING
        return runs_pb2.ListRunsResponse(runs=[run_row(run_id=OTHER_RUN_ID)] if pending else [])

    ready.on(ListRuns=runs)
    await after_the_end(under, start(client, input={"n": 1}))
    assert states[:2] == [runs_pb2.RUN_STATE_RUNNING, runs_pb2.RUN_STATE_PENDING]


async def test_a_thread_that_shows_the_end_of_its_run_late_is_asked_again(
    client: httpx.AsyncClient, ready: Script
) -> None:
    rows = iter([BUSY, BUSY, PAUSED])
    ready.on(GetThread=lambda _: next(rows), ListRuns=runs_pb2.ListRunsResponse())
    await start(client, input="yes")
    assert orjson.loads(created(ready).command_json) == {"resume": "yes"}


async def test_a_run_that_vanishes_while_it_is_waited_for_has_ended(client: httpx.AsyncClient, ready: Script) -> None:
    rows = iter([BUSY, IDLE])
    active = runs_pb2.ListRunsResponse(runs=[run_row(run_id=OTHER_RUN_ID)])
    ready.on(GetThread=lambda _: next(rows), ListRuns=active, WaitRun=reason("RUN_NOT_FOUND"))
    assert (await start(client, input={}))["type"] == "success"


async def test_a_wait_that_fails_is_told(client: httpx.AsyncClient, ready: Script) -> None:
    active = runs_pb2.ListRunsResponse(runs=[run_row(run_id=OTHER_RUN_ID)])
    ready.on(GetThread=BUSY, ListRuns=active, WaitRun=RuntimeError("broken"))
    assert await start(client, input={}) == error("unknown_error", "500: Internal Server Error")


# --- input.respond


@pytest.fixture
def paused(ready: Script) -> Script:
    """The same, of a thread that asks `i1` and `i2`."""
    ready.on(GetThread=PAUSED)
    return ready


async def respond(client: httpx.AsyncClient, **params: Any) -> Any:
    return await send(client, "input.respond", params)


async def test_an_answer_goes_on_with_the_run(client: httpx.AsyncClient, paused: Script) -> None:
    answer = await respond(client, interrupt_id="i1", namespace=["any:1"], response={"a": 1})
    assert answer == success()
    request = created(paused)
    assert orjson.loads(request.command_json) == {"resume": {"i1": {"a": 1}}}
    assert request.assistant_id == "a", "as the thread's metadata tell"
    assert request.multitask_strategy == runs_pb2.MULTITASK_STRATEGY_REJECT
    assert not request.create_thread_if_missing
    assert orjson.loads(request.config_json) == {"configurable": OWN}
    assert (request.stream_resumable, request.stream_subgraphs, request.input_json) == (True, True, b"")


@pytest.mark.parametrize("params", [{}, {"response": None}])
async def test_no_response_is_null(client: httpx.AsyncClient, paused: Script, params: dict[str, Any]) -> None:
    await respond(client, interrupt_id="i1", **params)
    assert orjson.loads(created(paused).command_json) == {"resume": {"i1": None}}


async def test_many_answers_in_one_command(client: httpx.AsyncClient, paused: Script) -> None:
    answers = [{"interrupt_id": "i1", "response": 1}, {"interrupt_id": "i2", "response": 2, "namespace": ["c:1"]}]
    assert await respond(client, responses=answers) == success()
    assert orjson.loads(created(paused).command_json) == {"resume": {"i1": 1, "i2": 2}}


async def test_an_answer_with_all_that_may_come_with_it(client: httpx.AsyncClient, paused: Script) -> None:
    await respond(
        client,
        interrupt_id="i1",
        response="R",
        update={"n": 50},
        goto={"node": "b", "input": {"n": 1}},
        config={"tags": ["t"], "configurable": {"foo": "bar"}, "recursion_limit": 7},
        metadata={"mk": "mv"},
        strict_resume=True,
    )
    request = created(paused)
    assert orjson.loads(request.command_json) == {
        "resume": {"i1": "R"},
        "update": {"n": 50},
        "goto": {"node": "b", "input": {"n": 1}},
    }
    assert orjson.loads(request.config_json) == {
        "tags": ["t"],
        "recursion_limit": 7,
        "configurable": {"foo": "bar", **OWN},
    }
    assert orjson.loads(request.metadata_json) == {"mk": "mv"}


@pytest.mark.parametrize("update", ["junk", 5, None, {}, []])
async def test_an_update_that_is_none_is_left_out(client: httpx.AsyncClient, paused: Script, update: Any) -> None:
    assert await respond(client, interrupt_id="i1", update=update) == success()
    assert orjson.loads(created(paused).command_json) == {"resume": {"i1": None}}


async def test_an_update_as_pairs(client: httpx.AsyncClient, paused: Script) -> None:
    await respond(client, interrupt_id="i1", update=[["n", 50]], goto="b")
    command = orjson.loads(created(paused).command_json)
    assert command == {"resume": {"i1": None}, "update": [["n", 50]], "goto": "b"}


async def test_the_assistant_of_the_last_run_stands_in_for_the_threads(
    client: httpx.AsyncClient, paused: Script
) -> None:
    thread = thread_row(metadata_json=b'{"assistant_id":7}', interrupts_json=PAUSED.interrupts_json)
    paused.on(GetThread=thread, ListRuns=runs_pb2.ListRunsResponse(runs=[run_row()]))
    await respond(client, interrupt_id="i1")
    assert created(paused).assistant_id == ASSISTANT_ID
    assert paused.last("ListRuns").state == runs_pb2.RUN_STATE_UNSPECIFIED


async def test_a_paused_thread_that_no_assistant_ran_on_is_an_error(client: httpx.AsyncClient, paused: Script) -> None:
    thread = thread_row(metadata_json=b"{}", interrupts_json=PAUSED.interrupts_json)
    paused.on(GetThread=thread, ListRuns=runs_pb2.ListRunsResponse())
    answer = await respond(client, interrupt_id="i1")
    assert answer["type"] == "error"
    assert "CreateRun" not in paused.names()


UNNAMED = invalid("input.respond requires an interrupt_id.")
BAD_NAMESPACE = invalid("input.respond requires namespace to be a list of strings.")
BAD_ANSWERS: list[tuple[Any, dict[str, Any]]] = [
    (None, UNNAMED),
    ({}, UNNAMED),
    ({"interrupt_id": 3, "response": "x"}, UNNAMED),
    ({"interrupt_id": ""}, UNNAMED),
    ({"responses": "x"}, UNNAMED),
    ({"interrupt_id": "i1", "namespace": "x"}, BAD_NAMESPACE),
    ({"interrupt_id": "i1", "namespace": [1]}, BAD_NAMESPACE),
    ({"responses": []}, invalid("input.respond requires at least one response.")),
    ({"responses": ["a"]}, invalid("input.respond responses entries must be objects.")),
    ({"responses": [{"response": 1}]}, invalid("input.respond responses entries require an interrupt_id.")),
    ({"responses": [{"interrupt_id": "i1", "namespace": [1]}]}, BAD_NAMESPACE),
    (
        {"responses": [{"interrupt_id": "i1", "response": 1}, {"interrupt_id": "zz", "response": 2}]},
        error("no_such_interrupt", "Unknown or already-consumed interrupt: zz"),
    ),
    ({"interrupt_id": "nope"}, error("no_such_interrupt", "Unknown or already-consumed interrupt: nope")),
    ({"interrupt_id": "i1", "config": "x"}, invalid("config: must be a JSON object")),
    ({"interrupt_id": "i1", "metadata": [1]}, invalid("metadata: must be a JSON object")),
]


@pytest.mark.parametrize(("params", "answer"), BAD_ANSWERS)
async def test_an_answer_that_answers_nothing_creates_nothing(
    client: httpx.AsyncClient, paused: Script, params: Any, answer: dict[str, Any]
) -> None:
    assert await send(client, "input.respond", params) == answer
    assert "CreateRun" not in paused.names()


async def test_a_goto_that_is_none_is_refused(client: httpx.AsyncClient, paused: Script) -> None:
    answer = await respond(client, interrupt_id="i1", goto=5)
    assert answer["error"] == "invalid_argument"
    assert "goto" in answer["message"]


NOT_PAUSED = error("no_such_run", "No interrupted run is bound to this thread.")


async def test_an_answer_to_a_thread_that_there_is_not(client: httpx.AsyncClient, ready: Script) -> None:
    ready.on(GetThread=ABSENT)
    assert await respond(client, interrupt_id="i1") == NOT_PAUSED


async def test_an_answer_to_what_is_no_uuid(client: httpx.AsyncClient, ready: Script) -> None:
    assert await send(client, "input.respond", {"interrupt_id": "i1"}, "abc") == NOT_PAUSED
    assert ready.asked == []


async def test_an_answer_waits_for_the_run_that_asks(client: httpx.AsyncClient, ready: Script) -> None:
    """Clients hear of the question before its run has ended."""
    under = Under(ready, then=PAUSED)
    assert await after_the_end(under, respond(client, interrupt_id="i1", response=1)) == success()
    assert orjson.loads(created(ready).command_json) == {"resume": {"i1": 1}}


async def test_what_the_run_before_had_asked_cannot_be_answered_while_another_is_under_way(
    client: httpx.AsyncClient, ready: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "SETTLE_SECONDS", 0.1)
    Under(ready, then=PAUSED, during=BUSY_PAUSED)
    answer = await respond(client, interrupt_id="i1")
    assert answer == error("no_such_interrupt", "Unknown or already-consumed interrupt: i1")
    assert "CreateRun" not in ready.names()


def conflicts_then(*outcomes: runs_pb2.Run | DomainError) -> Any:
    """CreateRun, which answers with these in turn."""
    left = iter(outcomes)

    def create(_: runs_pb2.CreateRunRequest) -> runs_pb2.Run:
        outcome = next(left)
        if isinstance(outcome, DomainError):
            raise outcome
        return outcome

    return create


BUSY_NOW = reason("THREAD_BUSY")


async def test_an_answer_is_tried_again_when_the_run_that_asks_has_not_quite_ended(
    client: httpx.AsyncClient, paused: Script
) -> None:
    paused.on(CreateRun=conflicts_then(BUSY_NOW, run_row()), ListRuns=runs_pb2.ListRunsResponse())
    assert await respond(client, interrupt_id="i1") == success()
    assert paused.names().count("CreateRun") == 2


async def test_an_answer_that_somebody_else_has_just_given_is_told(client: httpx.AsyncClient, paused: Script) -> None:
    rows = iter([PAUSED, IDLE])
    paused.on(CreateRun=conflicts_then(BUSY_NOW), GetThread=lambda _: next(rows), ListRuns=runs_pb2.ListRunsResponse())
    answer = await respond(client, interrupt_id="i1")
    assert answer == error("no_such_interrupt", "Unknown or already-consumed interrupt: i1")


async def test_a_conflict_that_lasts_is_told(
    client: httpx.AsyncClient, paused: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "SETTLE_SECONDS", 0.1)
    paused.on(CreateRun=BUSY_NOW, ListRuns=runs_pb2.ListRunsResponse())
    answer = await respond(client, interrupt_id="i1")
    assert answer == error("unknown_error", BUSY_TEXT)


async def test_other_refusals_of_an_answer_are_told_at_once(client: httpx.AsyncClient, paused: Script) -> None:
    paused.on(CreateRun=reason("INVALID_ASSISTANT", "Invalid assistant: 'a'."))
    assert await respond(client, interrupt_id="i1") == error("unknown_error", "422: Invalid assistant: 'a'.")
    assert paused.names().count("CreateRun") == 1
