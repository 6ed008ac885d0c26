"""Webhooks go out once a run has ended, however it ended, and until they succeed or are given up."""

import hashlib
import hmac
from typing import Any

import orjson
from eventually import until
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2
from threadmill_runs.webhooks.addresses import AddressRule
from threadmill_runs.webhooks.sender import Sender, open_http
from threadmill_runs.webhooks.sending import SendFailed, SendOptions
from webhook_receiver import receiving

Outcome = executors_pb2.Outcome


async def run(crons: Any, url: str, thread_id: str = "", **fields: Any) -> Any:
    return await crons.system.create(thread_id, webhook=url, **fields)


async def finish(crons: Any, result: Any = Outcome.RESULT_SUCCESS, **fields: Any) -> Any:
    executor = crons.system.attached[0]
    assignment = await executor.assignment()
    await executor.finish(assignment, result=result, **fields)
    return assignment


async def nothing_left(crons: Any) -> bool:
    return not await crons.system.sql.fetchval("SELECT EXISTS (SELECT FROM runs.webhook_delivery)")


async def test_body_headers_and_signature_of_a_call(start_crons: Any) -> None:
    crons = await start_crons(webhook_headers={"X-Mine": "v", "content-type": "text/x"}, webhook_secret="s")
    thread_id = await crons.system.thread()
    async with receiving() as receiver:
        created = await run(crons, receiver.url, thread_id, metadata_json=b'{"m":1}')
        await finish(crons, values_json=b'{"n":1}')
        call = await receiver.call()
    assert call.path == "/hook"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["x-mine"] == "v"
    assert call.headers["host"] == f"127.0.0.1:{receiver.port}"
    sent_at, digest = (part.split("=")[1] for part in call.headers["x-threadmill-signature"].split(","))
    expected = hmac.new(b"s", f"{sent_at}.".encode() + call.content, hashlib.sha256).hexdigest()
    assert digest == expected
    body = call.body
    assert body["run_id"] == created.run_id
    assert body["thread_id"] == thread_id
    assert body["metadata"]["m"] == 1
    assert body["kwargs"]["webhook"] == receiver.url
    assert (body["status"], body["values"]) == ("success", {"n": 1})
    assert "error" not in body
    assert body["created_at"] <= body["run_started_at"] <= body["run_ended_at"] <= body["webhook_sent_at"]
    row = await crons.system.sql.fetchrow("SELECT * FROM runs.run WHERE run_id = $1", created.run_id)
    assert body["updated_at"] == row["updated_at"].isoformat(timespec="microseconds")
    await until(lambda: nothing_left(crons))
    assert receiver.count == 1


async def test_failed_run_tells_its_error(crons: Any) -> None:
    thread_id = await crons.system.thread()
    error = {"error": "ValueError", "message": "no"}
    async with receiving() as receiver:
        await run(crons, receiver.url, thread_id)
        await finish(crons, Outcome.RESULT_ERROR, error_json=orjson.dumps(error), values_json=b'{"n":1}')
        body = (await receiver.call()).body
    assert (body["status"], body["error"], body["values"]) == ("error", error, {"n": 1})


async def test_stateless_run_has_no_values(crons: Any) -> None:
    async with receiving() as receiver:
        created = await run(crons, receiver.url)
        await finish(crons, values_json=b'{"n":1}')
        body = (await receiver.call()).body
    assert (body["run_id"], body["status"], body["values"]) == (created.run_id, "success", None)


async def test_rolled_back_run_is_told_as_such(crons: Any) -> None:
    thread_id = await crons.system.thread()
    async with receiving() as receiver:
        created = await run(crons, receiver.url, thread_id)
        executor = crons.system.attached[0]
        assignment = await executor.assignment()
        await crons.system.runs.CancelRuns(
            runs_pb2.CancelRunsRequest(
                thread_id=thread_id, run_ids=[created.run_id], action=runs_pb2.CANCEL_ACTION_ROLLBACK, reason="mine"
            )
        )
        await executor.expect("cancel")
        await executor.finish(assignment, result=Outcome.RESULT_CANCELLED, values_json=b'{"n":1}')
        body = (await receiver.call()).body
    assert (body["status"], body["values"]) == ("rollback", None)
    assert body["error"] == {"error": "UserRollback", "message": "mine"}


async def test_pending_run_that_is_cancelled_calls_too(crons: Any) -> None:
    thread_id = await crons.system.thread()
    async with receiving() as receiver:
        await crons.system.create(thread_id)
        created = await run(crons, receiver.url, thread_id)
        await crons.system.runs.CancelRuns(
            runs_pb2.CancelRunsRequest(thread_id=thread_id, run_ids=[created.run_id], reason="mine")
        )
        body = (await receiver.call()).body
    assert (body["run_id"], body["status"], body["run_started_at"]) == (created.run_id, "interrupted", None)
    assert body["error"] == {"error": "UserInterrupt", "message": "mine"}


async def test_call_is_repeated_until_it_succeeds(crons: Any) -> None:
    async with receiving(500, 302, 404, 204) as receiver:
        created = await run(crons, receiver.url)
        await finish(crons)
        calls = [await receiver.call() for _ in range(4)]
        await until(lambda: nothing_left(crons))
    assert {call.headers["webhook-id"] for call in calls} == {created.run_id}
    assert {call.path for call in calls} == {"/hook"}, "a redirect was followed"
    assert receiver.count == 4


