"""Cron expressions and timezones: which are valid, and when the next tick is."""

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from croniter import croniter

from threadmill_runs.errors import InvalidSchedule, InvalidTimezone

LONGEST = 500
HINT = (
    "Use five fields (minute, hour, day of month, month, day of week), optionally a sixth for seconds,"
    " or an alias such as @daily."
)


@cache
def _timezones() -> frozenset[str]:
    """Names of the IANA database, the system's or that of the package tzdata."""
    return frozenset(available_timezones())


def check_timezone(name: str) -> str:
    """The name; raises InvalidTimezone. Only listed names reach ZoneInfo, which would take some for paths."""
    if name not in _timezones():
        raise InvalidTimezone(f"Invalid timezone: '{name}'. Use IANA timezone format (e.g. 'America/New_York').")
    return name


def first_tick(schedule: str, timezone: str | None, now: datetime) -> datetime:
    """The first tick after `now`, in UTC; raises InvalidSchedule, also for a schedule that never ticks."""
    if len(schedule) > LONGEST:  # parsing takes time in which nothing else is served
        raise InvalidSchedule(f"Invalid cron schedule. Reason: it has more than {LONGEST} characters. {HINT}")
    try:
        return _tick_after(schedule, timezone, now)
    except ValueError as error:  # CroniterError is one, but not the only one
        raise InvalidSchedule(f"Invalid cron schedule: '{schedule}'. Reason: {error}. {HINT}") from error


def next_tick(schedule: str, timezone: str | None, now: datetime, end: datetime | None) -> datetime | None:
    """The first tick after `now` and not after `end`, in UTC; None when there is none any more."""
    try:
        tick = _tick_after(schedule, timezone, now)
    except ValueError:  # it was valid once: a schedule with years has run out
        return None
    return tick if end is None or tick <= end else None


def _tick_after(schedule: str, timezone: str | None, moment: datetime) -> datetime:
    """In local time, so that 9:00 stays 9:00 when clocks change; a time that the change skips comes right after it."""
    local = moment.astimezone(ZoneInfo(timezone) if timezone else UTC)
    tick: datetime = croniter(schedule, local).get_next(datetime)
    return tick.astimezone(UTC)
