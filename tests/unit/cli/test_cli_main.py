"""The command line: which environment a process that is run by itself is given."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from threadmill_cli.main import main

Invoke = Callable[..., tuple[Result, dict[str, str]]]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs the command; the second part of the answer is the environment that it would have become a process with."""

    def run(*arguments: str, **shell: str) -> tuple[Result, dict[str, str]]:
        given: dict[str, str] = {}
        monkeypatch.setattr("os.execve", lambda _, __, environment: given.update(environment))
        return CliRunner().invoke(main, list(arguments), env=shell), given

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "agent.py").write_text("graph = None\n")
    path = tmp_path / "langgraph.json"
    document = {
        "graphs": {"agent": "./agent.py:graph"},
        "http": {"mount_prefix": "/api"},
        "env": {"N_JOBS_PER_WORKER": "3"},
    }
    path.write_text(json.dumps(document))
    return path


def test_gateway_takes_its_settings_from_the_file(invoke: Invoke, config: Path) -> None:
    result, environment = invoke("gateway", "--config", str(config), DATABASE_URI="secret")
    assert (result.exit_code, environment["THREADMILL_MOUNT_PREFIX"]) == (0, "/api")
    assert "DATABASE_URI" not in environment


def test_without_a_file_the_environment_is_all(invoke: Invoke) -> None:
    result, environment = invoke("gateway")
    assert (result.exit_code, "THREADMILL_MOUNT_PREFIX" in environment) == (0, False)


@pytest.mark.parametrize("by_option", [True, False])
def test_executor_is_given_its_file_and_names_who_else_needs_it(invoke: Invoke, config: Path, by_option: bool) -> None:
    arguments, shell = (["--config", str(config)], {}) if by_option else ([], {"THREADMILL_CONFIG": str(config)})
    result, environment = invoke("executor", *arguments, **shell)
    assert result.exit_code == 0
    assert environment["THREADMILL_CONFIG"] == str(config)
    assert environment["N_JOBS_PER_WORKER"] == "3"
    assert "has settings of gateway: start them with --config too" in result.output


def test_wrong_file_is_one_sentence(invoke: Invoke, config: Path) -> None:
    config.write_text("{")
    result, environment = invoke("executor", "-c", str(config))
    assert (result.exit_code, environment) == (1, {})
    assert result.output.startswith(f"Error: {config} is not valid JSON (")


@pytest.mark.parametrize(
    "command", ["", "dev", "migrate", "version", "gateway", "threads", "store", "runs", "executor"]
)
def test_help(invoke: Invoke, command: str) -> None:
    result, _ = invoke(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
