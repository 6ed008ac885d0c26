"""What `threadmill dev` prints: its own progress on stdout, and the logs of its processes on stderr.

Service processes always log JSON, one object a line; this is the one place that turns it into text for a terminal.
Lines that are no log events (a `print` in a graph) pass through with the name of the process in front.
"""

import sys
from datetime import UTC, datetime
from typing import Any, Literal

import click
import orjson

LogFormat = Literal["console", "json"]
COLOURS = ("cyan", "magenta", "blue", "green", "yellow")
LEVELS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "red"}
NAME_WIDTH = 11
HIDDEN_KEYS = frozenset({"event", "level", "timestamp", "service", "exception", "logger"})
Event = dict[str, Any]


def parse_event(line: bytes) -> Event | None:
    """The log event that a line holds, or None when it is any other text."""
    if not line.startswith(b"{"):
        return None
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


class Output:
    """Writes whole lines; goes quiet when nobody reads any longer. Processes named in `hidden` are not shown."""

    def __init__(self, log_format: LogFormat = "console", hidden: frozenset[str] = frozenset()) -> None:
        self._format = log_format
        self._hidden = hidden
        self._names: dict[str, str] = {}  # as they stand before each line, coloured

    def say(self, text: str, *, warning: bool = False) -> None:
        """One line of the command's own, on stdout."""
        if self._format == "json":
            level = "warning" if warning else "info"
            event = {"service": "dev", "event": text, "level": level, "timestamp": _now()}
            _echo(orjson.dumps(event).decode(), err=False)
        else:
            _echo(click.style(text, fg="yellow") if warning else text, err=False)

    def log(self, process: str, *lines: bytes) -> None:
        """Lines that `process` wrote."""
        if process not in self._hidden:
            shown = self._as_json if self._format == "json" else self._as_text
            _echo("\n".join(shown(process, line) for line in lines), err=True)

    def _as_json(self, process: str, line: bytes) -> str:
        event = parse_event(line)
        if event is None:
            text = line.decode(errors="replace")
            event = {"service": process, "event": text, "level": "info", "timestamp": _now()}
        return orjson.dumps(event).decode()

    def _as_text(self, process: str, line: bytes) -> str:
        event = parse_event(line)
        body = render(event) if event else line.decode(errors="replace")
        name = self._name(process)
        return "\n".join(f"{name} {part}" for part in body.splitlines() or [""])

    def _name(self, process: str) -> str:
        if process not in self._names:
            colour = COLOURS[len(self._names) % len(COLOURS)]
            self._names[process] = click.style(f"{process:<{NAME_WIDTH}}", fg=colour)
        return self._names[process]


def render(event: Event) -> str:
    """A log event as text: time, event, its fields; a traceback on the lines below."""
    level = str(event.get("level", "info"))
    time = str(event.get("timestamp", ""))[11:19]
    fields = " ".join(f"{key}={_text(value)}" for key, value in event.items() if key not in HIDDEN_KEYS)
    name = click.style(f"{level}: {event['event']}", fg=LEVELS[level]) if level in LEVELS else str(event["event"])
    line = " ".join(part for part in (time, name, fields) if part)
    return f"{line}\n{event['exception']}" if event.get("exception") else line


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _echo(text: str, *, err: bool) -> None:
    try:
        click.echo(text, err=err)
    except BrokenPipeError:
        # Whoever read us (`| head`) is gone; the services need not suffer. Python must not complain at exit either.
        stream = sys.stderr if err else sys.stdout
        stream.close()
    except ValueError:
        pass  # closed above
