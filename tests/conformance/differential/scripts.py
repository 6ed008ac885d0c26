"""The list of scripts: each sends its requests to whichever server it is given."""

from collections.abc import Awaitable, Callable

from .recording import Recorder

Script = Callable[[Recorder], Awaitable[None]]
SCRIPTS: dict[str, Script] = {}
ALONE: set[str] = set()


def script(function: Script) -> Script:
    """Adds a script under its function's name. It runs beside others: it counts on no moment and no other's rows."""
    name = function.__name__  # type: ignore[attr-defined]
    assert name not in SCRIPTS
    SCRIPTS[name] = function
    return function


def script_alone(function: Script) -> Script:
    """Adds a script that meets runs at a certain moment, or looks at all that a server holds: it runs by itself."""
    ALONE.add(function.__name__)  # type: ignore[attr-defined]
    return script(function)
