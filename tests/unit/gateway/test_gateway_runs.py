"""Creating, listing and cancelling runs."""

from typing import Any

import httpx
import orjson
import pytest
from threadmill_protos.runs.v1 import runs_pb2

from .gateway_script import ASSISTANT_ID, CHECKPOINT_ID, RUN_ID, THREAD_ID, Script, run_row, thread_row
from .reasons import reason

RUNS = f"/threads/{THREAD_ID}/runs"
RUN = f"{RUNS}/{RUN_ID}"
MINIMAL = {"assistant_id": "steps"}
EVERYTHING: dict[str, Any] = {
    **MINIMAL,
    "input": {"n": 12345678901234567},
    "command": {"resume": "go", "goto": "b"},
    "config": {"tags": ["t"], "recursion_limit": 5, "other": 1, "metadata": {"run_id": "x", "m": 1}},
    "context": {"model": "m"},
    "metadata": {"a": 1, "thread_id": "x", "assistant_id": "x", "run_id": "x", "cron_id": "x"},
    "checkpoint": {"checkpoint_ns": "", "thread_id": THREAD_ID, "checkpoint_map": None},
    "checkpoint_id": CHECKPOINT_ID,
    "stream_mode": ["values", "updates", "values"],
    "stream_subgraphs": True,
    "stream_resumable": True,
    "interrupt_before": "*",
    "interrupt_after": ["a"],
    "multitask_strategy": "rollback",
    "if_not_exists": "create",
    "after_seconds": -1.5,
    "durability": "sync",
    "checkpoint_during": False,
    "webhook": "https://example.com/hook",
    "feedback_keys": ["k"],
    "langsmith_tracer": {"project_name": "p", "example_id": None},
}


async def test_every_field_reaches_the_runs_api(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateRun=run_row())
    headers = {"x-request-id": "req", "langsmith-trace": "t", "baggage": "langsmith-tags=a%2Cb, other=1"}
    response = await client.post(RUNS, json=EVERYTHING, headers=headers)
    assert response.status_code == 200
    asked = script.last("CreateRun")
    assert len(asked.run_id) == 36
    header_configurable = {"langsmith-trace": "t", "langsmith-tags": ["a", "b"], "__langsmith_project__": "p"}
    assert orjson.loads(asked.header_configurable_json) == header_configurable
    assert orjson.loads(asked.checkpoint_json) == {"checkpoint_ns": "", "checkpoint_id": CHECKPOINT_ID}
    assert orjson.loads(asked.config_json) == {**EVERYTHING["config"], "metadata": {"m": 1}}
    asked.ClearField("run_id")
    asked.ClearField("header_configurable_json")
    asked.ClearField("checkpoint_json")
    asked.ClearField("config_json")
    assert asked == runs_pb2.CreateRunRequest(
        thread_id=THREAD_ID,
        assistant_id="steps",
        input_json=b'{"n":12345678901234567}',
        command_json=b'{"resume":"go","goto":"b"}',
        context_json=b'{"model":"m"}',
        metadata_json=b'{"a":1}',
        stream_modes=["values", "updates"],
        stream_subgraphs=True,
        stream_resumable=True,
        interrupt_before_json=b'"*"',
        interrupt_after_json=b'["a"]',
        webhook="https://example.com/hook",
        feedback_keys=["k"],
        has_feedback_keys=True,
        multitask_strategy=runs_pb2.MULTITASK_STRATEGY_ROLLBACK,
        create_thread_if_missing=True,
        after_seconds=-1.5,
        durability="sync",
        request_id="req",
        checkpoint_during=False,
    )


async def test_defaults(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateRun=run_row())
    response = await client.post(RUNS, json=MINIMAL)
    assert response.headers["content-location"] == RUN
    asked = script.last("CreateRun")
    assert (asked.input_json, asked.command_json, asked.checkpoint_json) == (b"", b"", b"")
    assert (asked.config_json, asked.context_json, asked.metadata_json) == (b"{}", b"{}", b"{}")
    assert asked.multitask_strategy == runs_pb2.MULTITASK_STRATEGY_ENQUEUE
    assert not asked.HasField("checkpoint_during")


