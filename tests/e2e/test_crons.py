"""Crons through the SDK and over REST, and what they leave behind when they fire."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

from .driving import until

YEARLY = "5 4 1 1 *"
EVERY_SECOND = "* * * * * *"


async def create(client: LangGraphClient, **fields: Any) -> dict[str, Any]:
    return dict(await client.crons.create("echo", **{"schedule": YEARLY, **fields}))


async def test_cron_shows_the_request_and_the_next_run(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    answer = await http.post(
        "/runs/crons",
        json={"assistant_id": "echo", "schedule": YEARLY, "input": {"text": "hi"}, "metadata": {"m": 1, "run_id": "x"}},
    )
    assert answer.status_code == 200
    cron = answer.json()
    assert (await http.get(f"/runs/crons/{cron['cron_id']}")).json() == cron
    assistant_id = cron["assistant_id"]
    assert cron.pop("created_at") == cron.pop("updated_at")
    year = datetime.now(UTC).year + 1
    assert cron == {
        "cron_id": cron["cron_id"],
        "assistant_id": assistant_id,
        "thread_id": None,
        "user_id": "",
        "end_time": None,
        "schedule": YEARLY,
        "timezone": None,
        "payload": {
            "assistant_id": assistant_id,
            "schedule": YEARLY,
            "input": {"text": "hi"},
            "metadata": {"m": 1},
            "config": {"configurable": {"cron_id": cron["cron_id"]}},
        },
        "next_run_date": f"{year}-01-01T04:05:00+00:00",
        "metadata": {"m": 1},
        "on_run_completed": "delete",
        "enabled": True,
    }
    await client.crons.delete(cron["cron_id"])


async def test_timezone_goes_by_name(client: LangGraphClient) -> None:
    cron = await create(client, timezone=ZoneInfo("Europe/Berlin"))
    assert cron["timezone"] == "Europe/Berlin"
    assert cron["next_run_date"].endswith("-01-01T03:05:00+00:00")
    await client.crons.delete(cron["cron_id"])


async def test_update_search_count_delete(client: LangGraphClient) -> None:
    mark = str(uuid4())
    cron = await create(client, metadata={"mark": mark})
    end = datetime(2040, 1, 1, tzinfo=UTC)
    changed = await client.crons.update(cron["cron_id"], schedule="1 1 1 1 *", end_time=end, enabled=False)
    assert (changed["schedule"], changed["enabled"]) == ("1 1 1 1 *", False)
    assert changed["end_time"] == "2040-01-01T00:00:00.000000+00:00"
    assert (await client.crons.update(cron["cron_id"], end_time=None))["end_time"] is None
    found = await client.crons.search(metadata={"mark": mark}, enabled=False, select=["cron_id", "enabled"])
    assert found == [{"cron_id": cron["cron_id"], "enabled": False}]
    assert await client.crons.count(metadata={"mark": mark}) == 1
    await client.crons.delete(cron["cron_id"])
    with pytest.raises(NotFoundError):
        await client.crons.delete(cron["cron_id"])


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"schedule": YEARLY}, 422, "assistant_id"),
        ({"assistant_id": "echo"}, 422, "schedule"),
        ({"assistant_id": "echo", "schedule": "bogus"}, 422, "Invalid cron schedule: 'bogus'. Reason: "),
        ({"assistant_id": "echo", "schedule": YEARLY, "timezone": "Mars/X"}, 422, "Invalid timezone: 'Mars/X'."),
        ({"assistant_id": "nope", "schedule": YEARLY}, 404, "Assistant 'nope' not found"),
        ({"assistant_id": "echo", "schedule": YEARLY, "input": "s"}, 422, "input"),
        ({"assistant_id": "echo", "schedule": YEARLY, "end_time": None}, 422, "end_time"),
        ({"assistant_id": "echo", "schedule": YEARLY, "end_time": "garbage"}, 422, "end_time"),
        ({"assistant_id": "echo", "schedule": YEARLY, "webhook": "http://localhost/x"}, 422, "localhost"),
    ],
)
async def test_refusals_of_create(http: httpx.AsyncClient, body: Any, status: int, detail: str) -> None:
    answer = await http.post("/runs/crons", json=body)
    assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), answer.text


async def test_refusals_by_id_and_of_patch(http: httpx.AsyncClient, client: LangGraphClient) -> None:
    unknown = str(uuid4())
    cron = await create(client)
    own = f"/runs/crons/{cron['cron_id']}"
    answers = [
        (await http.get(f"/runs/crons/{unknown}"), 404, "Not Found"),
        (await http.get("/runs/crons/abc"), 422, "Invalid cron ID: must be a UUID"),
        (await http.patch(f"/runs/crons/{unknown}", json={"enabled": True}), 404, f"Cron '{unknown}' not found"),
        (await http.patch(own, json={}), 400, "Request body cannot be empty"),
        (await http.patch(own, json={"enabled": None}), 422, "enabled"),
        (await http.patch(own, json={"schedule": "bogus"}), 422, "Invalid cron schedule: 'bogus'"),
        (await http.delete(f"/runs/crons/{unknown}"), 404, "Not Found"),
        (await http.post("/runs/crons/search", json={"assistant_id": "echo"}), 422, "Invalid assistant ID"),
        (await http.post("/runs/crons/search", json={"sort_by": "zz"}), 422, "sort_by"),
        (await http.post("/threads/abc/runs/crons", json={}), 422, "Invalid thread ID: must be a UUID"),
        (
            await http.post(f"/threads/{unknown}/runs/crons", json={"assistant_id": "echo", "schedule": YEARLY}),
            404,
            f"Thread with ID '{unknown}' not found.",
        ),
    ]
    for answer, status, detail in answers:
        assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), answer.text
    assert (await http.patch(own, json={"unknown": 1})).status_code == 200
    await client.crons.delete(cron["cron_id"])


async def test_search_pages_like_the_others(http: httpx.AsyncClient, client: LangGraphClient) -> None:
    mark = str(uuid4())
    made = [(await create(client, metadata={"mark": mark}))["cron_id"] for _ in range(3)]
    search = {"metadata": {"mark": mark}, "limit": 2, "select": ["cron_id"]}
    answer = await http.post("/runs/crons/search", json=search)
    assert [cron["cron_id"] for cron in answer.json()] == made[:0:-1]
    assert (answer.headers["x-pagination-next"], answer.headers["x-pagination-total"]) == ("2", "3")
    last = await http.post("/runs/crons/search", json={**search, "offset": 2})
    assert "x-pagination-next" not in last.headers
    for cron_id in made:
        await client.crons.delete(cron_id)


async def test_cron_fires_on_time_on_a_new_thread_and_keeps_it(client: LangGraphClient) -> None:
    mark = str(uuid4())
    cron = await create(
        client,
        schedule=EVERY_SECOND,
        input={"text": "hi"},
        metadata={"mark": mark},
        on_run_completed="keep",
        end_time=datetime.now(UTC) + timedelta(seconds=4),
    )

    async def done() -> Any:
        threads = await client.threads.search(metadata={"mark": mark})
        return [thread for thread in threads if thread["status"] == "idle" and thread["values"]]

    thread = (await until(done))[0]
    await client.crons.delete(cron["cron_id"])
    assert thread["values"]["answer"] == "echo: hi"
    [run] = await client.runs.list(thread["thread_id"])
    assert run["metadata"]["mark"] == mark
    assert run["kwargs"]["config"]["configurable"]["cron_id"] == cron["cron_id"]
    assert datetime.fromisoformat(run["created_at"]).microsecond < 900_000


async def test_thread_cron_runs_on_its_thread_and_goes_with_it(client: LangGraphClient, thread_id: str) -> None:
    cron = dict(await client.crons.create_for_thread(thread_id, "echo", schedule=EVERY_SECOND, input={"text": "hi"}))
    assert (cron["thread_id"], cron["on_run_completed"]) == (thread_id, None)
    assert await until(lambda: client.runs.list(thread_id))
    await client.threads.delete(thread_id)
    assert await client.crons.count(thread_id=thread_id) == 0


async def test_cron_whose_end_is_past_never_fires(client: LangGraphClient) -> None:
    cron = await create(client, schedule=EVERY_SECOND, end_time=datetime(2001, 1, 1, tzinfo=UTC))
    assert (cron["end_time"], cron["next_run_date"]) == ("2001-01-01T00:00:00.000000+00:00", None)
    await client.crons.delete(cron["cron_id"])


async def test_info_says_that_crons_are_there(http: httpx.AsyncClient) -> None:
    assert (await http.get("/info")).json()["flags"]["crons"] is True
