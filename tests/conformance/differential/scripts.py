"""The list of scripts: each sends its requests to whichever server it is given."""

from collections.abc import Awaitable, Callable

from .recording import Recorder

Script = Callable[[Recorder], Awaitable[None]]
SCRIPTS: dict[str, Script] = {}


def script(function: Script) -> Script:
    """Adds a script under its function's name."""
    name = function.__name__  # type: ignore[attr-defined]
    assert name not in SCRIPTS
    SCRIPTS[name] = function
    return function
