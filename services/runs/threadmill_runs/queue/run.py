"""A run as the queue sees it, and the states that it passes through.

    create ──► pending ──claim──► running ──outcome──► success | error | timeout
                 │  ▲                │ │
                 │  └─lease expired──┘ └──cancel──► interrupted   (rollback: the row is deleted)
                 │     or handed back
                 └──cancel──► interrupted

A claim increments `attempt` and mints a fencing token. (run, attempt) and token correspond one to one; every
later write names the token, and a write whose token is not the row's current one finds no row: LeaseLost.
The lease ends 15 s after its last renewal by default; executors renew it with every heartbeat. An expired lease
sends the run back to `pending`, for another attempt, until `max_attempts` are used up.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import orjson


class RunState(StrEnum):
    """Where a run is in its life; the values are those of the REST API and the table."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"

    @property
    def active(self) -> bool:
        """Whether the run has yet to end."""
        return self in (RunState.PENDING, RunState.RUNNING)


class Strategy(StrEnum):
    """What becomes of the thread's active runs when another arrives."""

    ENQUEUE = "enqueue"
    REJECT = "reject"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


class CancelAction(StrEnum):
    """How a run is cancelled."""

    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Run:
    """One row of the queue."""

    run_id: str
    thread_id: str
    assistant_id: str
    graph_id: str
    state: RunState
    metadata_json: bytes
    kwargs_json: bytes
    strategy: Strategy
    stateless: bool
    keep_thread: bool
    request_id: str
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempt: int
    token: int
    executor_id: str | None
    cancel_action: CancelAction | None
    cancel_reason: str | None

    @classmethod
    def from_record(cls, record: Any) -> Self:
        """From a row of runs.run."""
        return cls(
            run_id=str(record["run_id"]),
            thread_id=str(record["thread_id"]),
            assistant_id=str(record["assistant_id"]),
            graph_id=record["graph_id"],
            state=RunState(record["status"]),
            metadata_json=record["metadata"].encode(),
            kwargs_json=record["kwargs"],
            strategy=Strategy(record["multitask_strategy"]),
            stateless=record["stateless"],
            keep_thread=record["keep_thread"],
            request_id=record["request_id"],
            created_at=record["created_at"],
            updated_at=record["updated_at"],
            started_at=record["started_at"],
            ended_at=record["ended_at"],
            attempt=record["attempt"],
            token=record["fence_token"] or 0,
            executor_id=record["executor_id"],
            cancel_action=CancelAction(record["cancel_action"]) if record["cancel_action"] else None,
            cancel_reason=record["cancel_reason"],
        )

    @property
    def temporary(self) -> bool:
        """Whether it leaves nothing behind: neither its thread nor its row."""
        return self.stateless and not self.keep_thread

    @property
    def resumable(self) -> bool:
        """Whether clients asked to be able to replay its events."""
        return bool(orjson.loads(self.kwargs_json).get("resumable"))


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that an executor has just been given."""

    run: Run
    resuming: bool
    elapsed_seconds: float
    # The thread had no checkpoint when the run was accepted, and cannot have got one since.
    thread_is_empty: bool = False


@dataclass(frozen=True, slots=True)
class NewRun:
    """What the queue needs to know of a run that is to be accepted, and the version of the assistant behind it."""

    run_id: str
    thread_id: str
    assistant_id: str
    assistant_version: int
    assistant_updated_at: datetime
    graph_id: str
    metadata_json: bytes
    kwargs_json: bytes
    strategy: Strategy
    stateless: bool
    keep_thread: bool
    request_id: str
    after_seconds: float


@dataclass(frozen=True, slots=True)
class Inserted:
    """What became of a NewRun: the row, and how it was found.

    `others`: active runs of the thread, for the strategies that act on them (else none). `repeated`: the row was there
    already. `begun`: it was claimed by the statement that inserted it. `is_first`: its thread had no run before.
    """

    run: Run
    others: list[str]
    repeated: bool = False
    begun: bool = False
    is_first: bool = False
