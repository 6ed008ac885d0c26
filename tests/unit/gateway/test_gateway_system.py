"""Health, info, metrics, documentation, CORS, and the process's own start."""

import httpx
import pytest
from openapi_spec_validator import validate
from threadmill_chassis.grpc_server import AddressInUse
from threadmill_gateway.app import ENDPOINTS
from threadmill_gateway.openapi import openapi
from threadmill_gateway.server import listen
from threadmill_gateway.settings import GatewaySettings
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.store.v1 import store_pb2

from .gateway_script import THREAD_ID, Script, thread_row
from .reasons import reason


@pytest.mark.parametrize("path", ["/ok", "/", "/ok?check_db=0"])
async def test_health(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).json() == {"ok": True, "services": {}}
    assert (await client.head(path)).status_code == 200


async def test_health_of_the_services_too(client: httpx.AsyncClient, script: Script) -> None:
    script.on(
        GetThread=reason("THREAD_NOT_FOUND"), Batch=store_pb2.BatchResponse(), GetQueueStats=runs_pb2.QueueStats()
    )
    response = await client.get("/ok?check_db=2")
    assert (response.status_code, response.json()) == (200, {"ok": True, "services": {}})
    assert sorted(script.names()) == ["Batch", "GetQueueStats", "GetThread"]


@pytest.mark.parametrize("value", ["", "true", "nonsense"])
async def test_health_check_is_asked_for_by_a_number(client: httpx.AsyncClient, script: Script, value: str) -> None:
    response = await client.get("/ok", params={"check_db": value})
    assert (response.status_code, script.names()) == (400, [])
    assert isinstance(response.json()["detail"], str)


async def test_health_names_the_services_that_are_away(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetThread=reason("THREAD_NOT_FOUND"), Batch=reason("UNAVAILABLE"), GetQueueStats=runs_pb2.QueueStats())
    response = await client.get("/ok?check_db=1")
    assert (response.status_code, response.json()) == (503, {"ok": False, "services": {"store": "unavailable"}})


async def test_info(client: httpx.AsyncClient) -> None:
    found = (await client.get("/info")).json()
    assert found["host"]["kind"] == "self-hosted"
    assert found["flags"]["assistants"] is True
    assert found["version"]


async def test_metrics_count_requests_by_route_and_show_the_queue(client: httpx.AsyncClient, script: Script) -> None:
    stats = runs_pb2.QueueStats(
        pending_count=3, running_count=1, worker_max_count=10, worker_active_count=1, pending_wait_max_seconds=7.5
    )
    script.on(GetThread=thread_row(), GetQueueStats=stats)
    await client.get(f"/threads/{THREAD_ID}")
    await client.get("/nothing")
    text = await client.get("/metrics")
    assert text.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    labels = '{method="GET",path="/threads/{thread_id}",status="200"}'
    assert f"lg_api_http_requests_total{labels} 1.0" in text.text
    assert f"lg_api_http_requests_latency_count{labels} 1.0" in text.text
    assert "lg_api_workers_available 9" in text.text
    assert "lg_api_pending_runs_wait_time_max 7.5" in text.text
    assert "lg_api_http_requests_in_progress 1.0" in text.text  # this one
    found = (await client.get("/metrics?format=json")).json()
    assert found["queue"]["n_pending"] == 3
    assert found["workers"] == {"max": 10, "active": 1, "available": 9}
    assert {"method": "GET", "path": "unmatched", "status": "404", "count": 1} in found["api"]["http_requests_total"]


async def test_metrics_do_without_the_runs_api(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetQueueStats=reason("UNAVAILABLE"))
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert "lg_api_workers" not in response.text


def test_openapi_is_valid_and_names_every_route() -> None:
    document = openapi(ENDPOINTS, "1")
    validate(document)
    named = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert named == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_openapi_is_complete() -> None:
    """Each operation: its body, what it answers, and how it fails."""
    document = openapi(ENDPOINTS, "1")
    for endpoint in ENDPOINTS:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        answers = operation["responses"]
        assert operation["summary"]
        assert ("requestBody" in operation) == (endpoint.body is not None)
        assert endpoint.body is not None or endpoint.method not in ("PUT", "PATCH")
        for status, answer in answers.items():
            assert ("content" in answer) != (status in ("202", "204")), (endpoint.path, status)
        in_path = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
        assert all(f"{{{name}}}" in endpoint.path for name in in_path)
        assert len(in_path) == endpoint.path.count("{")
        if endpoint.calls:
            assert {"422", "500", "503", "504"} <= answers.keys()
        if endpoint.body is not None:
            assert {"408", "413"} <= answers.keys()


def test_openapi_names_headers_and_every_media_type() -> None:
    paths = openapi(ENDPOINTS, "1")["paths"]
    for path in ("/assistants/search", "/threads/search", "/runs/crons/search"):
        headers = paths[path]["post"]["responses"]["200"]["headers"]
        assert {name: header["required"] for name, header in headers.items()} == {
            "X-Pagination-Total": True,
            "X-Pagination-Next": False,
        }
    assert set(paths["/metrics"]["get"]["responses"]["200"]["content"]) == {"text/plain", "application/json"}
    put = paths["/store/items"]["put"]["responses"]
    assert set(put["422"]["content"]) == {"text/plain", "application/json"}
    assert set(put["502"]["content"]) == {"application/json"}
    cancel = paths["/threads/{thread_id}/runs/{run_id}/cancel"]["post"]["responses"]
    assert "headers" not in cancel["202"]
    assert set(cancel["200"]["headers"]) == {"Location", "Content-Location"}
    assert cancel["503"]["headers"]["Retry-After"]["required"]


def test_openapi_shows_no_null_where_null_is_refused() -> None:
    create = openapi(ENDPOINTS, "1")["components"]["schemas"]["RunCreate"]["properties"]
    assert create["webhook"]["type"] == "string"
    assert create["command"]["anyOf"][1] == {"type": "null"}


async def test_documentation_is_served_and_self_contained(client: httpx.AsyncClient) -> None:
    assert (await client.get("/openapi.json")).json()["openapi"] == "3.1.0"
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text


async def test_cors_lets_any_origin_read_locations(client: httpx.AsyncClient) -> None:
    origin = {"origin": "http://app.example"}
    response = await client.get("/ok", headers=origin)
    assert response.headers["access-control-allow-origin"] == "*"
    exposed = response.headers["access-control-expose-headers"]
    assert exposed == "x-pagination-total, x-pagination-next, content-location, location"
    asks = {**origin, "access-control-request-method": "PATCH", "access-control-request-headers": "x-api-key"}
    preflight = await client.options("/threads", headers=asks)
    assert (preflight.status_code, preflight.text) == (200, "OK")
    assert preflight.headers["access-control-max-age"] == "600"


async def test_cors_reaches_error_responses(client: httpx.AsyncClient) -> None:
    response = await client.get("/threads/bad", headers={"origin": "http://app.example"})
    assert response.headers["access-control-allow-origin"] == "*"


def test_port_in_use_is_one_sentence() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(AddressInUse, match=f"cannot listen on 127.0.0.1:{port}: "):
            listen("127.0.0.1", port)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADMILL_PORT", "9")
    monkeypatch.setenv("HTTP_MAX_REQUEST_BODY_BYTES", "5")
    monkeypatch.setenv("CORS_ALLOW_ORIGINS", "http://a, http://b")
    settings = GatewaySettings()
    assert (settings.port, settings.http_max_request_body_bytes) == (9, 5)
    assert settings.cors_allow_origins == ("http://a", "http://b")