async def test_call_is_given_up_after_its_attempts(start_crons: Any) -> None:
    crons = await start_crons(webhook_max_attempts=3)
    async with receiving(500) as receiver:
        await run(crons, receiver.url)
        await finish(crons)
        await until(lambda: nothing_left(crons))
        assert receiver.count == 3


async def test_local_address_is_not_called_unless_allowed(start_crons: Any) -> None:
    crons = await start_crons(webhook_allow_loopback=False)
    async with receiving() as receiver:
        await run(crons, receiver.url)
        await finish(crons)
        await until(lambda: nothing_left(crons))
        assert receiver.count == 0


async def test_call_that_a_dead_replica_had_begun_is_made_by_another(crons: Any) -> None:
    """Its row stands in the table, the run has ended, the lease of the attempt is over."""
    async with receiving() as receiver:
        await crons.system.sql.execute(
            "INSERT INTO runs.webhook_delivery (run_id, url, document, attempt) VALUES ($1, $2, '{\"a\":1}', 1)",
            new_id(),
            receiver.url,
        )
        assert (await receiver.call()).body["a"] == 1
        await until(lambda: nothing_left(crons))


async def test_plan_of_an_attempt_that_did_not_end_the_run_is_replaced(crons: Any) -> None:
    async with receiving() as receiver:
        thread_id = await crons.system.thread()
        created = await run(crons, receiver.url, thread_id)
        assignment = await crons.system.attached[0].assignment()
        await crons.system.sql.execute(
            "INSERT INTO runs.webhook_delivery (run_id, url, document) VALUES ($1, $2, '{\"stale\":1}')",
            created.run_id,
            receiver.url,
        )
        other = await run(crons, receiver.url)
        await finish(crons)
        assert (await receiver.call()).body["run_id"] == other.run_id  # the plan alone was not enough
        await crons.system.attached[0].finish(assignment)
        assert (await receiver.call()).body["run_id"] == created.run_id


async def test_runs_of_a_cron_call_its_webhook(crons: Any) -> None:
    async with receiving() as receiver:
        cron = await crons.create(payload={"webhook": receiver.url})
        await crons.make_due(cron.cron_id)
        await finish(crons)
        body = (await receiver.call()).body
    assert body["kwargs"]["config"]["configurable"]["cron_id"] == cron.cron_id


def sender(http: Any, addresses: list[str], rule: AddressRule) -> tuple[Sender, list[str]]:
    asked: list[str] = []

    async def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return addresses

    options = SendOptions(timeout_seconds=5, headers={}, secret="", base_url="http://base.test", rule=rule)
    return Sender(http, options, resolver), asked


async def test_name_is_resolved_once_and_the_checked_address_is_called() -> None:
    async with receiving() as receiver, open_http() as http:
        calls, asked = sender(http, ["127.0.0.1"], AddressRule(allow_loopback=True))
        assert await calls.send(f"http://user:pass@hook.test:{receiver.port}/a?b=c", "id-1", b"{}") == 200
        call = await receiver.call()
    assert asked == ["hook.test"]
    assert (call.path, call.headers["host"]) == ("/a?b=c", f"hook.test:{receiver.port}")
    assert call.headers["authorization"].startswith("Basic ")


async def test_refused_addresses_and_urls_are_final() -> None:
    async with open_http() as http:
        calls, _ = sender(http, ["93.184.216.34", "10.0.0.1"], AddressRule())
        for url in ("http://hook.test/", "https://hook.test/", "ftp://hook.test/", "/relative"):
            failed = await failure(calls, url)
            assert failed.final, url


async def test_unreachable_host_may_be_tried_again() -> None:
    async with receiving() as receiver, open_http() as http:
        gone = receiver.url
    async with open_http() as http:
        calls, _ = sender(http, ["127.0.0.1", "::1"], AddressRule(allow_loopback=True))
        assert not (await failure(calls, gone)).final


async def failure(calls: Sender, url: str) -> SendFailed:
    try:
        await calls.send(url, "id-1", b"{}")
    except SendFailed as error:
        return error
    raise AssertionError(f"{url} was called")


async def test_disabled_webhooks_are_never_planned(start_crons: Any) -> None:
    crons = await start_crons(webhook_enabled=False)
    thread_id = await crons.system.thread()
    async with receiving() as receiver:
        ended = await run(crons, receiver.url, thread_id)
        cancelled = await run(crons, receiver.url, thread_id)
        await crons.system.runs.CancelRuns(runs_pb2.CancelRunsRequest(thread_id=thread_id, run_ids=[cancelled.run_id]))
        assert await nothing_left(crons)
        await finish(crons)
        await until(lambda: is_terminal(crons, ended.run_id))
        assert await nothing_left(crons)
    assert receiver.count == 0


async def is_terminal(crons: Any, run_id: str) -> bool:
    query = "SELECT status NOT IN ('pending', 'running') FROM runs.run WHERE run_id = $1"
    return bool(await crons.system.sql.fetchval(query, run_id))


async def test_a_receiver_that_does_not_answer_holds_up_no_other(start_crons: Any) -> None:
    crons = await start_crons(webhook_concurrency=4, webhook_timeout_seconds=20)
    async with receiving(hangs=True) as hanging, receiving() as well:
        for _ in range(12):  # more than all calls that the two replicas make at once
            await run(crons, hanging.url)
            await finish(crons)
        await hanging.call()
        await run(crons, well.url)
        await finish(crons)
        await well.call(seconds=5)
        hanging.answers.set()
        await until(lambda: nothing_left(crons))
    assert hanging.count == 12
