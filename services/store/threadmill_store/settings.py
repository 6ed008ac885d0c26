"""Settings of the store process."""

from pydantic import Field
from threadmill_chassis.postgres import PostgresSettings


class StoreSettings(PostgresSettings):
    """Read from THREADMILL_* variables; `postgres_dsn` is the only one without a default."""

    bind: str = "127.0.0.1:8202"
    # Less than the 30 seconds that graphs and the gateway's 60 wait for a call, so that they hear what was too slow.
    postgres_statement_timeout_seconds: float = Field(default=25.0, gt=0)
    # Where executors answer, which embed texts; None: no semantic search.
    executor_address: str | None = None
    # Longest wait for vectors, that for an executor included.
    store_embed_timeout_seconds: float = Field(default=25.0, gt=0)
    # Items that are embedded together in the background.
    store_embed_batch_count: int = Field(default=100, gt=0, le=1000)
    # Minutes that an item without a TTL of its own lives after its last write or refresh; None: for ever.
    store_ttl_default_minutes: float | None = Field(default=None, gt=0)
    # Whether reads that do not say restart the TTL of what they find.
    store_ttl_refresh_on_read: bool = True
    store_ttl_sweep_interval_minutes: float = Field(default=1.0, gt=0)
    store_ttl_sweep_batch_count: int = Field(default=500, gt=0)
