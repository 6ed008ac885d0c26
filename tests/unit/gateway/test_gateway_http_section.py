"""What the `http` section of langgraph.json sets: prefix, groups of routes, CORS, headers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import orjson
import pytest
from eventually import until
from openapi_spec_validator import validate
from pydantic import ValidationError
from starlette.datastructures import Headers
from structlog.testing import capture_logs
from threadmill_gateway.app import create_app
from threadmill_gateway.header_rule import HeaderRule
from threadmill_gateway.settings import GatewaySettings

from .gateway_script import THREAD_ID, Script, open_gateway, run_row, thread_row

OpenClient = Callable[..., Awaitable[httpx.AsyncClient]]
ORIGIN = {"origin": "http://app.example"}


@pytest.fixture
async def open_client(settings: GatewaySettings, services: Script) -> AsyncIterator[OpenClient]:
    """Clients of gateways that differ in some settings."""
    async with AsyncExitStack() as stack:

        async def open_one(**changes: Any) -> httpx.AsyncClient:
            changed = GatewaySettings.model_validate({**settings.model_dump(), **changes})
            gateway = await stack.enter_async_context(open_gateway(changed))
            transport = httpx.ASGITransport(create_app(gateway))
            return await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://gateway"))

        yield open_one


async def test_mount_prefix(open_client: OpenClient, script: Script) -> None:
    script.on(GetThread=thread_row(), CreateRun=run_row())
    client = await open_client(mount_prefix="/my/api/")
    assert (await client.get(f"/my/api/threads/{THREAD_ID}")).json()["thread_id"] == THREAD_ID
    for path in ("/", "/ok", "/my/api/", "/my/api/ok"):
        assert (await client.get(path)).json()["ok"] is True
    assert (await client.get("/metrics")).status_code == 200
    for path in (f"/threads/{THREAD_ID}", "/info", "/docs", "/openapi.json", "/my/apis/ok", "/nowhere"):
        missing = await client.get(path)
        assert (missing.status_code, missing.json()) == (404, {"detail": "Not Found"}), path
    moved = await client.get(f"/my/api/threads/{THREAD_ID}/")
    assert (moved.status_code, moved.headers["location"]) == (307, f"http://gateway/my/api/threads/{THREAD_ID}")
    assert (await client.get("/my/api")).headers["location"] == "http://gateway/my/api/"
    made = await client.post(f"/my/api/threads/{THREAD_ID}/runs", json={"assistant_id": "steps"})
    assert made.headers["content-location"].startswith("/threads/")
    document = (await client.get("/my/api/openapi.json")).json()
    validate(document)
    assert document["servers"] == [{"url": "/my/api"}]
    assert (await client.get("/nowhere", headers=ORIGIN)).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("prefix", ["api", "/a b", "/noauth", "/noauth/x", "//", "/a?b", "http://x"])
def test_wrong_mount_prefix(prefix: str) -> None:
    if prefix == "//":
        assert GatewaySettings(mount_prefix=prefix).mount_prefix == ""
        return
    with pytest.raises(ValidationError, match=r"mount_prefix|MOUNT_PREFIX"):
        GatewaySettings(mount_prefix=prefix)


GROUPS = {
    "assistants": ["/assistants/search", "/assistants/x", "/agents/x"],
    "threads": ["/threads", f"/threads/{THREAD_ID}/state", f"/threads/{THREAD_ID}/stream"],
    "runs": ["/runs", "/runs/wait", "/runs/crons/search", f"/threads/{THREAD_ID}/runs", "/runs/batch"],
    "store": ["/store/items", "/store/namespaces"],
    "meta": ["/info", "/docs", "/openapi.json", "/metrics"],
    "none": ["/ok", "/"],
}


@pytest.mark.parametrize("group", ["assistants", "threads", "runs", "store", "meta"])
async def test_disabled_group_is_unknown_and_the_others_are_not(open_client: OpenClient, group: str) -> None:
    client = await open_client(disabled_routes=(group,))
    for name, paths in GROUPS.items():
        for path in paths:
            # A method that nothing has: 405 where the path is known.
            answer = await client.request("TRACE", path)
            assert answer.status_code == (404 if name == group else 405), (name, path)


async def test_disabled_groups_are_not_described(open_client: OpenClient) -> None:
    client = await open_client(disabled_routes=("runs", "store"))
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert "/threads" in paths
    assert not [path for path in paths if "/runs" in path or "/store" in path]


async def test_without_meta_health_says_no_more_than_that(open_client: OpenClient) -> None:
    client = await open_client(disabled_routes=("meta",))
    for path in ("/ok", "/", "/ok?check_db=1"):
        assert (await client.get(path)).json() == {"ok": True}


async def test_cors_as_configured(open_client: OpenClient) -> None:
    client = await open_client(
        cors_allow_origins=("http://a.example",),
        cors_allow_origin_regex=r"https://.*\.b\.example",
        cors_allow_methods=("GET", "POST"),
        cors_allow_headers=("x-one",),
        cors_allow_credentials=True,
        cors_expose_headers=("x-two",),
        cors_max_age_seconds=5,
    )
    for origin in ("http://a.example", "https://x.b.example"):
        answer = await client.get("/ok", headers={"origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["access-control-expose-headers"] == "x-two"
        assert "Origin" in answer.headers["vary"]
    asks = {"origin": "http://a.example", "access-control-request-method": "POST"}
    preflight = await client.options("/threads", headers={**asks, "access-control-request-headers": "x-one"})
    assert (preflight.status_code, preflight.headers["access-control-max-age"]) == (200, "5")
    assert (await client.options("/threads", headers={**asks, "origin": "http://evil"})).status_code == 400
    assert "access-control-allow-origin" not in (await client.get("/ok", headers={"origin": "http://evil"})).headers
    patch = await client.options("/threads", headers={**asks, "access-control-request-method": "PATCH"})
    assert patch.status_code == 400


def test_cors_regex_must_compile() -> None:
    with pytest.raises(ValidationError, match="no regular expression"):
        GatewaySettings(cors_allow_origin_regex="(")


RULE = HeaderRule(includes=("X-Foo-*", "authorization", "x-api-key", "accept"), excludes=("*-secret",))


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("x-foo-a", True),
        ("accept", True),
        ("accept-language", False),
        ("x-foo-secret", False),
        ("x-bar", False),
        ("authorization", False),
        ("x-api-key", False),
    ],
)
def test_header_rule(name: str, passes: bool) -> None:
    assert RULE.permits(name) is passes


def test_header_rule_with_exclusions_alone_lets_nothing_through() -> None:
    assert not HeaderRule(excludes=("x-secret",)).permits("x-any")


def test_headers_of_one_name_are_joined() -> None:
    headers = Headers(raw=[(b"x-foo-a", b"1"), (b"x-foo-a", b"2"), (b"host", b"h")])
    assert RULE.select(headers) == {"x-foo-a": "1, 2"}


async def test_configurable_headers_reach_runs(open_client: OpenClient, script: Script) -> None:
    script.on(CreateRun=run_row())
    client = await open_client(configurable_headers=RULE)
    headers = {"X-Foo-Tenant": "t1", "X-Foo-Secret": "s", "Authorization": "Bearer x", "X-Other": "1"}
    for path in ("/runs", f"/threads/{THREAD_ID}/runs"):
        answer = await client.post(path, json={"assistant_id": "steps"}, headers=headers)
        assert answer.status_code == 200
        sent = orjson.loads(script.last("CreateRun").header_configurable_json)
        assert sent == {"accept": "*/*", "x-foo-tenant": "t1"}


async def test_without_a_rule_no_header_reaches_runs(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateRun=run_row())
    await client.post("/runs", json={"assistant_id": "steps"}, headers={"x-foo-a": "1"})
    assert script.last("CreateRun").header_configurable_json == b""


async def test_logging_headers_are_in_the_access_log(open_client: OpenClient) -> None:
    client = await open_client(logging_headers=HeaderRule(includes=("x-*",)))
    with capture_logs() as logs:
        await client.get("/info", headers={"x-tenant": "t1", "x-api-key": "secret"})

        async def logged() -> list[Any]:  # after the answer has gone out
            return [entry["headers"] for entry in logs if entry["event"] == "request"]

        assert await until(logged) == [{"x-tenant": "t1"}]


def test_rules_are_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADMILL_CONFIGURABLE_HEADERS", '{"include": ["x-*"], "exclude": null}')
    monkeypatch.setenv("THREADMILL_DISABLED_ROUTES", "store, mcp")
    monkeypatch.setenv("THREADMILL_WEBHOOK_ALLOWED_PORTS", "443,8443")
    monkeypatch.setenv("MOUNT_PREFIX", "/api")
    settings = GatewaySettings()
    assert settings.configurable_headers == HeaderRule(includes=("x-*",))
    assert settings.disabled_routes == ("store", "mcp")
    assert settings.webhook_allowed_ports == (443, 8443)
    assert settings.mount_prefix == "/api"
