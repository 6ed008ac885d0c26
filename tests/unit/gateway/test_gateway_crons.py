"""Cron endpoints."""

from typing import Any

import httpx
import orjson
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import crons_pb2

from .gateway_script import ASSISTANT_ID, NOW, NOW_TEXT, THREAD_ID, Script
from .reasons import reason

CRON_ID = "01a20214-0000-7000-8000-000000000003"
CRON = f"/runs/crons/{CRON_ID}"
ON_THREAD = f"/threads/{THREAD_ID}/runs/crons"
BOTH = pytest.mark.parametrize("path", ["/runs/crons", ON_THREAD])
CREATE = {"assistant_id": "steps", "schedule": "*/5 * * * *"}


def cron_row(**changes: Any) -> crons_pb2.Cron:
    return crons_pb2.Cron(
        **{
            "cron_id": CRON_ID,
            "assistant_id": ASSISTANT_ID,
            "schedule": "*/5 * * * *",
            "payload_json": b'{"input":{"n":1}}',
            "metadata_json": b'{"m":1}',
            "next_run_time": Timestamp(seconds=1_790_000_100),
            "on_run_completed": crons_pb2.ON_RUN_COMPLETED_DELETE,
            "enabled": True,
            "create_time": NOW,
            "update_time": NOW,
            **changes,
        }
    )


DOCUMENT = {
    "cron_id": CRON_ID,
    "assistant_id": ASSISTANT_ID,
    "thread_id": None,
    "user_id": "",
    "end_time": None,
    "schedule": "*/5 * * * *",
    "timezone": None,
    "payload": {"input": {"n": 1}},
    "next_run_date": "2026-09-21T14:15:00+00:00",
    "metadata": {"m": 1},
    "on_run_completed": "delete",
    "enabled": True,
    "created_at": NOW_TEXT,
    "updated_at": NOW_TEXT,
}


async def test_create_forwards_everything(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateCron=cron_row())
    body = {
        **CREATE,
        "timezone": "Europe/Berlin",
        "end_time": "2026-12-01T00:00:00",
        "input": {"n": 1},
        "metadata": {"m": 1, "run_id": "the server's"},
        "config": {"tags": ["t"]},
        "context": {"c": 1},
        "webhook": "https://example.com/hook",
        "interrupt_before": ["a"],
        "interrupt_after": "*",
        "on_run_completed": "keep",
        "enabled": False,
        "stream_mode": ["values"],
        "stream_subgraphs": True,
        "stream_resumable": True,
        "durability": "sync",
    }
    response = await client.post("/runs/crons", json=body)
    assert (response.status_code, response.json()) == (200, DOCUMENT)
    asked = script.last("CreateCron")
    assert (asked.assistant_id, asked.thread_id, asked.timezone) == ("steps", "", "Europe/Berlin")
    assert asked.schedule == CREATE["schedule"]
    assert asked.end_time.ToJsonString() == "2026-12-01T00:00:00Z"  # without an offset it is UTC
    assert (asked.on_run_completed, asked.disabled) == (crons_pb2.ON_RUN_COMPLETED_KEEP, True)
    assert orjson.loads(asked.metadata_json) == {"m": 1}
    assert orjson.loads(asked.payload_json) == {**body, "metadata": {"m": 1}}
    assert asked.cron_id


async def test_create_on_a_thread(client: httpx.AsyncClient, script: Script) -> None:
    unspecified = crons_pb2.ON_RUN_COMPLETED_UNSPECIFIED
    script.on(CreateCron=cron_row(thread_id=THREAD_ID, on_run_completed=unspecified))
    response = await client.post(ON_THREAD, json={**CREATE, "multitask_strategy": "enqueue"})
    assert response.json() == {**DOCUMENT, "thread_id": THREAD_ID, "on_run_completed": None}
    assert script.last("CreateCron").thread_id == THREAD_ID


