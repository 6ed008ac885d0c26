"""Log lines of services as text, or passed through."""

import json

import pytest
from threadmill_cli.output import Output, parse_event, render


def test_only_log_events_are_events() -> None:
    assert parse_event(b'{"event": "serving", "level": "info"}')
    assert parse_event(b'{"answer": 42}') is None
    assert parse_event(b"{broken") is None
    assert parse_event(b"hello") is None


def test_event_as_text() -> None:
    event = {
        "event": "failed",
        "level": "info",
        "timestamp": "2026-01-02T03:04:05.6Z",
        "run_id": "r",
        "n": 1,
        "service": "x",
    }
    assert render(event) == "03:04:05 failed run_id=r n=1"
    assert render({"event": "failed", "exception": "Traceback\n…"}) == "failed\nTraceback\n…"


def test_console_prefixes_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    Output().log("executor", b'{"event": "failed", "exception": "Traceback\\n  boom"}')
    assert capsys.readouterr().err.splitlines() == ["executor    failed", "executor    Traceback", "executor      boom"]


def test_json_wraps_what_is_no_event(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output("json")
    output.log("executor", b"printed by a graph")
    output.log("executor", b'{"event": "serving"}')
    wrapped, event = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (wrapped["service"], wrapped["event"]) == ("executor", "printed by a graph")
    assert event == {"event": "serving"}


def test_hidden_processes(capsys: pytest.CaptureFixture[str]) -> None:
    Output(hidden=frozenset({"redis"})).log("redis", b"noise")
    assert capsys.readouterr().err == ""
