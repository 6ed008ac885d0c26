"""Settings of the threads service."""

from typing import Literal

from pydantic import Field
from threadmill_chassis.postgres import PostgresSettings


class ThreadsSettings(PostgresSettings):
    """Prefix THREADMILL_; durations of TTLs are minutes, as in the LangGraph API."""

    bind: str = "127.0.0.1:8201"
    ttl_default_minutes: float | None = Field(default=None, gt=0)
    """TTL of threads created without one; none: they stay."""
    ttl_default_strategy: Literal["delete", "keep_latest"] = "delete"
    ttl_sweep_interval_minutes: float = Field(default=5.0, gt=0)
    ttl_sweep_batch: int = Field(default=50, gt=0, le=1000)
    """Threads that one transaction of the sweeper handles; a sweep repeats until none is left, or its limit."""
    ttl_sweep_limit: int | None = Field(default=None, gt=0)
    """Most threads that one sweep handles; the rest wait for the next. None: all that have expired."""
    list_batch: int = Field(default=20, gt=0, le=1000)
    """Most checkpoints that a listing reads at once; fewer when they are large."""
