"""Reasons and statuses of gRPC as HTTP, and the parts of HTTP that no service decides."""

from dataclasses import replace
from typing import ClassVar

import grpc
import httpx
import pytest
from threadmill_chassis.errors import DomainError
from threadmill_gateway.app import create_app
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import TABLE
from threadmill_gateway.settings import GatewaySettings

from .gateway_script import ASSISTANT_ID, CHECKPOINT_ID, THREAD_ID, Script, assistant_row, open_gateway, thread_row
from .reasons import reason

GENERIC = "/threads/count"  # an endpoint that overrides no reason


@pytest.fixture
def undeclared(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client that takes from `GENERIC` what its service never answers."""
    client.event_hooks = {}
    return client


def domain_error(code: grpc.StatusCode, name: str) -> DomainError:
    class Raised(DomainError):
        status: ClassVar[grpc.StatusCode] = code
        reason: ClassVar[str] = name

    return Raised("the service's message")


@pytest.mark.parametrize("name", sorted(set(TABLE) - {code.name for code in grpc.StatusCode}))
async def test_every_reason_has_its_status_and_text(undeclared: httpx.AsyncClient, script: Script, name: str) -> None:
    script.on(CountThreads=domain_error(grpc.StatusCode.FAILED_PRECONDITION, name))
    status, text = TABLE[name]
    response = await undeclared.post(GENERIC, json={})
    assert (response.status_code, response.json()) == (status, {"detail": text or "the service's message"})


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.ALREADY_EXISTS, 409),
        (grpc.StatusCode.INVALID_ARGUMENT, 422),
        (grpc.StatusCode.UNIMPLEMENTED, 501),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
    ],
)
async def test_unknown_reason_falls_back_to_the_status(
    undeclared: httpx.AsyncClient, script: Script, code: grpc.StatusCode, status: int
) -> None:
    script.on(CountThreads=domain_error(code, "SOMETHING_NEW"))
    assert (await undeclared.post(GENERIC, json={})).status_code == status


async def test_unavailable_service_is_503(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CountThreads=domain_error(grpc.StatusCode.ABORTED, "UNAVAILABLE"))  # a status that nobody retries
    response = await client.post(GENERIC, json={})
    assert (response.status_code, response.json()) == (503, {"detail": "Service Unavailable"})


async def test_defect_of_a_service_is_plain_500(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CountThreads=KeyError("boom"))
    response = await client.post(GENERIC, json={})
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert response.headers["connection"] == "close"


async def test_defect_of_the_gateway_is_plain_500_with_cors_left_to_the_browser(settings: GatewaySettings) -> None:
    async def broken(_: str, __: int) -> list[str]:
        raise LookupError("a defect")

    async with open_gateway(settings) as opened:
        gateway = replace(opened, resolve=broken)
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            response = await client.post("/runs", json={"assistant_id": "a", "webhook": "http://example.com"})
    assert (response.status_code, response.text) == (500, "Internal Server Error")


async def test_unknown_path(client: httpx.AsyncClient) -> None:
    response = await client.get("/nothing/here")
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})


async def test_wrong_method_names_the_allowed_ones(client: httpx.AsyncClient) -> None:
    response = await client.put(f"/threads/{THREAD_ID}")
    assert (response.status_code, response.json()) == (405, {"detail": "Method Not Allowed"})
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "PATCH", "DELETE"}


async def test_trailing_slash_redirects(client: httpx.AsyncClient) -> None:
    response = await client.post("/threads/", json={})
    assert response.status_code == 307
    assert response.headers["location"] == "http://gateway/threads"


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'{"a": "\xff"}'])
async def test_body_that_is_no_json(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/threads", content=body)
    assert (response.status_code, response.json()) == (422, {"detail": "Invalid JSON in request body"})


async def test_body_above_the_limit_is_refused_by_length_and_by_count(gateway: Gateway) -> None:
    settings = gateway.settings.model_copy(update={"http_max_request_body_bytes": 10})
    small = replace(gateway, settings=settings)

    async def chunks() -> object:
        yield b'{"metadata":'
        yield b'{"a":1}}'

    transport = httpx.ASGITransport(create_app(small))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        declared = await client.post("/threads", content=b'{"metadata":{}}')
        counted = await client.post("/threads", content=chunks())  # type: ignore[arg-type]
    assert declared.status_code == counted.status_code == 413
    assert declared.json() == {"detail": "Request Entity Too Large"}


STATE = f"/threads/{THREAD_ID}/state"
ITEM = {"namespace": ["a"], "key": "k", "value": {}}


@pytest.mark.parametrize(
    ("method", "path", "body", "method_of_the_service", "reason_given", "status"),
    [
        ("GET", f"/assistants/{ASSISTANT_ID}/graph", None, "DrawGraph", "USER_ERROR", 400),
        ("GET", f"/assistants/{ASSISTANT_ID}/schemas", None, "GetGraphSchemas", "USER_ERROR", 400),
        ("GET", f"/assistants/{ASSISTANT_ID}/subgraphs", None, "ListSubgraphs", "USER_ERROR", 400),
        ("GET", f"/assistants/{ASSISTANT_ID}/subgraphs/a", None, "ListSubgraphs", "USER_ERROR", 400),
        ("GET", STATE, None, "GetState", "USER_ERROR", 400),
        ("GET", f"{STATE}/{CHECKPOINT_ID}", None, "GetState", "USER_ERROR", 400),
        ("POST", f"{STATE}/checkpoint", {"checkpoint": {}}, "GetState", "USER_ERROR", 400),
        ("GET", f"/threads/{THREAD_ID}/history", None, "GetHistory", "USER_ERROR", 400),
        ("POST", f"/threads/{THREAD_ID}/history", {}, "GetHistory", "USER_ERROR", 400),
        ("GET", "/agents/steps/schemas", None, "GetGraphSchemas", "USER_ERROR", 422),
        ("PUT", "/store/items", ITEM, "Batch", "EMBEDDING_FAILED", 502),
        ("POST", "/store/items/search", {"namespace_prefix": ["a"], "query": "q"}, "Batch", "EMBEDDING_FAILED", 502),
        ("POST", "/store/items/search", {"namespace_prefix": ["a"], "query": "q"}, "Batch", "INDEX_MISMATCH", 503),
        ("GET", "/metrics?format=json", None, "GetQueueStats", "UNAVAILABLE", 503),
    ],
)
async def test_failures_of_user_code_are_declared(
    client: httpx.AsyncClient,
    script: Script,
    method: str,
    path: str,
    body: object,
    method_of_the_service: str,
    reason_given: str,
    status: int,
) -> None:
    """`client` holds each answer against the OpenAPI document."""
    script.on(GetAssistant=assistant_row(), GetThread=thread_row(), **{method_of_the_service: reason(reason_given)})
    assert (await client.request(method, path, json=body)).status_code == status
