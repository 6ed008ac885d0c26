"""One supervised operating-system process: start, output, signals, end.

Each has a session of its own, so that a Ctrl-C at the terminal reaches only the command, which then stops them in
order; and each dies with the command (see launcher.py).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from threadmill_cli.output import Event, parse_event

LAUNCHER = Path(__file__).with_name("launcher.py")
READ_BYTES = 64 * 1024
LINE_MAX_BYTES = 1024 * 1024
# So long lines come together, unless there is much to read: under load each costs less than a wake-up.
GATHER_SECONDS = 0.02
MUCH_BYTES = 8 * 1024
OUTPUT_TAIL_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged system user that a process runs as, when the command itself runs as root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """What to run. `argv[0]` is an absolute path; `env` is the whole environment, nothing is inherited.

    `death_signal` is what the kernel sends when the command dies without stopping the process.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    stop_signal: signal.Signals = signal.SIGTERM
    force_signal: signal.Signals = signal.SIGKILL
    death_signal: signal.Signals = signal.SIGKILL
    account: Account | None = None


class Process:
    """A running process of `spec`. The lines of its stdout and stderr go to `sink`, without newlines."""

    def __init__(self, spec: ProcessSpec, sink: Callable[[list[bytes]], None]) -> None:
        self.spec = spec
        self.refusal: str | None = None  # the sentence with which a service said that it cannot run
        self.graph_errors: dict[str, str] = {}  # by graph id: why an executor could not load it
        self._last = b""
        self._sink = sink
        self._process: asyncio.subprocess.Process | None = None
        self._pump: asyncio.Task[None] | None = None
        self._ended: asyncio.Task[int] | None = None

    @property
    def pid(self) -> int:
        """Process id; RuntimeError before `start`."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether the process has started and not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def last_line(self) -> str:
        """The last line that it wrote and that was not empty."""
        return self._last.decode(errors="replace")

    async def start(self) -> None:
        """Starts the process; answers as soon as it exists."""
        account = self.spec.account
        ids = (account.uid, account.gid) if account else (-1, -1)
        prefix = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(self.spec.death_signal))]
        read, write = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *prefix, str(ids[0]), str(ids[1]), *self.spec.argv,
                stdin=asyncio.subprocess.DEVNULL, stdout=write, stderr=write,
                env=dict(self.spec.env), cwd=self.spec.cwd, start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        self._pump = asyncio.create_task(self._read(read), name=f"output of {self.spec.name}")
        self._ended = asyncio.create_task(self._process.wait(), name=f"end of {self.spec.name}")

    async def wait(self) -> int:
        """Waits for the end, and for the last output; answers the exit code, negative for a signal."""
        if self._ended is None or self._pump is None:
            raise RuntimeError(f"{self.spec.name} was never started")
        code = await asyncio.shield(self._ended)
        # A grandchild that was left behind may hold the pipe open, so its end is not waited for.
        await asyncio.wait([self._pump], timeout=OUTPUT_TAIL_SECONDS)
        self._pump.cancel()
        return code

    async def stop(self, grace_seconds: float) -> None:
        """Asks the process to stop, forces it after the grace period, and ends what is left of its group."""
        if self._process is None:
            return
        self.send(signal.SIGCONT)  # a paused process could not react
        self.send(self.spec.stop_signal)
        try:
            await asyncio.wait_for(self.wait(), grace_seconds)
        except TimeoutError:
            self.force()
            await self.wait()
        self._end_group()

    def force(self) -> None:
        """Ends the process without asking it."""
        self.send(self.spec.force_signal)

    def send(self, name: signal.Signals) -> None:
        """Sends a signal to the process itself; nothing happens when it has ended."""
        if self.alive:
            with suppress(ProcessLookupError):
                self._running().send_signal(name)

    def _end_group(self) -> None:
        # Programs that user code started; the group id stays reserved for as long as one of them lives.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self.spec.name} was never started")
        return self._process

    async def _read(self, descriptor: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        pending = b""
        try:
            while chunk := await reader.read(READ_BYTES):
                *lines, pending = (pending + chunk).split(b"\n")
                self._take(lines)
                if len(pending) > LINE_MAX_BYTES:  # bounded: an endless line is cut
                    self._take([pending])
                    pending = b""
                if len(chunk) < MUCH_BYTES:
                    await asyncio.sleep(GATHER_SECONDS)
        finally:
            if pending:
                self._take([pending])
            transport.close()

    def _take(self, lines: list[bytes]) -> None:
        for line in lines:
            if b"cannot_run" in line or b"graph_import_failed" in line:  # the rest is not parsed: lines may come fast
                self._learn(parse_event(line))
            if stripped := line.strip():
                self._last = stripped
        if lines:
            self._sink(lines)

    def _learn(self, event: Event | None) -> None:
        if event and event["event"] == "cannot_run":
            self.refusal = str(event.get("reason", ""))
        elif event and event["event"] == "graph_import_failed":
            self.graph_errors[str(event.get("graph_id"))] = str(event.get("error"))