@BOTH
@pytest.mark.parametrize(
    "change",
    [
        {"assistant_id": ""},
        {"assistant_id": None},
        {"schedule": None},
        {"schedule": 5},
        {"timezone": None},
        {"end_time": "tomorrow"},
        {"end_time": None},
        {"input": "text"},
        {"metadata": []},
        {"config": {"tags": "t"}},
        {"context": None},
        {"webhook": ""},
        {"webhook": "http://localhost/"},
        {"interrupt_before": 1},
        {"on_run_completed": "other"},
        {"enabled": None},
        {"stream_mode": "other"},
        {"stream_subgraphs": "yes"},
        {"durability": "never"},
        {"multitask_strategy": "other"},
    ],
)
async def test_create_refuses(client: httpx.AsyncClient, script: Script, path: str, change: dict[str, Any]) -> None:
    response = await client.post(path, json={**CREATE, **change})
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)
    assert not script.asked


@pytest.mark.parametrize("missing", ["assistant_id", "schedule"])
async def test_create_needs(client: httpx.AsyncClient, missing: str) -> None:
    response = await client.post("/runs/crons", json={key: CREATE[key] for key in CREATE if key != missing})
    assert response.status_code == 422
    assert missing in response.json()["detail"]


@BOTH
@pytest.mark.parametrize(
    ("name", "status", "detail"),
    [
        ("INVALID_SCHEDULE", 422, "the service's text"),
        ("INVALID_TIMEZONE", 422, "the service's text"),
        ("ASSISTANT_NOT_FOUND", 404, "Assistant 'steps' not found"),
        ("INVALID_ASSISTANT", 404, "Assistant 'steps' not found"),
    ],
)
async def test_refused_creations(
    client: httpx.AsyncClient, script: Script, path: str, name: str, status: int, detail: str
) -> None:
    script.on(CreateCron=reason(name, "the service's text"))
    response = await client.post(path, json=CREATE)
    assert (response.status_code, response.json()) == (status, {"detail": detail})


async def test_create_on_an_unknown_thread(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CreateCron=reason("THREAD_NOT_FOUND"))
    response = await client.post(ON_THREAD, json=CREATE)
    assert response.status_code == 404
    assert response.json()["detail"].startswith(f"Thread with ID '{THREAD_ID}' not found.")
    malformed = await client.post("/threads/bad/runs/crons", json=CREATE)
    assert (malformed.status_code, malformed.json()) == (422, {"detail": "Invalid thread ID: must be a UUID"})


async def test_get(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetCron=cron_row(end_time=NOW, timezone="UTC", user_id="u"))
    found = (await client.get(CRON)).json()
    assert found == {**DOCUMENT, "end_time": NOW_TEXT, "timezone": "UTC", "user_id": "u"}
    assert script.last("GetCron").cron_id == CRON_ID


async def test_cron_without_a_tick_left(client: httpx.AsyncClient, script: Script) -> None:
    script.on(GetCron=cron_row(next_run_time=None))
    assert (await client.get(CRON)).json()["next_run_date"] is None


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_malformed_id(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/runs/crons/bad", json={"enabled": True})
    assert (response.status_code, response.json()) == (422, {"detail": "Invalid cron ID: must be a UUID"})


async def test_unknown_cron(client: httpx.AsyncClient, script: Script) -> None:
    unknown = reason("CRON_NOT_FOUND")
    script.on(GetCron=unknown, UpdateCron=unknown, DeleteCron=unknown)
    read, change, delete = (
        await client.get(CRON),
        await client.patch(CRON, json={"enabled": True}),
        await client.delete(CRON),
    )
    assert (read.status_code, read.json()) == (404, {"detail": "Not Found"})
    assert (change.status_code, change.json()) == (404, {"detail": f"Cron '{CRON_ID}' not found"})
    assert delete.status_code == 404


async def test_patch_sends_what_is_given(client: httpx.AsyncClient, script: Script) -> None:
    script.on(UpdateCron=cron_row())
    body = {"schedule": "@daily", "metadata": {"b": 2, "cron_id": "x"}, "input": {"n": 2}, "on_run_completed": "keep"}
    assert (await client.patch(CRON, json=body)).json() == DOCUMENT
    asked = script.last("UpdateCron")
    assert (asked.cron_id, asked.schedule, asked.HasField("timezone")) == (CRON_ID, "@daily", False)
    assert (asked.HasField("enabled"), asked.clear_end_time, asked.HasField("end_time")) == (False, False, False)
    assert asked.on_run_completed == crons_pb2.ON_RUN_COMPLETED_KEEP
    assert orjson.loads(asked.metadata_json) == {"b": 2}
    assert orjson.loads(asked.payload_json) == {**body, "metadata": {"b": 2}}


@pytest.mark.parametrize(("given", "cleared"), [(None, True), ("2027-01-01T00:00:00Z", False)])
async def test_patch_of_the_end(client: httpx.AsyncClient, script: Script, given: str | None, cleared: bool) -> None:
    script.on(UpdateCron=cron_row())
    await client.patch(CRON, json={"end_time": given})
    asked = script.last("UpdateCron")
    assert (asked.clear_end_time, asked.HasField("end_time")) == (cleared, not cleared)


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ([], 422), ({"enabled": None}, 422), ({"schedule": None}, 422), ({"webhook": "ftp://a"}, 422)],
)
async def test_patch_refuses(client: httpx.AsyncClient, script: Script, body: Any, status: int) -> None:
    response = await client.patch(CRON, json=body)
    assert response.status_code == status
    assert not script.asked


