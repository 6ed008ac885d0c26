"""Crons over gRPC: create, change, search, count, delete, and what is refused."""

from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
import threadmill_runs
from threadmill_chassis.grpc_errors import reason_of
from threadmill_chassis.ids import new_id
from threadmill_chassis.postgres import load_queries
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import crons_pb2
from threadmill_runs.schema import QUERIES

Search = crons_pb2.SearchCronsRequest


async def reason(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return reason_of(raised.value)


async def test_create_twice_with_one_id_makes_one_cron(crons: Any) -> None:
    cron_id = new_id()
    first = await crons.create(cron_id=cron_id, payload={"input": 1})
    assert await crons.create(cron_id=cron_id, payload={"input": 2}) == first
    assert orjson.loads(first.payload_json) == {
        "input": 1,
        "assistant_id": first.assistant_id,
        "config": {"configurable": {"cron_id": cron_id}},
    }


async def test_refusals_of_create(crons: Any) -> None:
    assert await reason(crons.create(assistant_id="nope")) == "INVALID_ASSISTANT"
    assert await reason(crons.create(assistant_id=new_id())) == "ASSISTANT_NOT_FOUND"
    assert await reason(crons.create(thread_id=new_id())) == "THREAD_NOT_FOUND"
    assert await reason(crons.create("bogus")) == "INVALID_SCHEDULE"
    assert await reason(crons.create(timezone="Mars/X")) == "INVALID_TIMEZONE"


async def test_unknown_crons(crons: Any) -> None:
    cron_id = new_id()
    assert await reason(crons.get(cron_id)) == "CRON_NOT_FOUND"
    assert await reason(crons.stub.UpdateCron(crons_pb2.UpdateCronRequest(cron_id=cron_id))) == "CRON_NOT_FOUND"
    assert await reason(crons.stub.DeleteCron(crons_pb2.DeleteCronRequest(cron_id=cron_id))) == "CRON_NOT_FOUND"
    assert await reason(crons.get("x")) == "INVALID_ARGUMENT"


async def test_change_is_saved_and_a_bad_one_is_not(crons: Any) -> None:
    cron = await crons.create(payload={"metadata": {"a": 1}})
    changed = await crons.stub.UpdateCron(
        crons_pb2.UpdateCronRequest(
            cron_id=cron.cron_id, timezone="Asia/Tokyo", metadata_json=b'{"b":2}', payload_json=b'{"metadata":{"b":2}}'
        )
    )
    assert (
        await reason(
            crons.stub.UpdateCron(crons_pb2.UpdateCronRequest(cron_id=cron.cron_id, enabled=False, schedule="bogus"))
        )
        == "INVALID_SCHEDULE"
    )
    assert await crons.get(cron.cron_id) == changed
    assert orjson.loads(changed.metadata_json) == {"a": 1, "b": 2}
    assert changed.next_run_time.ToSeconds() % 86400 == 15 * 3600
    assert changed.update_time.ToNanoseconds() > cron.update_time.ToNanoseconds()


async def test_search_filters_sorts_and_pages(crons: Any) -> None:
    thread_id = await crons.system.thread()
    on_thread = await crons.create("0 0 2 1 *", thread_id=thread_id, payload={"metadata": {"k": "v"}})
    stopped = await crons.create("0 0 3 1 *", disabled=True)
    last = await crons.create("0 0 4 1 *", payload={"metadata": {"k": "v", "x": 1}})

    async def found(**fields: Any) -> list[str]:
        answer = await crons.stub.SearchCrons(Search(**fields))
        return [each.cron_id for each in answer.crons]

    ids = [on_thread.cron_id, stopped.cron_id, last.cron_id]
    assert await found() == ids[::-1]
    assert await found(sort_by=Search.SORT_BY_NEXT_RUN_TIME, sort_order=common_pb2.SORT_ORDER_ASCENDING) == ids
    for column in Search.SortBy.values():
        assert set(await found(sort_by=column)) == set(ids)
    assert await found(filter={"thread_id": thread_id}) == ids[:1]
    assert await found(filter={"enabled": False}) == [stopped.cron_id]
    assert await found(filter={"metadata_json": b'{"k":"v"}'}) == [last.cron_id, on_thread.cron_id]
    assert await found(filter={"assistant_id": new_id()}) == []
    page = await crons.stub.SearchCrons(Search(limit=2, offset=1))
    assert ([each.cron_id for each in page.crons], page.has_more) == ([stopped.cron_id, on_thread.cron_id], False)
    count = await crons.stub.CountCrons(crons_pb2.CountCronsRequest(filter={"metadata_json": b'{"k":"v"}'}))
    assert count.count == 2


MINE = load_queries(QUERIES / "crons.sql"), load_queries(QUERIES / "webhooks.sql")
NAMES = [(queries, name) for queries in MINE for name in queries.available_queries if not name.endswith("_cursor")]
FOLDER = Path(threadmill_runs.__file__).parent
SOURCE = "\n".join((FOLDER / part / "repo.py").read_text() for part in ("crons", "webhooks"))


@pytest.mark.parametrize(("queries", "name"), NAMES, ids=[name for _, name in NAMES])
async def test_query_prepares_and_is_used(crons: Any, queries: Any, name: str) -> None:
    await crons.system.sql.prepare(getattr(queries, name).sql)
    assert f"_sql.{name}(" in SOURCE
