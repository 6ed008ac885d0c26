"""Both servers, started for the session on free ports with one copy of the same application."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGTERM

import orjson
from threadmill_cli.preflight import free_port
from threadmill_cli.readiness import http_ready
from threadmill_cli.stack import StackOptions, open_stack

HERE = Path(__file__).parent
# Later folders add their graphs to the earlier ones'.
APPLICATIONS = (HERE.parents[1] / "e2e" / "app", HERE / "app")
# Needs packages of its own, which the reference's environment lacks.
LEFT_OUT = ("task_maistro",)
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG")
START_SECONDS = 60.0
STOP_SECONDS = 10.0
SLOTS = 10


def copy_application(to: Path) -> Path:
    """The langgraph.json of an application with the graphs of all folders, in the new folder `to`."""
    merged: dict[str, object] = {"dependencies": ["."], "graphs": {}, "env": {}}
    for folder in APPLICATIONS:
        shutil.copytree(folder / "graphs", to / "graphs", dirs_exist_ok=True)
        given = orjson.loads((folder / "langgraph.json").read_bytes())
        graphs = {name: spec for name, spec in given["graphs"].items() if name not in LEFT_OUT}
        merged = {**merged, **given, "dependencies": ["."], "graphs": {**merged["graphs"], **graphs}}  # type: ignore[dict-item]
    config = to / "langgraph.json"
    config.write_bytes(orjson.dumps(merged))
    return config


@asynccontextmanager
async def reference_server(environment: Path, config: Path, log: Path) -> AsyncIterator[str]:
    """Base URL of a reference server from the virtual environment; it writes its state beside `config`."""
    port = free_port()
    arguments = ("dev", "--no-browser", "--no-reload", "--allow-blocking", "--config", str(config))
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            str((environment / "bin" / "langgraph").absolute()),
            *arguments,
            *("--port", str(port), "--n-jobs-per-worker", str(SLOTS)),
            cwd=config.parent,
            env=_inherited(),
            stdout=output,
            stderr=output,
        )
    try:
        await _until_ready(process, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        await _stop(process)


@asynccontextmanager
async def threadmill_server(config: Path, data: Path) -> AsyncIterator[str]:
    """Base URL of a Threadmill with every process."""
    options = StackOptions(configs=(config,), data=data, environment=_inherited(), slots=SLOTS)
    async with open_stack(options) as stack:
        yield stack.url


def _inherited() -> dict[str, str]:
    """Nothing else of the developer's shell: no model key, no tracing, no database."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


async def _until_ready(process: asyncio.subprocess.Process, url: str, log: Path) -> None:
    ended = asyncio.ensure_future(process.wait())
    ready = asyncio.ensure_future(http_ready(f"{url}/ok"))
    try:
        async with asyncio.timeout(START_SECONDS):
            await asyncio.wait((ended, ready), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise RuntimeError(f"the reference ended before it was ready; see {log}")
    finally:
        for task in (ended, ready):
            task.cancel()
        await asyncio.gather(ended, ready, return_exceptions=True)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
