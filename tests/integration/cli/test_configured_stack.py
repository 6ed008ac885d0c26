"""A langgraph.json with every section that is supported, in a real system: what it sets takes effect."""

import json
import os
from collections.abc import AsyncIterator

import httpx
import pytest
from langgraph_sdk import get_client
from threadmill_cli.banner import banner
from threadmill_cli.output import Output
from threadmill_cli.stack import Stack, StackOptions, open_stack

GRAPH = """
from typing import TypedDict
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel

class Custom(BaseModel):
    n: int = 1

class State(TypedDict, total=False):
    seen: dict
    revived: str

def look(state: State, config: RunnableConfig) -> State:
    seen = {key: value for key, value in config["configurable"].items() if key.startswith("x-")}
    serializer = JsonPlusSerializer()
    return {"seen": seen, "revived": type(serializer.loads_typed(serializer.dumps_typed(Custom()))).__name__}

builder = StateGraph(State)
builder.add_node("look", look)
builder.add_edge(START, "look")
builder.add_edge("look", END)
graph = builder.compile()
"""
CONFIG = {
    "dependencies": ["."],
    "graphs": {"look": {"path": "./agent.py:graph", "description": "Shows headers"}},
    "env": {"N_JOBS_PER_WORKER": "3", "LG_WEBHOOK_KEY": "from the file", "LANGGRAPH_STRICT_MSGPACK": "true"},
    "python_version": "3.11",
    "http": {
        "mount_prefix": "/api",
        "disable_store": True,
        "cors": {"allow_origins": ["http://app.example"], "allow_methods": ["GET", "POST"], "allow_headers": ["*"]},
        "configurable_headers": {"includes": ["x-*", "authorization"], "excludes": ["x-secret"]},
    },
    "webhooks": {
        "url": {"allowed_domains": ["*.example.com"]},
        "headers": {"x-key": "${{ env.LG_WEBHOOK_KEY }}"},
    },
    "checkpointer": {"ttl": {"default_ttl": 90, "strategy": "keep_latest", "sweep_limit": 10}},
    "store": {"ttl": {"default_ttl": 60, "refresh_on_read": False}},
}
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("configured")
    (folder / "agent.py").write_text(GRAPH)
    config = folder / "langgraph.json"
    config.write_text(json.dumps(CONFIG))
    options = StackOptions(configs=(config,), data=folder / "data", environment=ENVIRONMENT)
    async with open_stack(options, Output()) as started:
        yield started


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.url, timeout=30) as opened:
        yield opened


async def test_the_sdk_works_below_the_prefix_and_headers_reach_the_graph(stack: Stack) -> None:
    headers = {"x-tenant": "t1", "x-secret": "s"}
    async with get_client(url=f"{stack.url}/api", headers=headers) as client:
        thread = await client.threads.create()
        result = await client.runs.wait(thread["thread_id"], "look", input={"seen": {}})
        assert result["seen"] == {"x-tenant": "t1"}
        events = [part.event async for part in client.runs.stream(None, "look", input={"seen": {}})]
        assert events[0] == "metadata"
        assert (await client.assistants.search())[0]["description"] == "Shows headers"


async def test_paths_outside_the_prefix_and_of_disabled_groups_are_unknown(http: httpx.AsyncClient) -> None:
    for path, status in {"/ok": 200, "/api/ok": 200, "/info": 404, "/api/info": 200, "/api/store/items": 404}.items():
        assert (await http.get(path)).status_code == status, path


async def test_cors_is_that_of_the_file(http: httpx.AsyncClient) -> None:
    asks = {"origin": "http://app.example", "access-control-request-method": "POST"}
    assert (await http.options("/api/threads", headers=asks)).status_code == 200
    assert (await http.options("/api/threads", headers={**asks, "origin": "http://evil"})).status_code == 400


async def test_threads_get_the_default_time_to_live(http: httpx.AsyncClient) -> None:
    thread = (await http.post("/api/threads", json={})).json()
    found = (await http.get(f"/api/threads/{thread['thread_id']}", params={"include": "ttl"})).json()
    assert (found["ttl"]["strategy"], found["ttl"]["ttl_minutes"]) == ("keep_latest", 90)


@pytest.mark.parametrize(
    ("url", "detail"),
    [("http://a.example.com/x", "Webhook must use https"), ("https://example.org/x", "Webhook domain not allowed")],
)
async def test_webhooks_obey_the_policy(http: httpx.AsyncClient, url: str, detail: str) -> None:
    answer = await http.post("/api/runs", json={"assistant_id": "look", "input": {}, "webhook": url})
    assert (answer.status_code, answer.json()["detail"]) == (422, detail)


async def test_slots_come_from_the_env_of_the_file(http: httpx.AsyncClient) -> None:
    assert (await http.get("/metrics", params={"format": "json"})).json()["workers"]["max"] == 3


async def test_libraries_see_the_env_of_the_file(http: httpx.AsyncClient) -> None:
    result = await http.post("/api/runs/wait", json={"assistant_id": "look", "input": {"seen": {}}})
    assert result.json()["revived"] == "dict"  # strict: no object of a class that nobody allowed


def test_secrets_of_webhooks_reach_the_runs_api_alone(stack: Stack) -> None:
    holders = {
        name
        for name in ("gateway", "threads", "store", "runs", "executor")
        if "from the file" in repr(dict(stack.environment_of(name)))
    }
    assert holders == {"runs"}


def test_the_banner_shows_where_the_api_is(stack: Stack) -> None:
    text = banner(stack, reload=True)
    assert f"{stack.url}/api\n" in text
    assert f"{stack.url}/api/docs" in text


async def test_changed_settings_of_services_are_pointed_out(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    config = stack.projects[0].config
    changed = {**CONFIG, "http": {**CONFIG["http"], "disable_runs": True}}  # type: ignore[dict-item]
    config.write_text(json.dumps(changed))
    before = stack.pid("gateway")
    await stack.reload()
    assert "settings of gateway changed: stop and start to apply them" in capsys.readouterr().out
    assert stack.pid("gateway") == before
