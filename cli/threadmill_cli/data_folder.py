"""The data folder of `threadmill dev`, held by one instance at a time, and the short-lived folder of its sockets."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from threadmill_cli.refusal import CannotRun

# A unix socket path has at most 107 bytes; Postgres adds `/postgres/.s.PGSQL.5432.lock`, the longest of ours.
RUNTIME_PATH_MAX_BYTES = 70
PREFIX = "threadmill-"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """`path` survives between starts; `runtime` holds unix sockets and is removed at the end."""

    path: Path
    runtime: Path

    def socket(self, name: str) -> Path:
        """Where the unix socket of a service is; only the own user can reach it."""
        return self.runtime / "grpc" / name


@contextmanager
def hold_data_folder(path: Path) -> Iterator[DataFolder]:
    """Creates the folder if needed and holds it for the block; CannotRun when another instance does."""
    path = path.resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise CannotRun(
            f"the data folder {path} cannot be used ({error.strerror}): choose another with --data-dir"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read(path)[0]
            raise CannotRun(
                f"the data folder {path} is in use by another threadmill dev (process {holder}): "
                "stop that one, or choose another folder with --data-dir"
            ) from None
        _remove_leftover(_read(path)[1])
        runtime = _make_runtime()
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n{runtime}\n")
        lock.flush()
        try:
            yield DataFolder(path, runtime)
        finally:
            shutil.rmtree(runtime, ignore_errors=True)


def _read(path: Path) -> tuple[str, str]:
    lines = (path / "lock").read_text(encoding="utf-8").splitlines()
    return (lines[0], lines[1]) if len(lines) == 2 else ("unknown", "")


def _make_runtime() -> Path:
    folder = tempfile.gettempdir()
    parent = folder if len(os.fsencode(folder)) + len(PREFIX) + 8 < RUNTIME_PATH_MAX_BYTES else "/tmp"
    runtime = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    runtime.chmod(0o711)  # Postgres, as another user when we are root, passes through to its own sub-folder
    (runtime / "grpc").mkdir(mode=0o700)
    return runtime


def _remove_leftover(runtime: str) -> None:
    # Of an instance that was killed; the name is checked because the file could have been edited.
    if runtime and Path(runtime).name.startswith(PREFIX):
        shutil.rmtree(runtime, ignore_errors=True)
