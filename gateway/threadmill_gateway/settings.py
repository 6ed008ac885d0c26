"""Settings of the gateway process."""

import re
from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode
from threadmill_chassis.settings import MIB, ProcessSettings

from threadmill_gateway.header_rule import HeaderRule
from threadmill_gateway.webhooks import WebhookPolicy


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


TextList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
PortList = Annotated[tuple[Annotated[int, Field(gt=0, le=65535)], ...], NoDecode, BeforeValidator(_split)]
RouteGroup = Literal["assistants", "threads", "runs", "store", "meta", "mcp", "a2a", "ui"]
GroupList = Annotated[tuple[RouteGroup, ...], NoDecode, BeforeValidator(_split)]

# `location` too: without it a browser cannot follow a stream that it lost.
EXPOSED_HEADERS = ("x-pagination-total", "x-pagination-next", "content-location", "location")
# One or more segments, without a slash at the end.
PREFIX = re.compile(r"(?:/[\w.~-]+)+")
# Where the API that asks for no credentials will be.
RESERVED_PREFIX = "/noauth"


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
    http_max_connections: int = Field(default=10_000, gt=0)
    http_max_header_bytes: int = Field(default=64 * 1024, gt=0)
    # A request's head must be whole after so long; its body may not pause for longer than the second.
    http_header_timeout_seconds: float = Field(default=30.0, gt=0)
    http_body_timeout_seconds: float = Field(default=30.0, gt=0)
    # A client that reads nothing of what waits for it is closed after so long.
    http_stall_timeout_seconds: float = Field(default=120.0, gt=0)
    mount_prefix: str = Field(default="", validation_alias=AliasChoices("THREADMILL_MOUNT_PREFIX", "MOUNT_PREFIX"))
    disabled_routes: GroupList = ()
    # Rules as JSON: {"includes": ["x-*"], "excludes": ["x-secret"]}.
    configurable_headers: HeaderRule | None = None
    logging_headers: HeaderRule | None = None
    webhook_allow_loopback: bool = False
    webhook_require_https: bool = False
    webhook_allowed_domains: TextList = ()
    webhook_allowed_ports: PortList = ()
    webhook_max_url_length: int | None = Field(default=None, gt=0)
    cors_allow_origins: TextList = Field(
        default=("*",), validation_alias=AliasChoices("THREADMILL_CORS_ALLOW_ORIGINS", "CORS_ALLOW_ORIGINS")
    )
    cors_allow_origin_regex: str | None = None
    cors_allow_methods: TextList = ("*",)
    cors_allow_headers: TextList = ("*",)
    cors_allow_credentials: bool = False
    cors_expose_headers: TextList = EXPOSED_HEADERS
    cors_max_age_seconds: int = Field(default=600, ge=0)
    cors_allow_private_network: bool = False

    @property
    def webhook_policy(self) -> WebhookPolicy:
        """Which webhook URLs runs may name."""
        return WebhookPolicy(
            allow_loopback=self.webhook_allow_loopback,
            require_https=self.webhook_require_https,
            allowed_domains=self.webhook_allowed_domains,
            allowed_ports=self.webhook_allowed_ports,
            max_url_length=self.webhook_max_url_length,
        )

    @field_validator("mount_prefix")
    @classmethod
    def _is_prefix(cls, value: str) -> str:
        prefix = value.rstrip("/")
        if prefix and not PREFIX.fullmatch(prefix):
            raise ValueError("must start with / and hold letters, digits and -._~ only")
        if prefix == RESERVED_PREFIX or prefix.startswith(f"{RESERVED_PREFIX}/"):
            raise ValueError(f"{RESERVED_PREFIX} is reserved")
        return prefix

    @field_validator("cors_allow_origin_regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return value
