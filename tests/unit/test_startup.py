"""A process whose settings are wrong says which, in one line that the command understands."""

import json
import os
import subprocess
import sys

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError
from threadmill_chassis.settings import ProcessSettings
from threadmill_chassis.startup import describe
from threadmill_gateway.settings import GatewaySettings
from threadmill_runs.api.settings import RunsSettings
from threadmill_threads.settings import ThreadsSettings


@pytest.mark.parametrize(
    ("kind", "variables", "reason"),
    [
        (ThreadsSettings, {}, "THREADMILL_POSTGRES_DSN is not set"),
        (ProcessSettings, {"THREADMILL_LOG_LEVEL": "loud"}, "THREADMILL_LOG_LEVEL is wrong: input should be 'debug',"),
        (
            GatewaySettings,
            {"MOUNT_PREFIX": "/noauth"},
            "THREADMILL_MOUNT_PREFIX or MOUNT_PREFIX is wrong: /noauth is reserved",
        ),
        (
            RunsSettings,
            {"THREADMILL_POSTGRES_DSN": "d", "THREADMILL_REDIS_URI": "r", "THREADMILL_LEASE_SECONDS": "1"},
            "a combination of settings is wrong: lease_seconds must be",
        ),
        (
            RunsSettings,
            {"THREADMILL_POSTGRES_DSN": "d", "THREADMILL_REDIS_URI": "r", "BG_JOB_MAX_RETRIES": "s3cret"},
            "THREADMILL_MAX_ATTEMPTS or BG_JOB_MAX_RETRIES is wrong: input should be a valid integer",
        ),
        (GatewaySettings, {"THREADMILL_LOGGING_HEADERS": "{"}, "THREADMILL_LOGGING_HEADERS is wrong: input should be"),
        (RunsSettings, {"THREADMILL_WEBHOOK_HEADERS": "{"}, 'error parsing value for field "webhook_headers"'),
    ],
)
def test_wrong_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, kind: type[ProcessSettings], variables: dict[str, str], reason: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises((ValidationError, SettingsError)) as caught:
        kind()
    text = describe(caught.value, kind)
    assert reason in text
    assert "s3cret" not in text


def test_process_ends_with_one_line_that_the_command_understands() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "threadmill_gateway"],
        env={**os.environ, "THREADMILL_PORT": "many"},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 1
    event = json.loads(ended.stderr)
    assert (event["event"], event["service"]) == ("cannot_run", "gateway")
    assert event["reason"].startswith("THREADMILL_PORT is wrong: input should be a valid integer")