@pytest.mark.parametrize(
    ("given", "sent"), [("updates", ["updates"]), ([], []), ("messages-tuple", ["messages-tuple"])]
)
async def test_stream_mode_is_text_or_list(
    client: httpx.AsyncClient, script: Script, given: Any, sent: list[str]
) -> None:
    script.on(CreateRun=run_row())
    await client.post(RUNS, json={**MINIMAL, "stream_mode": given})
    assert list(script.last("CreateRun").stream_modes) == sent


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("assistant_id", None),
        ("assistant_id", ""),
        ("metadata", None),
        ("config", None),
        ("context", None),
        ("config", {"configurable": []}),
        ("config", {"recursion_limit": "5"}),
        ("config", {"tags": "t"}),
        ("command", []),
        ("command", {"goto": {"input": 1}}),
        ("command", {"goto": 5}),
        ("command", {"goto": ["a", {"node": 1}]}),
        ("command", {"update": 5}),
        ("command", {"update": ["n", 1]}),
        ("command", {"update": [["n", 1, 2]]}),
        ("stream_mode", "tools"),
        ("stream_mode", ["lifecycle"]),
        ("stream_mode", None),
        ("interrupt_before", 5),
        ("multitask_strategy", "other"),
        ("if_not_exists", "maybe"),
        ("after_seconds", "5"),
        ("durability", "eventually"),
        ("webhook", ""),
        ("webhook", None),
        ("feedback_keys", "k"),
        ("stream_resumable", "yes"),
    ],
)
async def test_create_refuses_and_names_the_field(client: httpx.AsyncClient, field: str, value: Any) -> None:
    response = await client.post(RUNS, json={**MINIMAL, field: value})
    assert response.status_code == 422
    assert field in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"{RUNS}/wait", "on_disconnect"),
        (f"{RUNS}/stream", "on_disconnect"),
        ("/runs/wait", "on_disconnect"),
        ("/runs", "on_completion"),
        ("/runs", "interrupt_before"),
    ],
)
async def test_ways_that_have_a_field_check_it(client: httpx.AsyncClient, path: str, field: str) -> None:
    response = await client.post(path, json={**MINIMAL, field: "other"})
    assert response.status_code == 422
    assert field in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        (RUNS, {"on_disconnect": "other", "on_completion": None}),
        ("/runs", {"multitask_strategy": None, "if_not_exists": "maybe", "on_disconnect": None}),
    ],
)
async def test_ways_that_do_not_have_a_field_ignore_it(
    client: httpx.AsyncClient, script: Script, path: str, ignored: dict[str, Any]
) -> None:
    script.on(CreateRun=run_row())
    assert (await client.post(path, json={**MINIMAL, **ignored})).status_code == 200


@pytest.mark.parametrize("path", [RUNS, "/runs"])
async def test_some_nulls_mean_absent(client: httpx.AsyncClient, script: Script, path: str) -> None:
    script.on(CreateRun=run_row())
    nulls = {"checkpoint_id": None, "langsmith_tracer": None, "command": None}
    assert (await client.post(path, json={**MINIMAL, **nulls})).status_code == 200
    asked = script.last("CreateRun")
    assert (asked.checkpoint_json, asked.command_json, asked.header_configurable_json) == (b"", b"", b"")


@pytest.mark.parametrize("name", ["checkpoint", "interrupt_before", "interrupt_after"])
async def test_nulls_that_only_stateless_runs_take(client: httpx.AsyncClient, script: Script, name: str) -> None:
    script.on(CreateRun=run_row())
    assert (await client.post("/runs", json={**MINIMAL, name: None})).status_code == 200
    assert (await client.post(RUNS, json={**MINIMAL, name: None})).status_code == 422


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"resume": None, "goto": None, "update": None},
        {"update": []},
        {"update": [["n", 1], ["n", 2]], "unknown": 1},
        {"goto": "a"},
        {"goto": {"node": "a"}},
        {"goto": ["a", {"node": "b", "input": {"n": 1}}]},
    ],
)
async def test_commands_arrive_as_the_client_sent_them(
    client: httpx.AsyncClient, script: Script, command: dict[str, Any]
) -> None:
    script.on(CreateRun=run_row())
    assert (await client.post(RUNS, json={**MINIMAL, "command": command})).status_code == 200
    assert orjson.loads(script.last("CreateRun").command_json) == command


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/threads/bad/runs", MINIMAL, 422, "Invalid thread ID"),
        (RUNS, {**MINIMAL, "checkpoint_id": "bad"}, 422, "Invalid checkpoint ID"),
        (RUNS, {**MINIMAL, "checkpoint": {"checkpoint_id": "bad"}}, 422, "Invalid checkpoint ID"),
        ("/runs", {**MINIMAL, "command": {"resume": 1}}, 400, "You must provide a thread_id when resuming."),
        (
            RUNS,
            {**MINIMAL, "context": {"a": 1}, "config": {"configurable": {"a": 1}}},
            400,
            "Cannot specify both configurable and context. Use only one of them.",
        ),
        (
            RUNS,
            {**MINIMAL, "command": {"goto": {"input": 1}}},
            422,
            "command: goto: must be the name of a node, an object {node, input}, or a list of these",
        ),
        (
            RUNS,
            {**MINIMAL, "config": {"recursion_limit": "5"}},
            422,
            "config: recursion_limit: Input should be a valid integer",
        ),
        ("/runs/cancel", {}, 422, "Give either 'status', or both 'thread_id' and 'run_ids'"),
        ("/runs/batch", [], 422, "body: List should have at least 1 item after validation, not 0"),
    ],
)
async def test_create_refuses_with_the_contracts_text(
    client: httpx.AsyncClient, path: str, body: Any, status: int, detail: str
) -> None:
    response = await client.post(path, json=body)
    assert (response.status_code, response.json()) == (status, {"detail": detail})


