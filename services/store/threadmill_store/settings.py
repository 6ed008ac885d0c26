"""Settings of the store process."""

from pydantic import Field
from threadmill_chassis.postgres import PostgresSettings


class StoreSettings(PostgresSettings):
    """Read from THREADMILL_* variables; `postgres_dsn` is the only one without a default."""

    bind: str = "127.0.0.1:8202"
    # Minutes that an item without a TTL of its own lives after its last write or refresh; None: for ever.
    ttl_default_minutes: float | None = Field(default=None, gt=0)
    # Whether reads that do not say restart the TTL of what they find.
    ttl_refresh_on_read: bool = True
    ttl_sweep_interval_seconds: float = Field(default=60.0, gt=0)
    ttl_sweep_batch_count: int = Field(default=500, gt=0)
    # Components of every embedding, as many as pgvector can index; None: no semantic search.
    store_index_dims: int | None = Field(default=None, gt=0, le=2000)
