"""Settings of the runs api."""

from typing import Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from threadmill_chassis.postgres import PostgresSettings


class RunsSettings(PostgresSettings):
    """Environment variables THREADMILL_*; a few keep the names that LangGraph deployments use."""

    bind: str = "127.0.0.1:8203"
    threads_address: str = "127.0.0.1:8201"
    redis_uri: SecretStr
    redis_timeout_seconds: float = Field(default=5.0, gt=0)
    redis_pool_max: int = Field(default=20, ge=2)

    lease_seconds: float = Field(default=15.0, gt=0)
    heartbeat_seconds: float = Field(default=2.0, gt=0)
    # A broken connection may be a dead executor or a short cut of the network: so long it may come back.
    detach_grace_seconds: float = Field(default=3.0, gt=0)
    max_attempts: int = Field(
        default=3, gt=0, validation_alias=AliasChoices("THREADMILL_MAX_ATTEMPTS", "BG_JOB_MAX_RETRIES")
    )
    run_timeout_seconds: float = Field(
        default=86_400.0, gt=0, validation_alias=AliasChoices("THREADMILL_RUN_TIMEOUT_SECONDS", "BG_JOB_TIMEOUT_SECS")
    )
    poll_seconds: float = Field(default=1.0, gt=0)
    reap_seconds: float = Field(default=1.0, gt=0)
    reconcile_seconds: float = Field(default=30.0, gt=0)
    # A run whose graph no executor serves any more waits so long for one, then it ends in an error.
    unserved_run_seconds: float = Field(default=600.0, gt=0)

    event_log_max_batches: int = Field(default=50_000, gt=0)
    event_log_max_bytes: int = Field(default=256 * 1024 * 1024, gt=0)
    event_keep_seconds: int = Field(
        default=120,
        gt=0,
        validation_alias=AliasChoices("THREADMILL_EVENT_KEEP_SECONDS", "RESUMABLE_STREAM_TTL_SECONDS"),
    )

    # How long ended runs of threads that exist are kept; none: as long as their thread.
    run_keep_days: float | None = Field(default=None, gt=0)
    retention_interval_seconds: float = Field(default=10.0, gt=0)

    cron_poll_seconds: float = Field(default=5.0, gt=0)
    cron_lease_seconds: float = Field(default=15.0, gt=0)

    # False: runs with a webhook run, but nothing is called.
    webhook_enabled: bool = True
    webhook_timeout_seconds: float = Field(default=10.0, gt=0)
    webhook_max_attempts: int = Field(default=10, gt=0)
    webhook_give_up_seconds: float = Field(default=3600.0, gt=0)
    webhook_backoff_seconds: float = Field(default=2.0, gt=0)
    webhook_backoff_max_seconds: float = Field(default=600.0, gt=0)
    webhook_concurrency: int = Field(default=16, gt=0)
    webhook_poll_seconds: float = Field(default=2.0, gt=0)
    webhook_headers: dict[str, SecretStr] = Field(default={})
    webhook_secret: SecretStr | None = None
    webhook_allow_loopback: bool = False
    webhook_allow_private: bool = False
    webhook_base_url: str = "http://127.0.0.1:8123"

    @model_validator(mode="after")
    def _lease_outlives_heartbeats(self) -> Self:
        if self.lease_seconds <= 2 * self.heartbeat_seconds:
            raise ValueError("lease_seconds must be more than twice heartbeat_seconds")
        return self
