"""The sections of langgraph.json that are settings of services: their keys, checked strictly.

Services read settings from their environment only; `config_settings` translates. What is not listed here is refused
by name, since a key that is accepted and then ignored would be worse.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from threadmill_cli.refusal import CannotRun

# Keys of the reference that nothing serves yet, whole sections and by section. The executor refuses the same ones.
UNSUPPORTED = frozenset({"auth", "encryption", "priority", "ui", "ui_config"})
UNSUPPORTED_IN = {
    "checkpointer": frozenset({"path", "serde"}),
    "http": frozenset({"app", "enable_custom_route_auth", "middleware_order"}),
    "store": frozenset({"path"}),
    "webhooks": frozenset[str](),
}


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Cors(_Keys):
    """`http.cors`; the defaults are those of a server that allows little, as the section replaces ours whole."""

    allow_origins: list[str] = []
    allow_methods: list[str] = ["GET"]
    allow_headers: list[str] = []
    allow_credentials: bool = False
    allow_origin_regex: str | None = None
    expose_headers: list[str] = []
    max_age: int = Field(default=600, ge=0)


class HeaderRule(_Keys):
    """`http.configurable_headers` and `http.logging_headers`."""

    includes: list[str] | None = Field(default=None, validation_alias=AliasChoices("includes", "include"))
    excludes: list[str] | None = Field(default=None, validation_alias=AliasChoices("excludes", "exclude"))


class Http(_Keys):
    """`http`."""

    mount_prefix: str | None = Field(default=None, pattern=r"^(/[\w.~-]+)*/?$")
    disable_assistants: bool = False
    disable_threads: bool = False
    disable_runs: bool = False
    disable_store: bool = False
    disable_meta: bool = False
    disable_mcp: bool = False
    disable_a2a: bool = False
    disable_ui: bool = False
    disable_webhooks: bool = False
    cors: Cors | None = None
    configurable_headers: HeaderRule | None = None
    logging_headers: HeaderRule | None = None


class WebhookUrls(_Keys):
    """`webhooks.url`: with the section, https is required unless it says otherwise."""

    require_https: bool = True
    allowed_domains: list[str] = []
    allowed_ports: list[int] = []
    max_url_length: int | None = Field(default=None, gt=0)
    disable_loopback: bool = True


class Webhooks(_Keys):
    """`webhooks`. Values of `headers` may hold `${{ env.NAME }}`, for names that begin with `env_prefix`."""

    env_prefix: str = Field(default="LG_WEBHOOK_", min_length=1)
    url: WebhookUrls | None = None
    headers: dict[str, str] = {}


class ThreadTtl(_Keys):
    """`checkpointer.ttl`; times in minutes."""

    strategy: Literal["delete", "keep_latest"] = "delete"
    default_ttl: float | None = Field(default=None, gt=0)
    sweep_interval_minutes: float | None = Field(default=None, gt=0)
    sweep_limit: int | None = Field(default=None, gt=0)


class Checkpointer(_Keys):
    """`checkpointer`."""

    ttl: ThreadTtl | None = None


class ItemTtl(_Keys):
    """`store.ttl`; times in minutes."""

    refresh_on_read: bool = True
    default_ttl: float | None = Field(default=None, gt=0)
    sweep_interval_minutes: float | None = Field(default=None, gt=0)


class Store(_Keys):
    """`store`. `index` is the executor's, which checks it: it loads the embedder."""

    index: dict[str, Any] | None = None
    ttl: ItemTtl | None = None


class Sections(_Keys):
    """All of them; one that is absent or null is as if it were empty."""

    http: Http = Http()
    webhooks: Webhooks = Webhooks()
    checkpointer: Checkpointer = Checkpointer()
    store: Store = Store()


def read_sections(config: Path, document: Mapping[str, Any]) -> Sections:
    """Checks the sections of a file's document. CannotRun names the first key that is wrong, unknown or unsupported."""
    for name in sorted(UNSUPPORTED):
        if not _is_empty(document.get(name)):
            raise _unsupported(config, name)
    given = {name: document[name] for name in Sections.model_fields if document.get(name) is not None}
    for name, section in given.items():
        if not isinstance(section, dict):
            raise CannotRun(f'"{name}" in {config} is not an object: correct it')
        for key in UNSUPPORTED_IN[name] & section.keys():
            if not _is_empty(section[key]):
                raise _unsupported(config, f"{name}.{key}")
    supported = {
        name: {key: value for key, value in section.items() if key not in UNSUPPORTED_IN[name]}
        for name, section in given.items()
    }
    try:
        return Sections.model_validate(supported)
    except ValidationError as error:
        raise CannotRun(_describe(config, error)) from None


def _is_empty(value: object) -> bool:
    return value is None or value is False or value == {}


def _unsupported(config: Path, key: str) -> CannotRun:
    return CannotRun(f'"{key}" in {config} is not supported yet: remove it')


def _describe(config: Path, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] != "extra_forbidden":
        return f'"{key}" in {config} is wrong: {first["msg"][:1].lower()}{first["msg"][1:]}'
    known = _keys_at(path[:-1])
    nearest = get_close_matches(path[-1], known, n=1)
    hint = f'did you mean "{nearest[0]}"?' if nearest else f"the keys there are {', '.join(known)}"
    return f'"{key}" in {config} is unknown: {hint}'


def _keys_at(path: list[str]) -> list[str]:
    model: type[BaseModel] = Sections
    for part in path:
        annotation = model.model_fields[part].annotation
        choices = getattr(annotation, "__args__", (annotation,))
        model = next(choice for choice in choices if isinstance(choice, type) and issubclass(choice, BaseModel))
    return list(model.model_fields)
