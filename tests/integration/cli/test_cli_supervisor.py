"""Real child processes under supervision: restart, refusal, stop."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from threadmill_cli.output import Output
from threadmill_cli.processes import ProcessSpec
from threadmill_cli.refusal import CannotRun
from threadmill_cli.supervisor import Supervisor

REFUSES = """
import sys
print('{"event": "cannot_run", "reason": "the moon is full"}', file=sys.stderr)
sys.exit(1)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
WAITS = "print('up', flush=True); import time; time.sleep(600)"


class Lines(Output):
    """Collects what processes write; `said` is set at each line "up"."""

    def __init__(self) -> None:
        super().__init__()
        self.up = asyncio.Event()
        self.lines: list[str] = []

    def log(self, process: str, *lines: bytes) -> None:
        self.lines += [line.decode() for line in lines]
        if b"up" in lines:
            self.up.set()

    async def ready(self) -> None:
        await self.up.wait()
        self.up.clear()


@pytest.fixture
async def lines() -> Lines:
    return Lines()


@pytest.fixture
async def supervisor(lines: Lines) -> AsyncIterator[Supervisor]:
    made = Supervisor(lines)
    yield made
    for name in made.members:
        await made.stop(name)


def running(program: str, folder: Path) -> ProcessSpec:
    return ProcessSpec(name="toy", argv=(sys.executable, "-c", program), env={}, cwd=folder)


async def test_dead_process_is_started_again(supervisor: Supervisor, lines: Lines, tmp_path: Path) -> None:
    await supervisor.add("toy", lambda: running(WAITS, tmp_path), lines.ready)
    first = supervisor.process("toy").pid
    supervisor.send("toy", signal.SIGKILL)
    await asyncio.wait_for(supervisor.members["toy"].serving.wait(), 10)
    assert supervisor.process("toy").pid != first


async def test_process_that_is_not_kept_stays_dead_until_started(
    supervisor: Supervisor, lines: Lines, tmp_path: Path
) -> None:
    await supervisor.add("toy", lambda: running(WAITS, tmp_path), lines.ready)
    supervisor.members["toy"].keep = False
    supervisor.send("toy", signal.SIGKILL)
    assert await supervisor.process("toy").wait() == -signal.SIGKILL
    assert not supervisor.process("toy").alive
    await supervisor.start("toy")
    assert supervisor.process("toy").alive


async def test_refusal_at_start_is_passed_on(supervisor: Supervisor, lines: Lines, tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"^toy cannot run: the moon is full$"):
        await supervisor.add("toy", lambda: running(REFUSES, tmp_path), lines.ready)
    assert len(lines.lines) == 1  # it said why: not tried again


async def test_unexplained_end_is_tried_again_first(supervisor: Supervisor, lines: Lines, tmp_path: Path) -> None:
    program = "print('Boom'); raise SystemExit(1)"
    with pytest.raises(CannotRun, match=r"toy does not start \(Boom\)"):
        await supervisor.add("toy", lambda: running(program, tmp_path), lines.ready)
    assert lines.lines == ["Boom"] * 2


async def test_refusal_after_a_restart_ends_everything(supervisor: Supervisor, lines: Lines, tmp_path: Path) -> None:
    programs = iter([WAITS, REFUSES])
    await supervisor.add("toy", lambda: running(next(programs), tmp_path), lines.ready)
    supervisor.send("toy", signal.SIGKILL)
    assert (await asyncio.wait_for(supervisor.failed, 10)).message == "toy cannot run: the moon is full"


async def test_deaf_and_paused_processes_are_stopped_all_the_same(
    supervisor: Supervisor, lines: Lines, tmp_path: Path
) -> None:
    await supervisor.add("deaf", lambda: running(DEAF, tmp_path), lines.ready)
    await supervisor.add("paused", lambda: running(WAITS, tmp_path), lines.ready)
    supervisor.send("paused", signal.SIGSTOP)
    for name in ("deaf", "paused"):
        await supervisor.stop(name, 0.3)
        assert not supervisor.process(name).alive


async def test_what_a_process_started_ends_with_it(supervisor: Supervisor, lines: Lines, tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print('child', p.pid, flush=True); print('up', flush=True); time.sleep(600)"
    )
    await supervisor.add("toy", lambda: running(program, tmp_path), lines.ready)
    grandchild = int(lines.lines[0].split()[1])
    ended = os.pidfd_open(grandchild)
    await supervisor.stop("toy")
    loop = asyncio.get_running_loop()
    gone = loop.create_future()
    loop.add_reader(ended, lambda: gone.done() or gone.set_result(None))
    await asyncio.wait_for(gone, 10)
    loop.remove_reader(ended)
    os.close(ended)


async def test_endless_lines_are_cut(supervisor: Supervisor, lines: Lines, tmp_path: Path) -> None:
    program = "print('x' * 3_000_000, flush=True); print('up', flush=True); import time; time.sleep(600)"
    await supervisor.add("toy", lambda: running(program, tmp_path), lines.ready)
    assert sum(len(line) for line in lines.lines[:-1]) == 3_000_000
    assert len(lines.lines) > 2
