"""How the threads service's answers grow with the number of threads and with the checkpoints of one thread.

    .venv/bin/python tests/bench/scale/curves.py [--threads 1000000] [--checkpoints 5000]

Prints two tables of medians in ms, each of a gRPC call from a client in the same process.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from uuid import uuid4

import structlog
from service import Service, service
from threadmill_protos.threads.v1 import checkpoints_pb2, threads_pb2

sys.path.append(str(Path(__file__).parents[2] / "shared"))
from many_threads import add_threads, settle

REPEAT = 15
CHECKPOINTS = """
INSERT INTO threads.checkpoint
    (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, body_type, body, metadata, channel_versions)
SELECT $1::uuid, '', lpad(n::text, 6, '0'), CASE WHEN n > 1 THEN lpad((n - 1)::text, 6, '0') ELSE '' END, 'msgpack',
    decode(repeat(md5(n::text), 25), 'hex'),
    json_build_object('source', CASE WHEN n % 10 = 1 THEN 'input' ELSE 'loop' END, 'step', n, 'run_id',
                      'run ' || n / 10, 'graph_id', 'g', 'thread_id', $1::uuid),
    jsonb_build_object('messages', n::text, 'other', (n / 10)::text)
FROM generate_series(1, $2::int) AS n
"""
BLOBS = """
INSERT INTO threads.channel_blob (thread_id, checkpoint_ns, channel, version, type, data)
SELECT $1::uuid, '', 'messages', n::text, 'msgpack', decode(repeat(md5(n::text), 30), 'hex')
FROM generate_series(1, $2::int) AS n
UNION ALL
SELECT $1::uuid, '', 'other', n::text, 'msgpack', decode(repeat(md5(n::text), 10), 'hex')
FROM generate_series(0, $2::int / 10) AS n
"""


async def timed(call: Callable[[], Awaitable[object]], repeat: int = REPEAT) -> str:
    """Median ms of a call."""
    took = []
    for _ in range(repeat):
        began = perf_counter()
        await call()
        took.append(perf_counter() - began)
    return f"{median(took) * 1e3:.1f}"


async def long_thread(running: Service, checkpoints: int) -> str:
    """A thread with so many checkpoints, each with a value of its own."""
    thread_id = str(uuid4())
    await running.threads.CreateThread(threads_pb2.CreateThreadRequest(thread_id=thread_id))
    await running.sql.execute(CHECKPOINTS, thread_id, checkpoints)
    await running.sql.execute(BLOBS, thread_id, checkpoints)
    return thread_id


async def thread_calls(running: Service, thread_id: str) -> dict[str, str]:
    """Reading one thread."""
    get = checkpoints_pb2.GetCheckpointRequest(thread_id=thread_id)

    async def page(metadata: bytes = b"") -> None:
        request = checkpoints_pb2.ListCheckpointsRequest(
            thread_id=thread_id, checkpoint_ns="", limit=10, metadata_json=metadata
        )
        async for _ in running.checkpoints.ListCheckpoints(request):
            pass

    return {
        "state": await timed(lambda: running.checkpoints.GetCheckpoint(get)),
        "history, 10": await timed(page),
        "by source": await timed(lambda: page(b'{"source":"input"}')),
        "by oldest run": await timed(lambda: page(b'{"run_id":"run 0"}')),
        "copy": await timed(
            lambda: running.threads.CopyThread(threads_pb2.CopyThreadRequest(thread_id=thread_id)), repeat=5
        ),
    }


async def search_calls(running: Service) -> dict[str, str]:
    """Each filter, and the orders that have indexes of their own."""
    some = [str(row[0]) for row in await running.sql.fetch("SELECT thread_id FROM threads.thread LIMIT 10")]
    filters: dict[str, Any] = {
        "newest": {},
        "ids": {"thread_ids": some},
        "metadata, 1 hit": {"metadata_json": b'{"n":77}'},
        "metadata, 1 %": {"metadata_json": b'{"assistant_id":"assistant 7"}'},
        "values, 1 hit": {"values_json": b'{"n":77}'},
        "busy": {"state": threads_pb2.THREAD_STATE_BUSY},
    }

    def search(matching: Any, sort_by: Any = 0) -> Callable[[], Awaitable[object]]:
        request = threads_pb2.SearchThreadsRequest(filter=matching, limit=10, sort_by=sort_by)
        return lambda: running.threads.SearchThreads(request)

    found = {name: await timed(search(matching)) for name, matching in filters.items()}
    found["by creation"] = await timed(search({}, threads_pb2.SearchThreadsRequest.SORT_BY_CREATE_TIME))
    request = threads_pb2.CountThreadsRequest(filter={"metadata_json": b'{"assistant_id":"assistant 7"}'})
    found["count, 1 %"] = await timed(lambda: running.threads.CountThreads(request))
    return found


def show(row: list[str]) -> None:
    """A line of a table."""
    sys.stdout.write(f"| {' | '.join(row)} |\n")
    sys.stdout.flush()


def head(columns: list[str]) -> None:
    """The first lines of a table."""
    show(columns)
    show(["---"] * len(columns))


async def main() -> None:
    """Checkpoints first, on an otherwise small database; then threads, tenfold at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1_000_000)
    parser.add_argument("--checkpoints", type=int, default=5_000)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with service() as running:
        for place, number in enumerate(n for n in (10, 100, 1_000, 5_000) if n <= arguments.checkpoints):
            row = await thread_calls(running, await long_thread(running, number))
            if place == 0:
                head(["checkpoints", *row])
            show([f"{number:,}", *row.values()])
        made, sizes = 0, [10**power for power in range(2, 7) if 10**power <= arguments.threads]
        for number in sizes:
            await add_threads(running.sql, made + 1, number)
            await settle(running.sql)
            made, row = number, await search_calls(running)
            row |= await thread_calls(running, await long_thread(running, 100))
            if number == sizes[0]:
                head(["threads", *row])
            show([f"{number:,}", *row.values()])


if __name__ == "__main__":
    asyncio.run(main())
