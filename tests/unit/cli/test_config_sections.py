"""Sections of langgraph.json: refusals name the key, and what is set arrives at the process that owns it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from threadmill_cli.config_sections import UNSUPPORTED, UNSUPPORTED_IN
from threadmill_cli.config_settings import ALIASES, RUN_TIME, settings_of, settings_of_all
from threadmill_cli.project import Project, load_project
from threadmill_cli.refusal import CannotRun
from threadmill_gateway.header_rule import HeaderRule
from threadmill_gateway.settings import GatewaySettings
from threadmill_runs.api.settings import RunsSettings
from threadmill_runs.executor.graphs import config_file
from threadmill_runs.executor.settings import ExecutorSettings
from threadmill_store.settings import StoreSettings
from threadmill_threads.settings import ThreadsSettings

Load = Callable[..., Project]
SETTINGS = {
    "gateway": GatewaySettings,
    "threads": ThreadsSettings,
    "store": StoreSettings,
    "runs": RunsSettings,
    "executor": ExecutorSettings,
}


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_with(name: str = "langgraph.json", **sections: Any) -> Project:
        (tmp_path / "agent.py").write_text("graph = None\n")
        config = tmp_path / name
        config.write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}, **sections}))
        return load_project(config)

    return load_with


def read_by(service: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The settings that the process reads from these variables."""
    for name, value in {"THREADMILL_POSTGRES_DSN": "d", "THREADMILL_REDIS_URI": "r", **variables}.items():
        monkeypatch.setenv(name, value)
    return SETTINGS[service]()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"http": []}, r'"http" in .* is not an object'),
        ({"http": {"mount_prefx": "/a"}}, r'"http.mount_prefx" in .* is unknown: did you mean "mount_prefix"\?'),
        ({"http": {"cors": {"origins": []}}}, r'"http.cors.origins" in .* is unknown: did you mean'),
        ({"http": {"cors": {"zzz": 1}}}, r'"http.cors.zzz" in .* is unknown: the keys there are allow_origins,'),
        ({"http": {"disable_store": "yes"}}, r'"http.disable_store" in .* is wrong: input should be a valid boolean'),
        ({"http": {"mount_prefix": "api"}}, r'"http.mount_prefix" in .* is wrong: string should match'),
        ({"http": {"cors": {"max_age": -1}}}, r'"http.cors.max_age" in .* is wrong'),
        ({"webhooks": {"url": {"allowed_ports": ["x"]}}}, r'"webhooks.url.allowed_ports.0" in .* is wrong'),
        ({"checkpointer": {"ttl": {"strategy": "keep"}}}, r'"checkpointer.ttl.strategy" in .* is wrong'),
        ({"store": {"ttl": {"default_ttl": 0}}}, r'"store.ttl.default_ttl" in .* is wrong'),
    ],
)
def test_wrong_and_unknown_keys(load: Load, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(CannotRun, match=message):
        load(**sections)


def test_the_executor_refuses_the_same_keys() -> None:
    assert config_file.UNSUPPORTED == UNSUPPORTED
    assert config_file.SECTIONS == UNSUPPORTED_IN


@pytest.mark.parametrize("service", ["gateway", "threads", "store", "runs"])
def test_every_variable_is_one_that_its_process_reads(
    load: Load, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    project = load(
        http={
            "mount_prefix": "/api", "disable_store": True, "disable_webhooks": True, "logging_headers": {},
            "cors": {"allow_origin_regex": "x"}, "configurable_headers": {"include": ["x-*"]},
        },
        webhooks={
            "url": {"allowed_domains": ["a.example"], "allowed_ports": [1], "max_url_length": 9},
            "headers": {"x-a": "1"},
        },
        checkpointer={"ttl": {"default_ttl": 1.5, "sweep_interval_minutes": 2, "sweep_limit": 3}},
        store={"ttl": {"default_ttl": 1.5, "sweep_interval_minutes": 2}},
    )  # fmt: skip
    variables = settings_of(project, {})[service]
    assert variables
    fields = SETTINGS[service].model_fields
    names = {f"THREADMILL_{name.upper()}" for name in fields}
    assert variables.keys() <= names
    assert {name.upper() for name in read_by(service, variables, monkeypatch).model_fields_set} >= {
        name.removeprefix("THREADMILL_") for name in variables
    }


def test_http_reaches_the_gateway(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    project = load(
        http={
            "mount_prefix": "/api/", "disable_store": True, "disable_meta": True, "disable_runs": False,
            "cors": {"allow_origins": ["http://a", "http://b"], "max_age": 5},
            "configurable_headers": {"includes": ["X-*"], "excludes": ["x-no"]},
            "logging_headers": {"includes": ["user-agent"]},
        }
    )  # fmt: skip
    settings = read_by("gateway", settings_of(project, {})["gateway"], monkeypatch)
    assert (settings.mount_prefix, settings.disabled_routes) == ("/api", ("store", "meta"))
    assert settings.configurable_headers == HeaderRule(includes=("X-*",), excludes=("x-no",))
    assert settings.logging_headers == HeaderRule(includes=("user-agent",))
    assert settings.cors_allow_origins == ("http://a", "http://b")
    assert (settings.cors_allow_methods, settings.cors_allow_headers) == (("GET",), ())
    assert (settings.cors_expose_headers, settings.cors_max_age_seconds) == ((), 5)


def test_without_sections_nothing_is_set(load: Load) -> None:
    empty = {"http": {}, "webhooks": None, "checkpointer": {"ttl": None, "serde": None}, "store": {"path": None}}
    for project in (load(), load(**empty)):
        assert not any(settings_of(project, {}).values())


def test_webhook_urls_require_https_unless_they_say_otherwise(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = settings_of(load(webhooks={"url": {}}), {})
    assert read_by("gateway", strict["gateway"], monkeypatch).webhook_require_https
    assert not read_by("runs", strict["runs"], monkeypatch).webhook_allow_loopback
    lax = settings_of(load(webhooks={"url": {"require_https": False, "disable_loopback": False}}), {})
    gateway = read_by("gateway", lax["gateway"], monkeypatch)
    assert (gateway.webhook_require_https, gateway.webhook_allow_loopback) == (False, True)
    assert read_by("runs", lax["runs"], monkeypatch).webhook_allow_loopback


def test_webhook_headers_are_filled_for_the_runs_api_alone(load: Load) -> None:
    project = load(
        webhooks={"env_prefix": "HOOK_", "headers": {"authorization": "Bearer ${{ env.HOOK_A }}-${{env.HOOK_B}}"}},
        env={"HOOK_A": "file", "HOOK_B": "file"},
    )
    found = settings_of(project, {"HOOK_A": "shell"})
    assert json.loads(found["runs"]["THREADMILL_WEBHOOK_HEADERS"]) == {"authorization": "Bearer shell-file"}
    assert "shell" not in repr([found[name] for name in ("gateway", "threads", "store", "executor")])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("${{ env.LG_WEBHOOK_GONE }}", "uses the variable LG_WEBHOOK_GONE, which is not set"),
        ("${{ env.PATH }}", "uses the variable PATH, which does not begin with .* \\(LG_WEBHOOK_\\)"),
        ("${{ PATH }}", "is no template"),
    ],
)
def test_wrong_header_templates(load: Load, template: str, message: str) -> None:
    with pytest.raises(CannotRun, match=f'"webhooks.headers.x-a" in .* {message}'):
        settings_of(load(webhooks={"headers": {"x-a": template}}), {"PATH": "/bin"})


def test_shell_wins_over_env_and_env_over_sections(load: Load) -> None:
    project = load(
        http={"mount_prefix": "/file", "cors": {"allow_origins": ["http://file"]}},
        checkpointer={"ttl": {"default_ttl": 1}},
        env={"MOUNT_PREFIX": "/env", "N_JOBS_PER_WORKER": 3, "BG_JOB_TIMEOUT_SECS": 60},
    )
    found = settings_of(project, {"CORS_ALLOW_ORIGINS": "x", "THREADMILL_TTL_DEFAULT_MINUTES": "9",
                                  "BG_JOB_TIMEOUT_SECS": "5"})  # fmt: skip
    assert not {"THREADMILL_MOUNT_PREFIX", "THREADMILL_CORS_ALLOW_ORIGINS"} & found["gateway"].keys()
    assert found["gateway"]["MOUNT_PREFIX"] == "/env"
    assert found["gateway"]["THREADMILL_CORS_ALLOW_METHODS"] == "GET"
    assert "THREADMILL_TTL_DEFAULT_MINUTES" not in found["threads"]
    assert found["executor"] == {"MOUNT_PREFIX": "/env", "N_JOBS_PER_WORKER": "3"}


def test_env_sets_no_places_and_no_credentials(load: Load) -> None:
    project = load(env={"DATABASE_URI": "d", "THREADMILL_POSTGRES_DSN": "d", "THREADMILL_PORT": "1", "MY_KEY": "k",
                        "THREADMILL_LEASE_SECONDS": "30"})  # fmt: skip
    assert settings_of(project, {})["runs"] == {"THREADMILL_LEASE_SECONDS": "30"}


def test_run_time_names_are_aliases_of_settings() -> None:
    aliases = {
        choice: name
        for settings in SETTINGS.values()
        for name, field in settings.model_fields.items()
        for choice in getattr(field.validation_alias, "choices", [])
        if not choice.startswith("THREADMILL_")
    }
    assert aliases.keys() == RUN_TIME
    assert {ours.removeprefix("THREADMILL_").lower(): theirs for ours, theirs in ALIASES.items()}.items() <= {
        name: choice for choice, name in aliases.items()
    }.items()


def test_projects_of_one_system_must_agree(load: Load) -> None:
    one, same = load("a.json", http={"mount_prefix": "/a"}), load("b.json", http={"mount_prefix": "/a"})
    assert settings_of_all([one, same, load("c.json")], {})["gateway"] == {"THREADMILL_MOUNT_PREFIX": "/a"}
    with pytest.raises(CannotRun, match=r"d.json sets THREADMILL_MOUNT_PREFIX for gateway"):
        settings_of_all([one, load("d.json", http={"mount_prefix": "/d"})], {})
