"""Threads as the service thinks of them. JSON documents are text that passes through undecoded."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType
from uuid import UUID

ThreadId = NewType("ThreadId", UUID)
RunId = NewType("RunId", UUID)
Json = NewType("Json", str)


class Status(StrEnum):
    """Effective status of a thread, by its REST name."""

    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    ERROR = "error"


class TtlStrategy(StrEnum):
    """What the sweeper does with an expired thread."""

    DELETE = "delete"
    KEEP_LATEST = "keep_latest"


class SortBy(StrEnum):
    """Columns to sort by; values are column names."""

    THREAD_ID = "thread_id"
    STATUS = "status"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    STATE_UPDATED_AT = "state_updated_at"


@dataclass(frozen=True, slots=True)
class Ttl:
    """Time to live, counted from the last change of the thread."""

    strategy: TtlStrategy
    minutes: float


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread, or the columns of it that were asked for; None means absent or not asked for."""

    thread_id: ThreadId | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    state_updated_at: datetime | None = None
    metadata: Json | None = None
    config: Json | None = None
    status: Status | None = None
    values: Json | None = None
    interrupts: Json | None = None
    error: Json | None = None
    ttl: Ttl | None = None
    extracted: Json | None = None

    @property
    def expires_at(self) -> datetime | None:
        """When the thread expires unless it changes before."""
        if self.ttl is None or self.updated_at is None:
            return None
        return self.updated_at + timedelta(minutes=self.ttl.minutes)


@dataclass(frozen=True, slots=True)
class RestingState:
    """What a run, or a manual update, leaves behind; None leaves a field as it is."""

    status: Status | None = None
    values: Json | None = None
    interrupts: Json | None = None
    error: Json | None = None


@dataclass(frozen=True, slots=True)
class RunBeginning:
    """A run that starts to occupy a thread; `stamp` and the configs are recorded on the thread."""

    run_id: RunId
    create_if_missing: bool
    stamp: Json
    new_metadata: Json
    config: Json
    config_defaults: Json


@dataclass(frozen=True, slots=True)
class RunBegun:
    """The thread that a run occupies now. `is_empty`: it has no checkpoint, and no other run that could write one."""

    thread: Thread
    created: bool
    is_empty: bool


@dataclass(frozen=True, slots=True)
class RunEnding:
    """The end of a run. Token 0: it was never claimed, and the fence is neither checked nor moved."""

    run_id: RunId
    token: int
    resting: RestingState
    stamp: Json | None = None
    delete_thread: bool = False
    delete_checkpoints: bool = False


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that occupies a thread."""

    thread_id: ThreadId
    run_id: RunId


@dataclass(frozen=True, slots=True)
class ThreadFilter:
    """Conditions of a search; all that are given must hold."""

    thread_ids: tuple[ThreadId, ...] = ()
    metadata: Json | None = None
    values: Json | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class ThreadSearch:
    """One page of a search. `columns` are REST names, empty for all; `extract` maps aliases to paths."""

    matching: ThreadFilter = ThreadFilter()
    limit: int = 10
    offset: int = 0
    sort_by: SortBy = SortBy.UPDATED_AT
    ascending: bool = False
    columns: tuple[str, ...] = ()
    extract: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Threads of one page."""

    threads: list[Thread]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """How many rows, and their payload in bytes."""

    count: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ThreadStorage:
    """What the checkpoints of a thread occupy."""

    checkpoints: Usage
    channels: dict[str, Usage]
    pending_writes: Usage
