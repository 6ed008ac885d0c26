"""Settings that every process has; each service derives its own frozen class from this one."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


class ProcessSettings(BaseSettings):
    """Read once, from environment variables with the prefix THREADMILL_, in `main`.

    Secrets are typed `SecretStr` by subclasses, so that settings can be logged whole.
    """

    model_config = SettingsConfigDict(env_prefix="THREADMILL_", frozen=True, extra="ignore", populate_by_name=True)

    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    grpc_max_message_bytes: int = Field(default=320 * MIB, gt=0)
    shared_calls: bool = True
    shutdown_grace_seconds: float = Field(default=10.0, ge=0)
