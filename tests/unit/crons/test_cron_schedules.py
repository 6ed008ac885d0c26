"""Cron expressions, timezones, and the tick that comes next."""

from datetime import UTC, datetime

import pytest
from threadmill_runs.crons.schedule import check_timezone, first_tick, next_tick
from threadmill_runs.errors import InvalidSchedule, InvalidTimezone

NOW = datetime(2026, 11, 22, 7, 23, 45, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "tick"),
    [
        ("*/5 * * * *", "2026-11-22T07:25:00+00:00"),
        ("@daily", "2026-11-23T00:00:00+00:00"),
        ("* * * * * */10", "2026-11-22T07:23:50+00:00"),  # the sixth field is seconds, as on the reference
        ("0 9 * * * 30", "2026-11-22T09:00:30+00:00"),
        ("0 9 * * * 30 2030", "2030-01-01T09:00:30+00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_first_tick(schedule: str, tick: str) -> None:
    assert first_tick(schedule, None, NOW).isoformat() == tick


@pytest.mark.parametrize(
    "schedule",
    ["", "bogus", "* * * *", "61 * * * *", "@reboot", "0 0 30 2 *", "0 0 1 1 * 0 2020", "* * * * * * * *", "H * * * *"],
)
def test_schedule_that_is_none_or_never_ticks_is_refused(schedule: str) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        first_tick(schedule, None, NOW)
    assert refused.value.message.startswith(f"Invalid cron schedule: '{schedule}'. Reason: ")


@pytest.mark.parametrize("name", ["Mars/X", "utc", "", "America", "../../etc/passwd", "/etc/localtime"])
def test_unknown_timezone_is_refused(name: str) -> None:
    with pytest.raises(InvalidTimezone) as refused:
        check_timezone(name)
    assert f"Invalid timezone: '{name}'. Use IANA timezone format" in refused.value.message


def test_schedule_is_meant_in_its_timezone() -> None:
    assert first_tick("0 9 * * *", check_timezone("America/New_York"), NOW).isoformat() == "2026-11-22T14:00:00+00:00"


def test_local_hour_stays_when_clocks_change() -> None:
    before = datetime(2026, 3, 7, 15, tzinfo=UTC)  # 10:00 in New York, the day before summer time
    first = first_tick("0 9 * * *", "America/New_York", before)
    second = first_tick("0 9 * * *", "America/New_York", first)
    assert [first.hour, second.hour] == [13, 13]
    assert first_tick("0 9 * * *", "America/New_York", datetime(2026, 3, 6, 0, tzinfo=UTC)).hour == 14


def test_local_time_that_the_change_skips_comes_right_after_it() -> None:
    before = datetime(2026, 3, 7, 15, tzinfo=UTC)
    assert first_tick("30 2 * * *", "America/New_York", before).isoformat() == "2026-03-08T07:00:00+00:00"


def test_tick_is_always_in_the_future() -> None:
    on_the_dot = datetime(2026, 11, 22, 7, 25, tzinfo=UTC)
    assert next_tick("*/5 * * * *", None, on_the_dot, None) == datetime(2026, 11, 22, 7, 30, tzinfo=UTC)


def test_no_tick_after_the_end() -> None:
    end = datetime(2026, 11, 22, 7, 25, tzinfo=UTC)
    assert next_tick("*/5 * * * *", None, NOW, end) == end
    assert next_tick("*/5 * * * *", None, end, end) is None


def test_schedule_that_has_run_out_of_years_has_no_tick() -> None:
    assert next_tick("0 0 1 1 * 0 2020", None, NOW, None) is None


@pytest.mark.parametrize("schedule", ["1" * 5000 + " * * * *", ",".join("*" * 5000) + " * * * *"])
def test_overlong_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(InvalidSchedule, match="more than 500 characters"):
        first_tick(schedule, None, NOW)
