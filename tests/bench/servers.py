"""How Threadmill and each peer is started on the shared backends, with the application of app/."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from backends import Backends
from environments import HERE, environments

APP = HERE / "app"
READY_SECONDS = 90
STOP_SECONDS = 15
JOBS = "10"  # concurrent runs of the peers; what the reference's own documentation suggests

Launch = tuple[list[str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Server:
    """A server in the comparison: `launch(backends, port, folder)` says its command and its environment."""

    name: str
    launch: Callable[[Backends, int, Path], Launch]

    @property
    def database(self) -> str:
        return f"bench_{self.name.replace('-', '_')}"


@dataclass(frozen=True, slots=True)
class Running:
    """A started server."""

    url: str
    pid: int

    def processes(self) -> list[int]:
        """It and everything that it has started."""
        return descendants(self.pid)

    def cpu_ms(self) -> dict[str, float]:
        """CPU time that each of its processes has used so far, by process."""
        return {f"{_label(pid)}:{pid}": cpu_ms(pid) for pid in self.processes()}

    def memory_mb(self) -> dict[str, float]:
        """Resident memory of each of its processes."""
        result = {}
        for pid in self.processes():
            fields = dict(
                line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
            )
            result[f"{_label(pid)}:{pid}"] = int(fields.get("VmRSS", "0 kB").split()[0]) / 1024
        return result


def cpu_ms(pid: int) -> float:
    """CPU time of a process and of its children that have ended, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * 1000 / os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """A process and everything that it has started."""
    found, todo = [], [pid]
    while todo:
        found.append(current := todo.pop())
        children = Path(f"/proc/{current}/task/{current}/children")
        todo += [int(child) for child in children.read_text().split()] if children.exists() else []
    return found


def _label(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    modules = [word for word in words if word.startswith("threadmill_")]
    return modules[0] if modules else Path(words[0]).name


def threadmill(backends: Backends, port: int, folder: Path) -> Launch:
    program = str(Path(sys.executable).with_name("threadmill"))
    command = [program, "dev", "--config", str(APP / "langgraph.json"), "--no-reload", "--port", str(port)]
    env = {
        "DATABASE_URI": backends.dsn("bench_threadmill"),
        "REDIS_URI": backends.redis_uri,
        "OPENAI_API_KEY": "none",  # no offline model
        "THREADMILL_SHUTDOWN_GRACE_SECONDS": "1",
    }
    return [*command, "--data-dir", str(folder / "threadmill")], env


def langgraph_dev(backends: Backends, port: int, folder: Path) -> Launch:
    program = environments()["langgraph-dev"].program("langgraph")
    command = [program, "dev", "--no-browser", "--no-reload", "--n-jobs-per-worker", JOBS, "--port", str(port)]
    return [*command, "--config", str(APP / "langgraph.json")], {"LANGSMITH_TRACING": "false"}


def langhost(backends: Backends, port: int, folder: Path) -> Launch:
    program = environments()["langhost"].program("langhost")
    command = [program, "serve", "--port", str(port), "--config", str(APP / "langgraph.json"), "--no-browser"]
    env = {
        "DATABASE_URI": backends.dsn("bench_langhost"),
        "REDIS_URI": backends.redis_uri,
        "N_JOBS_PER_WORKER": JOBS,
        "LANGSMITH_TRACING": "false",
    }
    return command, env


def aegra(backends: Backends, port: int, folder: Path) -> Launch:
    program = environments()["aegra"].program("aegra")
    command = [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--config", str(APP / "langgraph.json")]
    env = {
        "DATABASE_URL": backends.dsn("bench_aegra"),
        "REDIS_URL": backends.redis_uri,
        "REDIS_BROKER_ENABLED": "true",
        "AUTH_TYPE": "noop",
    }
    return command, env


SERVERS = [
    Server("threadmill", threadmill),
    Server("langgraph-dev", langgraph_dev),
    Server("langhost", langhost),
    Server("aegra", aegra),
]


@asynccontextmanager
async def started(server: Server, backends: Backends, folder: Path, port: int) -> AsyncIterator[Running]:
    """The server, ready, for the block; on an empty database. RuntimeError with the log's end if it does not start."""
    await backends.fresh(server.database)
    command, extra = server.launch(backends, port, folder)
    log = folder / f"{server.name}.log"
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | dict(extra)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220  # nothing else runs on this loop meanwhile
            command, env=env, cwd=APP, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        await _ready(process, url, log)
        yield Running(url, process.pid)
    finally:
        _stop(process)


async def _ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if await asyncio.to_thread(_answers, url):
            return
        await asyncio.sleep(0.2)
    end = log.read_text(errors="replace")[-1500:]  # noqa: ASYNC240  # as above
    raise RuntimeError(f"not ready within {READY_SECONDS} s: {end}")


def _answers(url: str) -> bool:
    """Whether it lists assistants: then it serves and has loaded the graphs."""
    request = urllib.request.Request(
        f"{url}/assistants/search", data=b'{"limit": 10}', headers={"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return b"tokens" in response.read()
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
