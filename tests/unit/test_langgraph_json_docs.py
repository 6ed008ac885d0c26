"""docs/configuration.md lists the keys of langgraph.json, and each is treated as it says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs
from threadmill_cli.config_sections import UNSUPPORTED, UNSUPPORTED_IN, Sections
from threadmill_cli.config_settings import RUN_TIME, settings_of
from threadmill_cli.project import load_project
from threadmill_cli.refusal import CannotRun
from threadmill_runs.executor.graphs.config_file import BUILD_TIME, READ_HERE, read_config
from threadmill_runs.executor.graphs.errors import ConfigError

DOCS = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
# A value of each supported key that differs from what holds without it. Those of the executor change no variable.
EXAMPLES: dict[str, Any] = {
    **{f"http.disable_{group}": True for group in ("assistants", "threads", "runs", "store", "meta")},
    **{f"http.disable_{group}": True for group in ("mcp", "a2a", "ui", "webhooks")},
    "http.mount_prefix": "/api",
    "http.cors.allow_origins": ["http://a.example"],
    "http.cors.allow_origin_regex": "http://.*",
    "http.cors.allow_methods": ["POST"],
    "http.cors.allow_headers": ["x-a"],
    "http.cors.allow_credentials": True,
    "http.cors.expose_headers": ["x-a"],
    "http.cors.max_age": 5,
    "http.configurable_headers.includes": ["x-a"],
    "http.configurable_headers.excludes": ["x-a"],
    "http.logging_headers.includes": ["x-a"],
    "http.logging_headers.excludes": ["x-a"],
    "webhooks.url.require_https": False,
    "webhooks.url.allowed_domains": ["a.example"],
    "webhooks.url.allowed_ports": [443],
    "webhooks.url.max_url_length": 100,
    "webhooks.url.disable_loopback": False,
    "webhooks.headers": {"x-a": "1"},
    "checkpointer.ttl.strategy": "keep_latest",
    "checkpointer.ttl.default_ttl": 5,
    "checkpointer.ttl.sweep_interval_minutes": 5,
    "checkpointer.ttl.sweep_limit": 5,
    "store.ttl.default_ttl": 5,
    "store.ttl.refresh_on_read": False,
    "store.ttl.sweep_interval_minutes": 5,
}
EXECUTORS_OWN = READ_HERE | {"store.index"}


def statuses() -> dict[str, str]:
    table = DOCS.partition("\n## langgraph.json\n")[2].partition("\n### ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    return {cells[0].strip().strip("`"): cells[1].strip() for cells in rows}


STATUSES = statuses()


def with_status(status: str) -> list[str]:
    return sorted(key for key, found in STATUSES.items() if found == status)


def leaves(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        choices = getattr(field.annotation, "__args__", (field.annotation,))
        inner = [each for each in choices if isinstance(each, type) and issubclass(each, BaseModel)]
        yield from leaves(inner[0], f"{path}{name}.") if inner else [f"{path}{name}"]


def write(folder: Path, key: str | None = None, value: Any = None) -> Path:
    """A langgraph.json with one graph and, if given, one key, such as `http.cors.max_age`."""
    (folder / "agent.py").write_text("graph = None\n")
    document: dict[str, Any] = {"graphs": {"agent": "./agent.py:graph"}}
    if key is not None:
        for part in reversed(key.split(".")):
            value = {part: value}
        document |= value
    config = folder / "langgraph.json"
    config.write_text(json.dumps(document))
    return config


def test_the_table_is_complete() -> None:
    assert set(with_status("supported")) == READ_HERE | set(leaves(Sections))
    within = {f"{section}.{key}" for section, keys in UNSUPPORTED_IN.items() for key in keys}
    assert set(with_status("refused")) == UNSUPPORTED | within
    assert set(with_status("build only")) == BUILD_TIME
    assert set(STATUSES.values()) == {"supported", "refused", "build only"}


@pytest.mark.parametrize("key", with_status("refused"))
def test_refused(tmp_path: Path, key: str) -> None:
    config = write(tmp_path, key, {"path": "./own.py:it"})
    with pytest.raises(CannotRun, match=f'"{key}" in .* is not supported yet'):
        load_project(config)
    with pytest.raises(ConfigError, match=f"`{key}` is not supported yet"):
        read_config(config)


@pytest.mark.parametrize("key", with_status("build only"))
def test_build_only(tmp_path: Path, key: str) -> None:
    config = write(tmp_path, key, "x")
    assert not any(settings_of(load_project(config), {}).values())
    with capture_logs() as logs:
        read_config(config)
    assert logs == []


@pytest.mark.parametrize("key", sorted(set(with_status("supported")) - EXECUTORS_OWN - {"webhooks.env_prefix"}))
def test_supported_keys_change_a_setting(tmp_path: Path, key: str) -> None:
    section = key.rpartition(".")[0]
    without = settings_of(load_project(write(tmp_path, section, {})), {})
    config = write(tmp_path, key, EXAMPLES[key])
    assert settings_of(load_project(config), {}) != without
    read_config(config)


def test_webhook_prefix_bounds_the_variables_of_headers(tmp_path: Path) -> None:
    webhooks = {"env_prefix": "MY_", "headers": {"x-a": "${{ env.MY_KEY }}"}}
    project = load_project(write(tmp_path, "webhooks", webhooks))
    assert settings_of(project, {"MY_KEY": "k"})["runs"] == {"THREADMILL_WEBHOOK_HEADERS": '{"x-a": "k"}'}
    del webhooks["env_prefix"]
    with pytest.raises(CannotRun, match="does not begin with"):
        settings_of(load_project(write(tmp_path, "webhooks", webhooks)), {"MY_KEY": "k"})


def test_keys_of_the_executor_are_passed_through(tmp_path: Path) -> None:
    index = {"dims": 3, "embed": "./embed.py:embed", "fields": ["text"]}
    config = write(tmp_path, "store.index", index)
    assert load_project(config).sections.store.index == index
    read_config(config)


def test_run_time_names_are_listed() -> None:
    table = DOCS.partition("\n### Run-time settings")[2]
    listed = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert listed == RUN_TIME | {"DATABASE_URI", "REDIS_URI"}
