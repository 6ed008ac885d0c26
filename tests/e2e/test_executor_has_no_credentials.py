"""The executor runs code that we did not write: nothing in its reach opens the database or Redis."""

import re
from pathlib import Path

from pydantic import SecretStr
from threadmill_chassis.postgres import PostgresSettings
from threadmill_cli.stack import Stack
from threadmill_runs.api.settings import RunsSettings
from threadmill_runs.executor.settings import ExecutorSettings

CREDENTIAL = re.compile(r"dsn|postgres|redis|database|password|secret|token", re.IGNORECASE)
LOCATION = re.compile(r"postgres(ql)?://|rediss?://|unix://|redis\.sock", re.IGNORECASE)


def environment_in_kernel(pid: int) -> dict[str, str]:
    """What the kernel says the process was given."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.partition("=")[::2] for entry in entries if entry)


def test_environment_of_the_process_holds_none(stack: Stack) -> None:
    for environment in (environment_in_kernel(stack.pid("executor")), stack.environment_of("executor")):
        assert environment["THREADMILL_RUNS_ADDRESS"]
        assert [name for name in environment if CREDENTIAL.search(name)] == []
        assert [name for name, value in environment.items() if LOCATION.search(value)] == []


def test_the_gateway_has_none_either(stack: Stack) -> None:
    environment = environment_in_kernel(stack.pid("gateway"))
    assert [name for name, value in environment.items() if CREDENTIAL.search(name) or LOCATION.search(value)] == []


def test_this_would_be_noticed(stack: Stack) -> None:
    environment = environment_in_kernel(stack.pid("runs"))
    assert {name for name in environment if CREDENTIAL.search(name)} >= {
        "THREADMILL_POSTGRES_DSN",
        "THREADMILL_REDIS_URI",
    }


def test_command_line_holds_none(stack: Stack) -> None:
    command = Path(f"/proc/{stack.pid('executor')}/cmdline").read_text()
    assert not CREDENTIAL.search(command)


def test_settings_have_no_field_for_any() -> None:
    assert not issubclass(ExecutorSettings, PostgresSettings)
    fields = ExecutorSettings.model_fields
    assert [name for name in fields if CREDENTIAL.search(name)] == []
    assert [name for name, field in fields.items() if field.annotation is SecretStr] == []
    assert [name for name in RunsSettings.model_fields if CREDENTIAL.search(name)] != []
