"""Runs the comparison: `make bench`, or `python tests/bench/run.py --help`.

Rounds are interleaved: in each, every server is started on an empty database, warmed up, measured and stopped. The
table shows medians over the rounds, and Threadmill's ratio to the best peer on each row.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from backends import Backends, backends
from environments import HERE, environments
from plans import Entry, chosen
from report import Result, idle_memory_row, write_report
from servers import SERVERS, Running, Server, cpu_ms, descendants, started
from threadmill_cli.preflight import free_port

LOAD_MARGIN_SECONDS = 120


async def _lines(command: list[str]) -> list[dict[str, object]]:
    """The JSON lines that a program prints."""
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{Path(command[1]).name} ended with {process.returncode}")
    return [json.loads(line) for line in output.splitlines()]


async def _load(url: str, entries: list[Entry]) -> list[dict[str, object]]:
    plan = json.dumps([{"workload": e.workload, "clients": e.clients, "seconds": e.seconds} for e in entries])
    python = environments()["load"].program("python")
    async with asyncio.timeout(sum(entry.seconds for entry in entries) + LOAD_MARGIN_SECONDS):
        return await _lines([python, str(HERE / "loadgen.py"), url, plan])


async def _idle_streams(server: Running, entry: Entry) -> list[dict[str, object]]:
    """Memory per held stream, and the latency of others beside them."""
    plan = json.dumps([{"workload": entry.workload, "clients": entry.clients, "seconds": entry.seconds}])
    before = sum(server.memory_mb().values())
    process = await asyncio.create_subprocess_exec(
        environments()["load"].program("python"),
        str(HERE / "loadgen.py"),
        server.url,
        plan,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    async with asyncio.timeout(LOAD_MARGIN_SECONDS):
        if not await process.stdout.readline():
            raise RuntimeError("the streams could not be opened")
        held = sum(server.memory_mb().values())
        process.stdin.write(b"\n")
        beside = await process.stdout.readline()
        await process.wait()
        if not beside:
            raise RuntimeError("the server did not serve others beside the streams")
    memory = {
        "workload": "idle_streams",
        "clients": entry.clients,
        "kb_per_stream": 1024 * (held - before) / entry.clients,
    }
    return [memory, json.loads(beside)]


async def accounted(server: Running, shared: Backends, entry: Entry) -> list[dict[str, object]]:
    """The load, and the CPU time that each process spent on one operation: a figure that other load hardly disturbs."""

    def spent() -> dict[str, float]:
        databases = {"redis": [shared.redis_pid], "postgres": descendants(shared.postgres_pid)}
        return server.cpu_ms() | {name: sum(map(cpu_ms, pids)) for name, pids in databases.items()}

    before = spent()
    (row,) = await _load(server.url, [entry])
    operations = max(int(str(row["operations"])), 1)
    row["server_cpu_ms"] = {name: round((ms - before.get(name, 0)) / operations, 2) for name, ms in spent().items()}
    return [row]


async def _measure(server: Running, entries: list[Entry], shared: Backends) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    for entry in entries:
        try:
            held = entry.workload == "idle_streams"
            results += await (_idle_streams(server, entry) if held else accounted(server, shared, entry))
        except (RuntimeError, TimeoutError) as error:
            results.append({"workload": entry.workload, "clients": entry.clients, "failed": repr(error)})
        click.echo(f"    {json.dumps(results[-1])}", err=True)
    return results


async def _round(
    servers: list[Server], entries: list[Entry], shared: Backends, folder: Path, number: int
) -> list[Result]:
    results = []
    for server in servers:
        click.echo(f"round {number}: {server.name}", err=True)
        try:
            async with started(server, shared, folder, free_port()) as running:
                results.append(Result(server.name, number, idle_memory_row(running.memory_mb())))
                results += [Result(server.name, number, row) for row in await _measure(running, entries, shared)]
        except RuntimeError as error:
            click.echo(f"  {server.name}: {error}", err=True)
    return results


async def _yardsticks(shared: Backends) -> list[Result]:
    """What the load generator can do against a server that does nothing, and the graphs without any server."""
    port = free_port()
    python = environments()["load"].program("python")
    trivial = await asyncio.create_subprocess_exec(python, str(HERE / "trivial.py"), str(port))
    try:
        await asyncio.sleep(1)
        rows = await _load(f"http://127.0.0.1:{port}", [Entry("wait", 16, 2), Entry("stream", 16, 2)])
    finally:
        trivial.kill()
        await trivial.wait()
    results = [Result("trivial", 1, row) for row in rows]
    await shared.fresh("bench_floor")
    floor = environments()["langhost"].program("python")  # has langgraph-checkpoint-postgres
    return results + [
        Result("floor", 1, row) for row in await _lines([floor, str(HERE / "floor.py"), shared.dsn("bench_floor")])
    ]


async def _compare(
    servers: list[Server], entries: list[Entry], rounds: int, yardsticks: bool, folder: Path
) -> list[Result]:
    async with backends(folder, dict(os.environ)) as shared:
        results = await _yardsticks(shared) if yardsticks else []
        for number in range(1, rounds + 1):
            results += await _round(servers, entries, shared, folder, number)
    return results


@click.command()
@click.option("--rounds", default=3, show_default=True, help="How often each server is started and measured.")
@click.option("--quick", is_flag=True, help="A quarter of the time per workload.")
@click.option("--only", "names", multiple=True, help="A workload, such as wait or stream@16; may be repeated.")
@click.option("--server", "wanted", multiple=True, help="A server; may be repeated. All by default.")
@click.option("--yardsticks/--no-yardsticks", default=True, help="Measure the load generator and the floor first.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("bench-results"), show_default=True)
def main(
    rounds: int, quick: bool, names: tuple[str, ...], wanted: tuple[str, ...], yardsticks: bool, out: Path
) -> None:
    """Compare Threadmill with its peers on this machine."""
    available = []
    for name, environment in environments().items():
        reason = environment.install()
        if reason:
            click.echo(f"{name} is left out: {reason}", err=True)
        else:
            available.append(name)
    servers = [s for s in SERVERS if s.name in ("threadmill", *available) and (not wanted or s.name in wanted)]
    with tempfile.TemporaryDirectory(prefix="threadmill-bench-") as folder:
        Path(folder).chmod(0o755)
        results = asyncio.run(_compare(servers, chosen(list(names), quick), rounds, yardsticks, Path(folder)))
    click.echo(write_report(results, out, environments()["load"].program("python")))


if __name__ == "__main__":
    sys.exit(main())
