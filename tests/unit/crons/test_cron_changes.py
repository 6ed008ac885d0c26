"""What a PATCH makes of a cron, and the run that its payload becomes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_runs.crons.domain import Cron, CronChange, OnRunCompleted, payload_of
from threadmill_runs.crons.run_request import run_request
from threadmill_runs.errors import InvalidSchedule, InvalidTimezone

NOW = datetime(2026, 11, 22, 7, 23, tzinfo=UTC)
NEXT = datetime(2026, 11, 22, 7, 25, tzinfo=UTC)


def cron(payload: dict[str, Any] | None = None, **changes: Any) -> Cron:
    made = Cron(
        cron_id="c",
        assistant_id="a",
        thread_id=None,
        user_id="",
        schedule="*/5 * * * *",
        timezone=None,
        end_time=None,
        payload_json=payload_of(orjson.dumps(payload or {}), "c", "a"),
        metadata_json=b'{"m":1}',
        on_run_completed=OnRunCompleted.DELETE,
        enabled=True,
        next_run_at=NEXT,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(made, **changes)


def payload(of: Cron) -> Any:
    return orjson.loads(of.payload_json)


def test_payload_is_the_request_with_the_assistant_and_the_crons_id() -> None:
    made = cron({"assistant_id": "steps", "input": {"n": 1}, "config": {"tags": ["t"], "configurable": {"k": 1}}})
    assert payload(made) == {
        "assistant_id": "a",
        "input": {"n": 1},
        "config": {"tags": ["t"], "configurable": {"k": 1, "cron_id": "c"}},
    }


def test_payload_keys_are_replaced_and_the_crons_id_stays() -> None:
    change = CronChange(payload_json=b'{"assistant_id":"other","config":{"tags":["new"]},"input":2}')
    after = change.applied_to(cron({"input": 1, "webhook": "w", "config": {"configurable": {"k": 1}}}), NOW)
    assert payload(after) == {
        "assistant_id": "a",
        "input": 2,
        "webhook": "w",
        "config": {"tags": ["new"], "configurable": {"cron_id": "c"}},
    }


def test_metadata_merges_on_the_cron_and_is_replaced_in_the_payload() -> None:
    change = CronChange(payload_json=b'{"metadata":{"z":2}}', metadata_json=b'{"z":2}')
    after = change.applied_to(cron({"metadata": {"m": 1}}), NOW)
    assert orjson.loads(after.metadata_json) == {"m": 1, "z": 2}
    assert payload(after)["metadata"] == {"z": 2}


def test_schedule_and_timezone_move_the_next_tick() -> None:
    after = CronChange(schedule="0 9 * * *", timezone="Europe/Berlin").applied_to(cron(), NOW)
    assert after.next_run_at == datetime(2026, 11, 22, 8, tzinfo=UTC)


def test_other_changes_leave_a_due_tick_due() -> None:
    late = NEXT + timedelta(minutes=1)
    assert CronChange(metadata_json=b'{"q":1}').applied_to(cron(), late).next_run_at == NEXT


def test_ticks_of_a_disabled_cron_are_not_made_up_for() -> None:
    stopped = cron(enabled=False)
    assert CronChange(enabled=True).applied_to(stopped, NEXT + timedelta(hours=1)).next_run_at == datetime(
        2026, 11, 22, 8, 30, tzinfo=UTC
    )


def test_end_ends_and_its_removal_starts_again() -> None:
    ended = CronChange(end_time=NOW).applied_to(cron(), NOW)
    assert ended.next_run_at is None
    revived = CronChange(clear_end_time=True).applied_to(ended, NOW)
    assert (revived.end_time, revived.next_run_at) == (None, NEXT)


def test_thread_cron_never_deletes_its_thread() -> None:
    on_thread = cron(thread_id="t", on_run_completed=None)
    assert CronChange(on_run_completed=OnRunCompleted.DELETE).applied_to(on_thread, NOW).on_run_completed is None


@pytest.mark.parametrize(
    ("change", "error"), [(CronChange(schedule="bogus"), InvalidSchedule), (CronChange(timezone="X"), InvalidTimezone)]
)
def test_bad_change_is_refused(change: CronChange, error: type[Exception]) -> None:
    with pytest.raises(error):
        change.applied_to(cron(), NOW)


def test_every_field_of_the_payload_reaches_the_run() -> None:
    request = run_request(
        cron(
            {
                "input": [1],
                "metadata": {"m": 1},
                "config": {"tags": ["t"]},
                "webhook": "http://example.com",
                "interrupt_before": "*",
                "interrupt_after": ["n"],
                "multitask_strategy": "rollback",
                "stream_mode": ["values", "updates", "values"],
                "stream_subgraphs": True,
                "stream_resumable": True,
                "durability": "exit",
            },
            thread_id="t",
            on_run_completed=None,
        ),
        "r",
    )
    assert request == runs_pb2.CreateRunRequest(
        run_id="r",
        thread_id="t",
        assistant_id="a",
        input_json=b"[1]",
        config_json=b'{"tags":["t"],"configurable":{"cron_id":"c"}}',
        context_json=b"{}",
        metadata_json=b'{"m":1}',
        stream_modes=["values", "updates"],
        stream_subgraphs=True,
        stream_resumable=True,
        interrupt_before_json=b'"*"',
        interrupt_after_json=b'["n"]',
        webhook="http://example.com",
        multitask_strategy=runs_pb2.MULTITASK_STRATEGY_ROLLBACK,
        durability="exit",
    )


def test_bare_cron_makes_a_bare_run_that_cleans_up() -> None:
    request = run_request(cron(), "r")
    assert request.input_json == b""
    assert not request.keep_on_completion
    assert run_request(cron(on_run_completed=OnRunCompleted.KEEP), "r").keep_on_completion


def test_context_beside_configurable_is_no_conflict() -> None:
    request = run_request(cron({"context": {"a": 1}, "config": {"configurable": {"b": 2}}}), "r")
    assert orjson.loads(request.config_json) == {}
    assert orjson.loads(request.context_json) == {"a": 1}
    assert orjson.loads(request.header_configurable_json) == {"b": 2, "cron_id": "c"}
