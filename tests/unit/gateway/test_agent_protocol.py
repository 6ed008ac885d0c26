"""The Agent Protocol: every answer is held against the published OpenAPI document."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from jsonschema import Draft202012Validator
from threadmill_gateway.context import Gateway
from threadmill_protos.runs.v1 import assistants_pb2, graphs_pb2, runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from .gateway_script import (
    ASSISTANT_ID,
    CHECKPOINT_ID,
    NOW,
    RUN_ID,
    THREAD_ID,
    Script,
    assistant_row,
    followed,
    protocol_event,
    run_row,
    thread_row,
)
from .reasons import reason

SPEC = orjson.loads((Path(__file__).parent / "agent_protocol.openapi.json").read_bytes())
RUN = f"/runs/{RUN_ID}"
THREAD = f"/threads/{THREAD_ID}"
KWARGS = orjson.dumps(
    {
        "input": {"n": 1},
        "config": {"tags": ["t"], "configurable": {"a": 1, "__internal": 1, "langgraph_auth_user": None}},
        "stream_mode": ["values", "messages-tuple", "events"],
        "temporary": False,
        "webhook": "https://example.com/hook",
    }
)
SCHEMAS = graphs_pb2.JsonDocument(
    json=orjson.dumps(
        {
            "graph_id": "steps",
            "input_schema": {"type": "object", "properties": {"messages": {}}},
            "output_schema": None,
            "state_schema": {"type": "object"},
            "config_schema": {},
        }
    )
)
MESSAGES = [
    {"type": "human", "content": "hi", "id": "m1", "additional_kwargs": {"k": 1}},
    {"type": "ai", "content": ["a", {"type": "text", "text": "b"}], "id": None, "tool_calls": [{"id": "c"}]},
    {"type": "tool", "content": "r", "tool_call_id": "c", "name": "add"},
]
IN_PROTOCOL = [
    {"role": "user", "content": "hi", "id": "m1", "metadata": {"k": 1}},
    {
        "role": "assistant",
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "tool_calls": [{"id": "c"}],
    },
    {"role": "tool", "content": "r", "tool_call_id": "c", "name": "add"},
]


def conforming(method: str, path: str, response: httpx.Response) -> Any:
    """The body of a response that is what the specification says of this status of this operation."""
    described = SPEC["paths"][path][method.lower()]["responses"][str(response.status_code)]
    if "content" not in described:
        assert response.content == b""
        return None
    media_type, content = next(iter(described["content"].items()))
    assert response.headers["content-type"].startswith(media_type)
    if media_type != "application/json":
        return response.text
    schema = {**content["schema"], "components": SPEC["components"]}
    body = response.json()
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(body)
    return body


def waited(body: bytes, state: runs_pb2.RunState = runs_pb2.RUN_STATE_SUCCESS) -> list[runs_pb2.WaitRunResponse]:
    outcome = runs_pb2.WaitRunResponse.Outcome(state=state, body_json=body)
    return [runs_pb2.WaitRunResponse(run=run_row(kwargs_json=KWARGS)), runs_pb2.WaitRunResponse(outcome=outcome)]


def streamed() -> list[runs_pb2.StreamRunResponse]:
    event = runs_pb2.Event(id="1-0", name="values", data_json=b'{"n":1}')
    return [
        runs_pb2.StreamRunResponse(run=run_row(kwargs_json=b'{"resumable":true}')),
        runs_pb2.StreamRunResponse(batch=runs_pb2.EventBatch(events=[event])),
    ]


async def test_agents_are_searched(client: httpx.AsyncClient, script: Script) -> None:
    rows = [assistant_row(description="adds"), assistant_row(name="other"), assistant_row(graph_id="broken")]
    script.on(
        SearchAssistants=assistants_pb2.SearchAssistantsResponse(assistants=rows),
        GetGraphSchemas=lambda asked: SCHEMAS if asked.graph_id == "steps" else graphs_pb2.JsonDocument(json=b"{}"),
    )
    response = await client.post("/agents/search", json={"name": "s", "metadata": {"a": 1}, "limit": 3, "offset": 1})
    found = conforming("POST", "/agents/search", response)
    assert found[0] == {
        "agent_id": ASSISTANT_ID,
        "name": "steps",
        "description": "adds",
        "metadata": {"created_by": "system"},
        "capabilities": {"ap.io.messages": True, "ap.io.streaming": True},
    }
    assert [agent["capabilities"]["ap.io.messages"] for agent in found] == [True, True, False]
    asked = script.last("SearchAssistants")
    assert (asked.filter.name, asked.filter.metadata_json, asked.limit, asked.offset) == ("s", b'{"a":1}', 3, 1)
    assert script.names().count("GetGraphSchemas") == 2


@pytest.mark.parametrize(("any_config", "questions"), [(True, 2), (False, 4)])
async def test_a_graph_that_no_factory_makes_is_asked_about_once(
    client: httpx.AsyncClient, script: Script, any_config: bool, questions: int
) -> None:
    configs = [b'{"configurable":{"n":%d}}' % n for n in range(3)]
    rows = [assistant_row(config_json=config) for config in (*configs, configs[0])] + [assistant_row(graph_id="other")]
    found = graphs_pb2.JsonDocument(json=SCHEMAS.json, any_config=any_config)
    script.on(SearchAssistants=assistants_pb2.SearchAssistantsResponse(assistants=rows), GetGraphSchemas=found)
    agents = (await client.post("/agents/search", json={})).json()
    assert [agent["capabilities"]["ap.io.messages"] for agent in agents] == [True] * 5
    assert script.names().count("GetGraphSchemas") == questions


async def test_each_config_of_a_factory_tells_what_its_graph_takes(client: httpx.AsyncClient, script: Script) -> None:
    rows = [assistant_row(config_json=config) for config in (b'{"tags":["a"]}', b"{}", b'{"tags":["b"]}')]
    script.on(
        SearchAssistants=assistants_pb2.SearchAssistantsResponse(assistants=rows),
        GetGraphSchemas=lambda asked: SCHEMAS if b"a" in asked.config_json[9:] else graphs_pb2.JsonDocument(json=b"{}"),
    )
    agents = (await client.post("/agents/search", json={})).json()
    assert [agent["capabilities"]["ap.io.messages"] for agent in agents] == [True, False, False]


async def test_agent_whose_graph_fails_claims_no_messages(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetAssistant=assistant_row(), GetGraphSchemas=reason("GRAPH_FAILED"))
    found = conforming("GET", "/agents/{agent_id}", await client.get("/agents/steps"))
    assert found["capabilities"]["ap.io.messages"] is False
    assert script.last("GetAssistant").allow_graph_id


async def test_schemas_of_an_agent_are_never_null(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetAssistant=assistant_row(), GetGraphSchemas=SCHEMAS)
    found = conforming("GET", "/agents/{agent_id}/schemas", await client.get("/agents/steps/schemas"))
    assert found == {
        "agent_id": ASSISTANT_ID,
        "input_schema": {"type": "object", "properties": {"messages": {}}},
        "output_schema": {},
        "state_schema": {"type": "object"},
    }


@pytest.mark.parametrize("name", ["ASSISTANT_NOT_FOUND", "INVALID_ASSISTANT"])
@pytest.mark.parametrize("path", ["/agents/{agent_id}", "/agents/{agent_id}/schemas"])
async def test_unknown_agent(client: httpx.AsyncClient, script: Script, name: str, path: str) -> None:
    script.on(GetAssistant=reason(name))
    response = await client.get(path.format(agent_id="nope"))
    assert response.status_code == 404
    found = conforming("GET", path, response)
    assert found == {"code": name.lower(), "message": "Agent not found.", "metadata": {}}


async def test_agents_are_not_searched_with_get(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetAssistant=reason("INVALID_ASSISTANT"))
    response = await client.get("/agents/search")
    assert (response.status_code, response.json()) == (405, {"detail": "Method Not Allowed"})
    assert response.headers["allow"] == "POST"
    script.on(GetAssistant=assistant_row(graph_id="search"), GetGraphSchemas=SCHEMAS)
    assert (await client.get("/agents/search")).status_code == 200


async def test_run_is_created_on_a_thread(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateRun=run_row(kwargs_json=KWARGS, state=runs_pb2.RUN_STATE_RUNNING))
    body = {
        "thread_id": THREAD_ID,
        "agent_id": "steps",
        "input": {"n": 1},
        "messages": [{"role": "user", "content": "hi", "metadata": {"k": 1}, "name": "me"}],
        "metadata": {"m": 1},
        "config": {"tags": ["t"]},
        "webhook": "https://example.com/hook",
        "if_not_exists": "create",
        "stream_mode": ["updates", "messages"],
    }
    response = await client.post("/runs", json=body)
    found = conforming("POST", "/runs", response)
    assert response.headers["content-location"] == RUN
    assert (found["status"], found["agent_id"]) == ("pending", ASSISTANT_ID)
    assert (found["stream_mode"], found["on_completion"]) == (["values", "messages"], "keep")
    assert found["config"] == {"tags": ["t"], "configurable": {"a": 1}}
    asked = script.last("CreateRun")
    assert (asked.thread_id, asked.assistant_id, asked.webhook) == (THREAD_ID, "steps", body["webhook"])
    assert orjson.loads(asked.input_json) == {
        "n": 1,
        "messages": [{"type": "human", "content": "hi", "name": "me", "additional_kwargs": {"k": 1}}],
    }
    assert list(asked.stream_modes) == ["updates", "messages"]
    assert asked.create_thread_if_missing
    assert asked.stream_resumable


async def test_run_without_agent_and_thread_is_a_stateless_one_of_the_first_graph(
    client: httpx.AsyncClient, script: Script
) -> None:
    graphs = [assistants_pb2.Graph(graph_id="broken", error="x"), assistants_pb2.Graph(graph_id="steps")]
    script.on(ListGraphs=assistants_pb2.ListGraphsResponse(graphs=graphs), CreateRun=run_row())
    for keep in (False, True):
        conforming("POST", "/runs", await client.post("/runs", json={"on_completion": "keep"} if keep else {}))
        asked = script.last("CreateRun")
        assert (asked.assistant_id, asked.thread_id, asked.keep_on_completion) == ("steps", "", keep)


async def test_run_without_any_agent_to_run(client: httpx.AsyncClient, script: Script) -> None:
    script.on(ListGraphs=assistants_pb2.ListGraphsResponse())
    response = await client.post("/runs", json={})
    assert response.status_code == 404
    assert conforming("POST", "/runs", response)["code"] == "not_found"


async def test_body_with_both_names_is_of_the_langgraph_api(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateRun=run_row())
    response = await client.post("/runs", json={"assistant_id": "steps", "agent_id": "other", "thread_id": THREAD_ID})
    assert "kwargs" in response.json()
    assert (script.last("CreateRun").assistant_id, script.last("CreateRun").thread_id) == ("steps", "")


@pytest.mark.parametrize(
    "body",
    [
        {"agent_id": 5},
        {"agent_id": "a", "thread_id": "bad"},
        {"agent_id": "a", "input": 5, "messages": []},
        {"agent_id": "a", "messages": [{"content": "x"}]},
        {"agent_id": "a", "thread_id": THREAD_ID, "on_completion": "delete"},
        {"agent_id": "a", "stream_mode": "events"},
        {"agent_id": "a", "config": {"tags": "t"}},
        {"agent_id": "a", "webhook": "ftp://example.com"},
    ],
)
async def test_bad_runs_are_refused_in_the_protocols_shape(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    response = await client.post("/runs", json=body)
    assert response.status_code == 422
    found = conforming("POST", "/runs", response)
    assert found["code"] == "unprocessable_entity"
    assert found["message"]


@pytest.mark.parametrize(
    ("name", "status"), [("THREAD_NOT_FOUND", 404), ("THREAD_BUSY", 409), ("INVALID_ASSISTANT", 422)]
)
@pytest.mark.parametrize("path", ["/runs", "/runs/wait", "/runs/stream"])
async def test_refused_creations(client: httpx.AsyncClient, script: Script, path: str, name: str, status: int) -> None:
    script.on(CreateRun=reason(name), WaitRun=reason(name), StreamRun=reason(name))
    response = await client.post(path, json={"agent_id": "a", "thread_id": THREAD_ID})
    assert response.status_code == status
    assert conforming("POST", path, response)["code"] == name.lower()


async def test_wait_answers_with_run_values_and_messages(live: httpx.AsyncClient, script: Script) -> None:
    state = orjson.dumps({"n": 1, "messages": MESSAGES})
    script.on(WaitRun=waited(state), GetRun=run_row(kwargs_json=KWARGS, state=runs_pb2.RUN_STATE_SUCCESS))
    for method, path in (("POST", "/runs/wait"), ("GET", "/runs/{run_id}/wait")):
        body = {"json": {"agent_id": "a"}} if method == "POST" else {}
        response = await live.request(method, path.format(run_id=RUN_ID), **body)
        found = conforming(method, path, response)
        assert found["run"]["status"] == "success"
        assert found["values"] == {"n": 1}
        assert found["messages"] == IN_PROTOCOL
        assert (response.headers["location"], response.headers["content-location"]) == (f"{RUN}/wait", RUN)


@pytest.mark.parametrize(
    ("outcome", "values"),
    [
        (b"null", {}),
        (b"5", {"output": 5}),
        (b'{"messages":"none"}', {"messages": "none"}),
        (b'{"__interrupt__":[]}', {"__interrupt__": []}),
    ],
)
async def test_values_are_an_object_whatever_the_state_is(
    live: httpx.AsyncClient, script: Script, outcome: bytes, values: dict[str, Any]
) -> None:
    script.on(WaitRun=waited(outcome), GetRun=run_row())
    found = conforming("GET", "/runs/{run_id}/wait", await live.get(f"{RUN}/wait"))
    assert found["values"] == values
    assert "messages" not in found


async def test_failed_run_that_is_gone_already_shows_how_it_ended(live: httpx.AsyncClient, script: Script) -> None:
    error = {"error": "ValueError", "message": "bad"}
    outcome = waited(orjson.dumps({"__error__": error}), runs_pb2.RUN_STATE_ERROR)
    script.on(WaitRun=outcome, GetRun=reason("RUN_NOT_FOUND"))
    found = conforming("POST", "/runs/wait", await live.post("/runs/wait", json={"agent_id": "a"}))
    assert (found["run"]["status"], found["values"], found["error"]) == ("error", {}, error)


async def test_stream_of_a_new_run(live: httpx.AsyncClient, script: Script) -> None:
    script.on(StreamRun=streamed())
    response = await live.post("/runs/stream", json={"agent_id": "a", "on_disconnect": "continue"})
    assert 'event: values\r\ndata: {"n":1}\r\nid: 1-0\r\n\r\n' in conforming("POST", "/runs/stream", response)
    assert response.headers["location"] == f"{RUN}/stream"


async def test_stream_of_an_existing_run(live: httpx.AsyncClient, script: Script) -> None:
    script.on(StreamRun=streamed())
    response = await live.get(f"{RUN}/stream", headers={"last-event-id": "-1"})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "id: 1-0" in response.text
    asked = script.last("StreamRun")
    assert (asked.run, asked.last_event_id) == (runs_pb2.RunRef(run_id=RUN_ID), "-1")


async def test_run_is_read_and_deleted(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetRun=run_row(kwargs_json=KWARGS))
    found = conforming("GET", "/runs/{run_id}", await client.get(RUN))
    assert (found["run_id"], found["input"], found["webhook"]) == (RUN_ID, {"n": 1}, "https://example.com/hook")
    conforming("DELETE", "/runs/{run_id}", await client.delete(RUN))
    assert script.last("DeleteRun").run == runs_pb2.RunRef(run_id=RUN_ID)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/runs/{run_id}"),
        ("DELETE", "/runs/{run_id}"),
        ("GET", "/runs/{run_id}/wait"),
        ("GET", "/runs/{run_id}/stream"),
        ("POST", "/runs/{run_id}/cancel"),
    ],
)
@pytest.mark.parametrize(("run_id", "status", "code"), [(RUN_ID, 404, "run_not_found"), ("bad", 422, None)])
async def test_unknown_and_malformed_runs(
    client: httpx.AsyncClient, script: Script, method: str, path: str, run_id: str, status: int, code: str | None
) -> None:
    script.on(**dict.fromkeys(("GetRun", "DeleteRun", "WaitRun", "StreamRun", "CancelRuns"), reason("RUN_NOT_FOUND")))
    response = await client.request(method, path.format(run_id=run_id))
    assert response.status_code == status
    assert conforming(method, path, response)["code"] == (code or "unprocessable_entity")


@pytest.mark.parametrize("name", ["batch", "cancel", "crons", "search", "stream", "wait"])
async def test_fixed_paths_are_not_taken_for_runs(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get(f"/runs/{name}")
    assert (response.status_code, response.json()) == (405, {"detail": "Method Not Allowed"})
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(("query", "action"), [("", "INTERRUPT"), ("?action=rollback&wait=false", "ROLLBACK")])
async def test_cancel(client: httpx.AsyncClient, script: Script, query: str, action: str) -> None:
    conforming("POST", "/runs/{run_id}/cancel", await client.post(f"{RUN}/cancel{query}"))
    asked = script.last("CancelRuns")
    assert (asked.thread_id, list(asked.run_ids)) == ("", [RUN_ID])
    assert runs_pb2.CancelAction.Name(asked.action) == f"CANCEL_ACTION_{action}"


async def test_cancel_with_wait_answers_at_the_end(client: httpx.AsyncClient, script: Script) -> None:
    ended = asyncio.Event()

    async def wait(_: Any) -> AsyncIterator[runs_pb2.WaitRunResponse]:
        first, second = waited(b"{}")
        yield first
        await ended.wait()
        yield second

    def cancel(_: Any) -> runs_pb2.CancelRunsResponse:
        ended.set()
        return runs_pb2.CancelRunsResponse()

    script.on(WaitRun=wait, CancelRuns=cancel)
    response = await client.post(f"{RUN}/cancel", params={"wait": "true"})
    assert response.status_code == 204
    assert script.names() == ["WaitRun", "CancelRuns"]


async def test_cancel_with_wait_gives_up_when_the_process_closes(
    client: httpx.AsyncClient, gateway: Gateway, script: Script
) -> None:
    async def wait(_: Any) -> AsyncIterator[runs_pb2.WaitRunResponse]:
        yield waited(b"{}")[0]
        await asyncio.Event().wait()

    script.on(WaitRun=wait)
    gateway.closing.set()
    response = await client.post(f"{RUN}/cancel", params={"wait": "true"})
    assert (response.status_code, response.json()["code"]) == (503, "service_unavailable")


async def test_cancel_refuses_an_unknown_action(client: httpx.AsyncClient) -> None:
    response = await client.post(f"{RUN}/cancel", params={"action": "stop"})
    assert response.status_code == 422
    conforming("POST", "/runs/{run_id}/cancel", response)


async def test_runs_are_searched_across_threads(client: httpx.AsyncClient, script: Script) -> None:
    script.on(ListRuns=runs_pb2.ListRunsResponse(runs=[run_row(kwargs_json=KWARGS)]))
    body = {
        "metadata": {"a": 1},
        "status": "error",
        "thread_id": THREAD_ID,
        "agent_id": "steps",
        "limit": 5,
        "offset": 2,
    }
    found = conforming("POST", "/runs/search", await client.post("/runs/search", json=body))
    assert [run["run_id"] for run in found] == [RUN_ID]
    assert script.last("ListRuns") == runs_pb2.ListRunsRequest(
        thread_id=THREAD_ID,
        assistant_id="steps",
        metadata_json=b'{"a":1}',
        state=runs_pb2.RUN_STATE_ERROR,
        limit=5,
        offset=2,
    )


async def test_pending_runs_are_those_that_wait_and_those_that_run(client: httpx.AsyncClient, script: Script) -> None:
    def rows(asked: runs_pb2.ListRunsRequest) -> runs_pb2.ListRunsResponse:
        first = 0 if asked.state == runs_pb2.RUN_STATE_PENDING else 1
        times = [type(NOW)(seconds=NOW.seconds - second) for second in range(first, 6, 2)]
        runs = [run_row(state=asked.state, create_time=time, run_id=f"{time.seconds:032d}") for time in times]
        return runs_pb2.ListRunsResponse(runs=runs[: asked.limit])

    script.on(ListRuns=rows)
    response = await client.post("/runs/search", json={"status": "pending", "limit": 2, "offset": 1})
    found = response.json()
    assert [NOW.seconds - int(run["run_id"]) for run in found] == [1, 2]
    assert {run["status"] for run in found} == {"pending"}


async def test_search_for_an_unknown_agent(client: httpx.AsyncClient, script: Script) -> None:
    script.on(ListRuns=reason("INVALID_ASSISTANT"))
    response = await client.post("/runs/search", json={"agent_id": "nope"})
    assert response.status_code == 404
    conforming("POST", "/runs/search", response)
    refused = await client.post("/runs/search", json={"status": "running"})
    assert refused.status_code == 422
    conforming("POST", "/runs/search", refused)


@pytest.mark.parametrize(
    ("body", "values", "as_node", "checkpoint"),
    [
        ({"values": {"n": 1}}, {"n": 1}, "", b""),
        ({"messages": [{"role": "user", "content": "x"}]}, {"messages": [{"type": "human", "content": "x"}]}, "", b""),
        (
            {"values": {"n": 1}, "checkpoint": {"checkpoint_id": CHECKPOINT_ID}},
            {"n": 1},
            "",
            b'{"checkpoint_id":"%b"}' % CHECKPOINT_ID.encode(),
        ),
        (
            {"checkpoint": {"checkpoint_id": CHECKPOINT_ID}},
            None,
            "__copy__",
            b'{"checkpoint_id":"%b"}' % CHECKPOINT_ID.encode(),
        ),
    ],
)
async def test_patch_of_a_threads_state(
    client: httpx.AsyncClient, script: Script, body: dict[str, Any], values: Any, as_node: str, checkpoint: bytes
) -> None:
    values_json = orjson.dumps({"n": 1, "messages": MESSAGES})
    script.on(
        GetThread=thread_row(values_json=values_json),
        UpdateState=graphs_pb2.JsonDocument(json=b"{}"),
        GetState=graphs_pb2.JsonDocument(json=b"{}"),
    )
    found = conforming("PATCH", "/threads/{thread_id}", await client.patch(THREAD, json=body))
    assert (found["values"], found["messages"]) == ({"n": 1}, IN_PROTOCOL)
    asked = script.last("UpdateState")
    assert (orjson.loads(asked.values_json), asked.as_node, asked.checkpoint_json) == (values, as_node, checkpoint)
    assert "PublishStateUpdate" in script.names()


async def test_checkpoint_beside_metadata_alone_means_nothing(client: httpx.AsyncClient, script: Script) -> None:
    script.on(UpdateThread=thread_row())
    body = {"metadata": {"a": 1, "run_id": "x"}, "checkpoint": {"checkpoint_id": CHECKPOINT_ID}}
    found = conforming("PATCH", "/threads/{thread_id}", await client.patch(THREAD, json=body))
    assert found["values"] == {}
    assert script.names() == ["UpdateThread"]
    assert script.last("UpdateThread").metadata_json == b'{"a":1}'


@pytest.mark.parametrize(
    ("body", "status"), [({"values": {}}, 404), ({"values": 5}, 422), ({"checkpoint": {"checkpoint_id": "x"}}, 422)]
)
async def test_refused_patches(client: httpx.AsyncClient, script: Script, body: dict[str, Any], status: int) -> None:
    script.on(GetThread=reason("THREAD_NOT_FOUND"))
    response = await client.patch(THREAD, json=body)
    assert response.status_code == status
    assert "code" in conforming("PATCH", "/threads/{thread_id}", response)


async def test_shared_threads_conform_once_they_have_a_state(client: httpx.AsyncClient, script: Script) -> None:
    row = thread_row(values_json=b'{"n":1}')
    script.on(CreateThread=row, GetThread=row, SearchThreads=threads_pb2.SearchThreadsResponse(threads=[row]))
    conforming("POST", "/threads", await client.post("/threads", json={"if_exists": "do_nothing"}))
    conforming("GET", "/threads/{thread_id}", await client.get(THREAD))
    conforming("DELETE", "/threads/{thread_id}", await client.delete(THREAD))
    conforming("POST", "/threads/search", await client.post("/threads/search", json={"values": {"n": 1}}))
    script.on(GetThread=reason("THREAD_NOT_FOUND"))
    conforming("GET", "/threads/{thread_id}", await client.get(THREAD))


async def test_patch_of_metadata_is_answered_by_the_langgraph_api(client: httpx.AsyncClient, script: Script) -> None:
    script.on(UpdateThread=thread_row())
    assert "config" in (await client.patch(THREAD, json={"metadata": {}})).json()


@pytest.mark.parametrize("method", ["run.start", "state.get"])
async def test_answers_to_commands(client: httpx.AsyncClient, script: Script, method: str) -> None:
    script.on(
        GetThread=reason("THREAD_NOT_FOUND"), GetThreadPosition=runs_pb2.ThreadPosition(seq=7), CreateRun=run_row()
    )
    command = {"id": 3, "method": method, "params": {"assistant_id": "steps", "input": {"n": 1}}}
    response = await client.post(f"{THREAD}/commands", json=command)
    assert conforming("POST", "/threads/{thread_id}/commands", response)["id"] == 3


async def test_stream_of_a_thread(live: httpx.AsyncClient, script: Script) -> None:
    script.on(FollowThread=[followed(), followed(protocol_event(1), protocol_event(2, "lifecycle"), live=True)])
    response = await live.post(f"{THREAD}/stream", json={"channels": ["values", "lifecycle"]})
    conforming("POST", "/threads/{thread_id}/stream", response)
    lines = [line.removeprefix("data: ") for line in response.text.split("\r\n") if line.startswith("data: ")]
    schema = {**SPEC["components"]["schemas"]["StreamingEvent"], "components": SPEC["components"]}
    for line in lines:
        Draft202012Validator(schema).validate(orjson.loads(line))
    assert len(lines) == 2
