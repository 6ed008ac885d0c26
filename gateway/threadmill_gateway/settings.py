"""Settings of the gateway process."""

from typing import Annotated

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import NoDecode
from threadmill_chassis.settings import MIB, ProcessSettings

TextList = Annotated[tuple[str, ...], NoDecode]


class GatewaySettings(ProcessSettings):
    """Read once in `main`. Lists are comma-separated in the environment."""

    host: str = "127.0.0.1"
    port: int = Field(default=8123, ge=0, le=65535)
    threads_address: str = "127.0.0.1:8201"
    store_address: str = "127.0.0.1:8202"
    runs_address: str = "127.0.0.1:8203"
    executor_address: str = "127.0.0.1:8204"
    # Deadline of every gRPC call that answers once; streams have none.
    call_timeout_seconds: float = Field(default=60.0, gt=0)
    heartbeat_seconds: float = Field(default=5.0, gt=0)
    http_max_request_body_bytes: int = Field(
        default=300 * MIB,
        gt=0,
        validation_alias=AliasChoices("THREADMILL_HTTP_MAX_REQUEST_BODY_BYTES", "HTTP_MAX_REQUEST_BODY_BYTES"),
    )
    # Idle keep-alive connections outlive those of the usual load balancers (60 s), which must close first.
    http_keep_alive_seconds: int = Field(default=65, gt=0)
    # A gateway that shuts down ends its streams at once and waits so long for other requests.
    http_drain_seconds: int = Field(default=5, gt=0)
    webhook_allow_loopback: bool = False
    cors_allow_origins: TextList = Field(
        default=("*",), validation_alias=AliasChoices("THREADMILL_CORS_ALLOW_ORIGINS", "CORS_ALLOW_ORIGINS")
    )
    cors_allow_private_network: bool = False

    @field_validator("cors_allow_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