async def test_delete(client: httpx.AsyncClient, script: Script) -> None:
    response = await client.delete(CRON)
    assert (response.status_code, response.content) == (204, b"")
    assert script.last("DeleteCron").cron_id == CRON_ID


async def test_search_forwards_everything(client: httpx.AsyncClient, script: Script) -> None:
    script.on(SearchCrons=crons_pb2.SearchCronsResponse(crons=[cron_row()], has_more=True))
    body = {
        "assistant_id": ASSISTANT_ID,
        "thread_id": THREAD_ID,
        "enabled": False,
        "metadata": {"m": 1},
        "limit": 1,
        "offset": 4,
        "sort_by": "next_run_date",
        "sort_order": "asc",
        "select": ["cron_id", "payload"],
    }
    response = await client.post("/runs/crons/search", json=body)
    assert response.json() == [{"cron_id": CRON_ID, "payload": {"input": {"n": 1}}}]
    assert (response.headers["x-pagination-next"], response.headers["x-pagination-total"]) == ("5", "6")
    assert script.last("SearchCrons") == crons_pb2.SearchCronsRequest(
        filter=crons_pb2.CronFilter(
            assistant_id=ASSISTANT_ID, thread_id=THREAD_ID, enabled=False, metadata_json=b'{"m":1}'
        ),
        limit=1,
        offset=4,
        sort_by=crons_pb2.SearchCronsRequest.SORT_BY_NEXT_RUN_TIME,
        sort_order=common_pb2.SORT_ORDER_ASCENDING,
    )


async def test_search_defaults_to_the_newest_ten(client: httpx.AsyncClient, script: Script) -> None:
    script.on(SearchCrons=crons_pb2.SearchCronsResponse())
    assert (await client.post("/runs/crons/search", json={})).json() == []
    asked = script.last("SearchCrons")
    assert (asked.limit, asked.offset, asked.filter.HasField("enabled")) == (10, 0, False)
    assert asked.sort_by == crons_pb2.SearchCronsRequest.SORT_BY_CREATE_TIME
    assert asked.sort_order == common_pb2.SORT_ORDER_DESCENDING


@pytest.mark.parametrize(
    "body",
    [
        {"assistant_id": "steps"},
        {"thread_id": "bad"},
        {"limit": 0},
        {"limit": 1001},
        {"offset": -1},
        {"sort_by": "schedule"},
        {"sort_order": "up"},
        {"select": ["other"]},
        {"enabled": None},
        {"metadata": 1},
    ],
)
async def test_search_refuses(client: httpx.AsyncClient, script: Script, body: dict[str, Any]) -> None:
    assert (await client.post("/runs/crons/search", json=body)).status_code == 422
    assert not script.asked


async def test_count(client: httpx.AsyncClient, script: Script) -> None:
    script.on(CountCrons=crons_pb2.CountCronsResponse(count=3))
    response = await client.post("/runs/crons/count", json={"assistant_id": ASSISTANT_ID, "metadata": {"m": 1}})
    assert response.json() == 3
    asked = script.last("CountCrons").filter
    assert (asked.assistant_id, asked.metadata_json) == (ASSISTANT_ID, b'{"m":1}')
    assert (await client.post("/runs/crons/count", json={"thread_id": "bad"})).status_code == 422