@pytest.mark.parametrize(
    ("name", "status", "detail"),
    [
        ("ASSISTANT_NOT_FOUND", 404, "Thread or assistant not found."),
        ("THREAD_NOT_FOUND", 404, "Thread or assistant not found."),
        ("INVALID_ASSISTANT", 422, "Invalid assistant: 'nope'."),
        (
            "THREAD_BUSY",
            409,
            "Thread is already running a task. Wait for it to finish or choose a different multitask strategy.",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["", "/wait", "/stream"])
async def test_create_errors_are_json_on_every_way_to_create(
    client: httpx.AsyncClient, script: Script, name: str, status: int, detail: str, suffix: str
) -> None:
    error = reason(name, "Invalid assistant: 'nope'.")
    script.on(CreateRun=error, WaitRun=error, StreamRun=error)
    response = await client.post(RUNS + suffix, json=MINIMAL)
    assert (response.status_code, response.json()) == (status, {"detail": detail})


async def test_stateless_create_and_batch(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateRun=lambda request: run_row(run_id=request.run_id))
    response = await client.post("/runs", json=MINIMAL)
    run_id = script.last("CreateRun").run_id
    assert script.last("CreateRun").thread_id == ""
    assert response.headers["content-location"] == f"/runs/{run_id}"
    script.on(
        CreateRuns=lambda request: runs_pb2.CreateRunsResponse(
            runs=[run_row(run_id=each.run_id) for each in request.runs]
        )
    )
    batch = await client.post("/runs/batch", json=[MINIMAL, {**MINIMAL, "input": 1}])
    assert [run["run_id"] for run in batch.json()] == [each.run_id for each in script.last("CreateRuns").runs]
    script.on(CreateRuns=reason("ASSISTANT_NOT_FOUND"))
    refused = await client.post("/runs/batch", json=[MINIMAL])
    assert (refused.status_code, refused.json()) == (404, {"detail": "Thread or assistant not found."})


async def test_list_selects_and_filters(client: httpx.AsyncClient, script: Script) -> None:
    script.on(ListRuns=runs_pb2.ListRunsResponse(runs=[run_row()]))
    response = await client.get(f"{RUNS}?limit=5&offset=2&status=error&select=run_id&select=status")
    assert response.json() == [{"run_id": RUN_ID, "status": "pending"}]
    asked = script.last("ListRuns")
    assert (asked.limit, asked.offset, asked.state) == (5, 2, runs_pb2.RUN_STATE_ERROR)
    assert "x-pagination-total" not in response.headers
    assert script.names() == ["ListRuns"]


@pytest.mark.parametrize("query", ["status=strange", "status=", "limit=0", "limit=-1"])
async def test_list_that_asks_for_nothing_is_empty(client: httpx.AsyncClient, script: Script, query: str) -> None:
    script.on(GetThread=thread_row())
    assert (await client.get(f"{RUNS}?{query}")).json() == []
    assert script.names() == ["GetThread"]


async def test_long_list_takes_several_pages(client: httpx.AsyncClient, script: Script) -> None:
    def page(request: runs_pb2.ListRunsRequest) -> runs_pb2.ListRunsResponse:
        left = max(1500 - request.offset, 0)
        return runs_pb2.ListRunsResponse(runs=[run_row()] * min(request.limit, left))

    script.on(ListRuns=page)
    response = await client.get(f"{RUNS}?limit=2001&offset=-1&select=run_id")
    assert len(response.json()) == 1500
    assert [(asked.offset, asked.limit) for _, asked in script.asked] == [(0, 1000), (1000, 1000)]


async def test_select_may_be_a_json_array_as_the_javascript_sdk_sends_it(
    client: httpx.AsyncClient, script: Script
) -> None:
    script.on(ListRuns=runs_pb2.ListRunsResponse(runs=[run_row()]))
    response = await client.get(RUNS, params={"select": '["run_id","status"]'})
    assert response.json() == [{"run_id": RUN_ID, "status": "pending"}]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=abc", 400),
        ("offset=", 400),
        ("select=nope", 422),
        ("select=", 422),
        ("select=run_id,status", 422),
    ],
)
async def test_list_refuses(client: httpx.AsyncClient, query: str, status: int) -> None:
    assert (await client.get(f"{RUNS}?{query}")).status_code == status


