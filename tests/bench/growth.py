"""Does a run cost the same when the database holds many? `python tests/bench/growth.py [--runs 100000]`.

Measures threads with a waited-for run at 16 and 64 clients on an empty database, then with 10³, 10⁴ … ended runs in
it (each with its thread and its checkpoints, copied from real ones by SQL), and prints a table.
"""

import asyncio
import os
import tempfile
from pathlib import Path

import asyncpg
import click
from backends import Backends, backends
from plans import Entry
from run import accounted
from servers import SERVERS, Running, started
from threadmill_cli.preflight import free_port

SECONDS = 8.0
# Copies of one run that has ended, with new ids: its row, its thread, what its thread shows, and its checkpoints.
COPY = """
CREATE TEMP TABLE template ON COMMIT DROP AS
    SELECT run_id, thread_id FROM runs.run WHERE status = 'success' LIMIT 1;
CREATE TEMP TABLE copied ON COMMIT DROP AS
    SELECT gen_random_uuid() AS run_id, gen_random_uuid() AS thread_id, 1000000000 + :first + n AS seq
    FROM generate_series(1, :count) AS n;
"""


async def fill(dsn: str, present: int, wanted: int) -> None:
    """Copies one thread with its run until there are `wanted` more than at the beginning."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(COPY.replace(":first", str(present)).replace(":count", str(wanted - present)))
            for table in ("threads.thread", "threads.thread_values", "threads.checkpoint", "threads.channel_blob"):
                await connection.execute(await _copying(connection, table, "thread_id"))
            await connection.execute(await _copying(connection, "runs.run", "run_id, thread_id, seq"))
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


async def _copying(connection: asyncpg.Connection, table: str, replaced: str) -> str:
    """INSERT of the template's rows of a table for every copy, the columns `replaced` taken from the copy."""
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped "
        "AND attgenerated = '' ORDER BY attnum",
        table,
    )
    columns = [row["attname"] for row in rows]
    values = [f"copied.{name}" if name in replaced.split(", ") else f'original."{name}"' for name in columns]
    quoted = ", ".join(f'"{name}"' for name in columns)
    return (
        f"INSERT INTO {table} ({quoted}) OVERRIDING SYSTEM VALUE SELECT {', '.join(values)} "
        f"FROM template JOIN {table} original USING (thread_id) CROSS JOIN copied"
    )


async def _measure(server: Running, shared: Backends, size: int) -> str:
    cells = [f"{size:,}"]
    for clients in (16, 64):
        (row,) = await accounted(server, shared, Entry("wait", clients, SECONDS))
        spent = row["server_cpu_ms"]
        assert isinstance(spent, dict)
        cells += [str(row["per_second"]), f"{sum(spent.values()):.1f}", f"{spent['postgres']:.1f}"]
    return f"| {' | '.join(cells)} |"


async def _grow(sizes: list[int], folder: Path) -> None:
    threadmill = SERVERS[0]
    async with (
        backends(folder, dict(os.environ)) as shared,
        started(threadmill, shared, folder, free_port()) as server,
    ):
        figures = "/s | CPU ms | of it Postgres"
        click.echo(f"| runs in the database | 16 clients: {figures} | 64 clients: {figures} |")
        click.echo("|---|---|---|---|---|---|---|")
        click.echo(await _measure(server, shared, 0))
        for present, wanted in zip([0, *sizes], sizes, strict=False):
            await fill(shared.dsn(threadmill.database), present, wanted)
            click.echo(await _measure(server, shared, wanted))


@click.command()
@click.option("--runs", default=100_000, show_default=True, help="The largest number of runs in the database.")
def main(runs: int) -> None:
    """Measure the cost of a run as the database grows."""
    sizes = [size for size in (1_000, 10_000, 100_000, 1_000_000) if size <= runs]
    with tempfile.TemporaryDirectory(prefix="threadmill-bench-") as folder:
        Path(folder).chmod(0o755)
        asyncio.run(_grow(sizes, Path(folder)))


if __name__ == "__main__":
    main()
