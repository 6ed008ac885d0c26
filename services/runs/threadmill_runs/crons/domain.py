"""A cron, and what becomes of it when a client changes it."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import orjson

from threadmill_runs.crons.schedule import check_timezone, first_tick, next_tick


class OnRunCompleted(StrEnum):
    """What becomes of a stateless cron's thread after each run."""

    DELETE = "delete"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class NewCron:
    """What a client asks for, with the assistant resolved."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    schedule: str
    timezone: str | None
    end_time: datetime | None
    payload_json: bytes
    metadata_json: bytes
    on_run_completed: OnRunCompleted | None
    enabled: bool

    def first_run_at(self, now: datetime) -> datetime | None:
        """The first tick, None if that is after the end; raises InvalidSchedule, InvalidTimezone."""
        if self.timezone is not None:
            check_timezone(self.timezone)
        tick = first_tick(self.schedule, self.timezone, now)
        return tick if self.end_time is None or tick <= self.end_time else None


@dataclass(frozen=True, slots=True)
class Cron:
    """One row of runs.cron."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    user_id: str
    schedule: str
    timezone: str | None
    end_time: datetime | None
    payload_json: bytes
    metadata_json: bytes
    on_run_completed: OnRunCompleted | None
    enabled: bool
    next_run_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_record(cls, record: Any) -> Self:
        """From a row of runs.cron."""
        return cls(
            cron_id=str(record["cron_id"]),
            assistant_id=str(record["assistant_id"]),
            thread_id=str(record["thread_id"]) if record["thread_id"] else None,
            user_id=record["user_id"],
            schedule=record["schedule"],
            timezone=record["timezone"],
            end_time=record["end_time"],
            payload_json=record["payload"],
            metadata_json=record["metadata"].encode(),
            on_run_completed=OnRunCompleted(record["on_run_completed"]) if record["on_run_completed"] else None,
            enabled=record["enabled"],
            next_run_at=record["next_run_at"],
            created_at=record["created_at"],
            updated_at=record["updated_at"],
        )

    def tick_after(self, now: datetime) -> datetime | None:
        """Its first tick after `now`; None when there is none before its end."""
        return next_tick(self.schedule, self.timezone, now, self.end_time)


@dataclass(frozen=True, slots=True)
class CronChange:
    """What a client changes; None (or empty JSON) leaves a field as it is."""

    schedule: str | None = None
    timezone: str | None = None
    end_time: datetime | None = None
    clear_end_time: bool = False
    payload_json: bytes = b""
    metadata_json: bytes = b""
    on_run_completed: OnRunCompleted | None = None
    enabled: bool | None = None

    def applied_to(self, cron: Cron, now: datetime) -> Cron:
        """The cron as it is to be saved; raises InvalidSchedule, InvalidTimezone."""
        changed = replace(
            cron,
            schedule=cron.schedule if self.schedule is None else self.schedule,
            timezone=cron.timezone if self.timezone is None else check_timezone(self.timezone),
            end_time=None if self.clear_end_time else self.end_time or cron.end_time,
            payload_json=_merged_payload(cron, self.payload_json),
            metadata_json=_merged(cron.metadata_json, self.metadata_json),
            on_run_completed=(self.on_run_completed or cron.on_run_completed) if cron.thread_id is None else None,
            enabled=cron.enabled if self.enabled is None else self.enabled,
        )
        if self.schedule is not None or self.timezone is not None:
            first_tick(changed.schedule, changed.timezone, now)
        return replace(changed, next_run_at=self._next_run_at(cron, changed, now))

    def _next_run_at(self, before: Cron, after: Cron, now: datetime) -> datetime | None:
        """The tick that is due next stays, unless the schedule is another or the cron stood still meanwhile."""
        moved = (before.schedule, before.timezone) != (after.schedule, after.timezone)
        started = after.enabled and not before.enabled
        due = before.next_run_at
        if moved or started or due is None:
            return after.tick_after(now)
        return due if after.end_time is None or due <= after.end_time else None


def payload_of(request_json: bytes, cron_id: str, assistant_id: str) -> bytes:
    """The document that clients see as `payload`: their request, the assistant's id, the cron's id for the graph."""
    payload = orjson.loads(request_json or b"{}")
    return _stamped({**payload, "assistant_id": assistant_id}, cron_id)


def _merged_payload(cron: Cron, update_json: bytes) -> bytes:
    if not update_json:
        return cron.payload_json
    update = orjson.loads(update_json)
    update.pop("assistant_id", None)  # a cron keeps its assistant
    return _stamped({**orjson.loads(cron.payload_json), **update}, cron.cron_id)


def _stamped(payload: dict[str, Any], cron_id: str) -> bytes:
    config = payload.get("config") or {}
    configurable = {**(config.get("configurable") or {}), "cron_id": cron_id}
    return orjson.dumps({**payload, "config": {**config, "configurable": configurable}})


def _merged(base_json: bytes, update_json: bytes) -> bytes:
    return orjson.dumps({**orjson.loads(base_json), **orjson.loads(update_json or b"{}")})