async def test_unknown_thread_is_told_from_one_without_runs(client: httpx.AsyncClient, script: Script) -> None:
    script.on(
        ListRuns=runs_pb2.ListRunsResponse(), GetRun=reason("RUN_NOT_FOUND"), GetThread=reason("THREAD_NOT_FOUND")
    )
    for path in (RUNS, RUN):
        response = await client.get(path)
        assert (response.status_code, response.json()) == (404, {"detail": f"Thread with ID {THREAD_ID} not found"})


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("GET", RUN, "Not Found"),
        ("DELETE", RUN, "Run not found"),
        ("POST", f"{RUN}/cancel", "No runs found to cancel."),
    ],
)
async def test_unknown_run(client: httpx.AsyncClient, script: Script, method: str, path: str, detail: str) -> None:
    error = reason("RUN_NOT_FOUND")
    script.on(GetRun=error, DeleteRun=error, CancelRuns=error, GetThread=thread_row())
    response = await client.request(method, path)
    assert (response.status_code, response.json()) == (404, {"detail": detail})


async def test_malformed_run_id(client: httpx.AsyncClient) -> None:
    for path in (f"{RUNS}/bad", f"{RUNS}/bad/join", f"{RUNS}/bad/stream"):
        response = await client.get(path)
        assert (response.status_code, response.json()) == (422, {"detail": "Invalid run ID: must be a UUID"})


async def test_get_and_delete(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetRun=run_row())
    assert (await client.get(RUN)).json()["assistant_id"] == ASSISTANT_ID
    assert (await client.delete(RUN)).status_code == 204
    assert script.last("DeleteRun").run == runs_pb2.RunRef(thread_id=THREAD_ID, run_id=RUN_ID)


@pytest.mark.parametrize(
    ("query", "action", "word"),
    [
        ("", "INTERRUPT", "interrupt"),
        ("?action=rollback", "ROLLBACK", "rollback"),
        ("?action=x", "INTERRUPT", "interrupt"),
    ],
)
async def test_cancel(client: httpx.AsyncClient, script: Script, query: str, action: str, word: str) -> None:
    response = await client.post(f"{RUN}/cancel{query}")
    assert (response.status_code, response.content) == (202, b"")
    asked = script.last("CancelRuns")
    assert runs_pb2.CancelAction.Name(asked.action) == f"CANCEL_ACTION_{action}"
    assert asked.reason == f"{word} requested via POST {RUN}/cancel"


async def test_cancel_of_a_finished_run(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CancelRuns=reason("NOT_CANCELLABLE"))
    response = await client.post(f"{RUN}/cancel")
    assert response.status_code == 404
    assert response.json()["detail"].startswith("No matching runs to cancel.")


async def test_bulk_cancel_by_status_and_by_name(client: httpx.AsyncClient, script: Script) -> None:
    assert (await client.post("/runs/cancel", json={"status": "all"})).status_code == 204
    assert len(script.last("CancelRuns").states) == 2
    assert (await client.post("/runs/cancel", json={"thread_id": THREAD_ID, "run_ids": [RUN_ID]})).status_code == 204
    assert list(script.last("CancelRuns").run_ids) == [RUN_ID]


async def test_bulk_cancel_of_no_runs_finds_none(client: httpx.AsyncClient, script: Script) -> None:
    response = await client.post("/runs/cancel", json={"thread_id": THREAD_ID, "run_ids": []})
    assert (response.status_code, response.json()) == (404, {"detail": "No runs found to cancel."})
    script.on(CancelRuns=reason("NOT_CANCELLABLE"))
    assert (await client.post("/runs/cancel", json={"status": "pending"})).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "done"},
        {"thread_id": THREAD_ID},
        {"run_ids": [RUN_ID]},
        {"status": "all", "thread_id": THREAD_ID, "run_ids": [RUN_ID]},
        {"thread_id": THREAD_ID, "run_ids": ["bad"]},
    ],
)
async def test_bulk_cancel_wants_exactly_one_way(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post("/runs/cancel", json=body)).status_code == 422
