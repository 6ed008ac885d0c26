"""Becomes another program that dies with its parent: `python -I -S launcher.py PARENT SIGNAL UID GID PROGRAM ARG…`.

A child of `threadmill dev` must not outlive it, even when it is killed with SIGKILL. Linux offers that per process
(PR_SET_PDEATHSIG), to be asked for by the child itself, after any change of user and before exec. A small program
does so more safely than Python's `preexec_fn`, which runs between fork and exec of a process with threads.
It imports the standard library only, and ctypes only on Linux: it costs about 15 ms.
"""

import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
KEEP_USER = -1


def launch(parent: int, death_signal: int, uid: int, gid: int, argv: list[str]) -> None:
    """Never returns: execs `argv` (argv[0] an absolute path), or exits when the parent is gone already."""
    die_with_parent = _die_with_parent()
    if uid != KEEP_USER:
        os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)
    die_with_parent(death_signal)  # after the change of user, which would undo it
    if os.getppid() != parent:
        sys.exit(1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ignored by this interpreter, and exec would hand that on
    os.execv(argv[0], argv)


def _die_with_parent() -> Callable[[int], object]:
    """The system call, looked up while this user may still read the standard library."""
    if sys.platform != "linux":
        return lambda _: None
    from ctypes import CDLL  # noqa: PLC0415  # absent from some builds of Python on other systems

    prctl = CDLL(None).prctl
    return lambda number: prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:5]]
    launch(numbers[0], numbers[1], numbers[2], numbers[3], sys.argv[5:])
