"""`threadmill dev` as a user runs it: started, used, reloaded, interrupted, killed, started again."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from threadmill_cli.banner import READY
from threadmill_cli.output import Output
from threadmill_cli.preflight import free_port
from threadmill_cli.refusal import CannotRun
from threadmill_cli.stack import StackOptions, open_stack

GRAPH = """
from typing import TypedDict
from langgraph.graph import END, START, StateGraph

class State(TypedDict):
    word: str

builder = StateGraph(State)
builder.add_node("shout", lambda state: {"word": state["word"].upper() + "ANSWER"})
builder.add_edge(START, "shout")
builder.add_edge("shout", END)
graph = builder.compile()
"""
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}


def write_config(path: Path, **graphs: str) -> None:
    path.write_text(json.dumps({"dependencies": ["."], "graphs": graphs}))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir(mode=0o700)
    (folder / "agent.py").write_text(GRAPH.replace("ANSWER", "!"))
    path = folder / "langgraph.json"
    write_config(path, agent="./agent.py:graph")
    return path


class Dev:
    """A running `threadmill dev`; its stdout is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, errors: Path) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.errors = errors

    async def until(self, text: str) -> None:
        """Reads stdout up to a line that holds `text`."""
        assert self.process.stdout is not None
        async with asyncio.timeout(40):
            while text.encode() not in (line := await self.process.stdout.readline()):
                assert line, f"ended before {text!r}: {self.errors.read_text()}"

    async def ended(self) -> int:
        assert self.process.stdout is not None
        async with asyncio.timeout(15):
            await self.process.stdout.read()
            return await self.process.wait()

    def children(self) -> list[int]:
        """pidfds of all direct children: each process of the system is one."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == self.process.pid:
                found.append(os.pidfd_open(int(stat.parent.name)))
        return found


StartDev = Callable[..., Awaitable[Dev]]


@pytest.fixture
async def start_dev(config: Path, tmp_path: Path) -> AsyncIterator[StartDev]:
    started: list[Dev] = []

    async def start(*arguments: str, port: int | None = None) -> Dev:
        port = port or free_port()
        errors = tmp_path / f"stderr-{len(started)}"
        with errors.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "threadmill_cli", "dev", "--config", str(config), "--port", str(port), *arguments,
                stdout=asyncio.subprocess.PIPE, stderr=stderr, env=ENVIRONMENT, cwd=tmp_path,
            )  # fmt: skip
        started.append(Dev(process, port, errors))
        return started[-1]

    yield start
    for dev in started:
        if dev.process.returncode is None:
            dev.process.terminate()
            await dev.ended()


async def all_ended(pidfds: list[int]) -> None:
    """Waits until every process has ended: its pidfd becomes readable then."""
    loop = asyncio.get_running_loop()
    for descriptor in pidfds:
        gone = asyncio.Event()
        loop.add_reader(descriptor, gone.set)
        await asyncio.wait_for(gone.wait(), 15)
        loop.remove_reader(descriptor)
        os.close(descriptor)


def environment_of(pid: int) -> bytes:
    """What the kernel says, not what we meant to give."""
    return Path(f"/proc/{pid}/environ").read_bytes()


async def shout(url: str, thread_id: str) -> str:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        answer = await client.post(
            f"/threads/{thread_id}/runs/wait",
            json={"assistant_id": "agent", "input": {"word": "hi"}, "if_not_exists": "create"},
        )
        answer.raise_for_status()
        return str(answer.json()["word"])


async def test_interrupted_and_started_again_it_finds_its_data(start_dev: StartDev) -> None:
    thread = "0195f000-0000-7000-8000-000000000001"
    dev = await start_dev()
    await dev.until(READY)
    assert await shout(dev.url, thread) == "HI!"
    children = dev.children()
    assert len(children) == 8  # two databases, the offline model, five services
    dev.process.send_signal(signal.SIGINT)
    assert await dev.ended() == 0
    await all_ended(children)

    dev = await start_dev()
    await dev.until(READY)
    async with httpx.AsyncClient(base_url=dev.url) as client:
        assert (await client.get(f"/threads/{thread}")).json()["values"] == {"word": "HI!"}


async def test_change_of_code_restarts_the_executor(start_dev: StartDev, config: Path) -> None:
    thread = "0195f000-0000-7000-8000-000000000002"
    agent = config.parent / "agent.py"
    dev = await start_dev()
    await dev.until("Stop ")
    agent.write_text("graph = (")
    await dev.until("waiting for the next change")
    agent.write_text(GRAPH.replace("ANSWER", "?"))
    await dev.until("the executor is ready again")
    assert await shout(dev.url, thread) == "HI?"


async def test_killed_it_leaves_no_process_behind(start_dev: StartDev) -> None:
    dev = await start_dev("--no-reload")
    await dev.until(READY)
    children = dev.children()
    dev.process.kill()
    await dev.process.wait()
    await all_ended(children)
    dev = await start_dev("--no-reload")
    await dev.until(READY)


async def test_second_instance_on_the_same_data_is_refused(start_dev: StartDev) -> None:
    first = await start_dev()
    await first.until("creating the database")
    second = await start_dev()
    assert await second.ended() == 1
    message = second.errors.read_text()
    assert "is in use by another threadmill dev" in message
    assert message.count("\n") == 1


async def test_port_in_use_is_refused_before_anything_starts(start_dev: StartDev) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        dev = await start_dev(port=other.getsockname()[1])
        assert await dev.ended() == 1
    assert "is in use: stop what listens there, or choose another with --port" in dev.errors.read_text()


async def test_graph_that_does_not_load_is_named(start_dev: StartDev, config: Path) -> None:
    (config.parent / "agent.py").write_text("import no_such_library\n")
    dev = await start_dev()
    assert await dev.ended() == 1
    last = dev.errors.read_text().splitlines()[-1]
    assert last.startswith("Error: no graph of ")
    assert "no_such_library" in last


async def test_broken_graphs_do_not_stop_the_others(start_dev: StartDev, config: Path) -> None:
    (config.parent / "broken.py").write_text("import no_such_library\n")
    (config.parent / "stops.py").write_text("raise KeyboardInterrupt\n")
    names = {name: f"./{name}.py:graph" for name in ("agent", "broken", "stops", "gone")}
    write_config(config, **names)
    dev = await start_dev("--no-reload")
    await dev.until("gone: FileNotFoundError: there is no such file")
    await dev.until(READY)
    assert await shout(dev.url, "0195f000-0000-7000-8000-000000000004") == "HI!"


async def test_stack_with_external_postgres_and_a_killed_executor(
    config: Path, tmp_path: Path, postgres_dsn: str
) -> None:
    dsn = postgres_dsn.replace("/postgres?", "/cli_stack?")
    options = StackOptions(configs=(config,), data=tmp_path / "data", environment={**ENVIRONMENT, "DATABASE_URI": dsn})
    async with open_stack(options, Output()) as stack:
        with pytest.raises(KeyError):
            stack.pid("postgres")
        for name, secret in (("executor", True), ("gateway", True), ("threads", False)):
            assert (dsn.encode() not in environment_of(stack.pid(name))) is secret
        first = stack.pid("executor")
        stack.kill("executor")
        await asyncio.wait_for(stack.wait_ready("executor"), 60)
        assert stack.pid("executor") != first
        assert await shout(stack.url, "0195f000-0000-7000-8000-000000000003") == "HI!"
        with pytest.raises(CannotRun, match="in use by another"):
            async with open_stack(options):
                pass
