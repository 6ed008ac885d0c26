"""The floor: the same graphs in one process with langgraph-checkpoint-postgres, no server. `python floor.py DSN`.

Prints one JSON line per workload, shaped as the load generator's.
"""

import asyncio
import json
import sys
import time
import uuid
from pathlib import Path

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

sys.path.insert(0, str(Path(__file__).parent / "app"))
import graphs

SECONDS = 5.0


async def measure(graph: object, clients: int, seconds: float, given: dict, mode: str) -> dict[str, object]:
    latencies: list[float] = []
    events = 0
    end = time.perf_counter() + seconds

    async def loop() -> None:
        nonlocal events
        while time.perf_counter() < end:
            begun = time.perf_counter()
            config = {"configurable": {"thread_id": str(uuid.uuid4())}}
            async for _ in graph.astream(given, config, stream_mode=mode, durability="async"):
                events += 1
            latencies.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*[loop() for _ in range(clients)])
    taken = time.perf_counter() - begun
    ordered = sorted(latencies)
    return {
        "clients": clients,
        "per_second": round(len(latencies) / taken, 1),
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 2),
        "events_per_second": round(events / taken),
    }


async def main() -> None:
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(sys.argv[1], max_size=20, kwargs=options, open=False) as pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        plan = [
            ("wait", graphs.one, 1, {"notes": ["go"]}, "values"),
            ("wait", graphs.one, 16, {"notes": ["go"]}, "values"),
            ("ten_steps", graphs.ten, 8, {"notes": ["go"]}, "values"),
            ("stream", graphs.tokens, 16, {"messages": [("user", "go")]}, "messages"),
        ]
        for workload, graph, clients, given, mode in plan:
            graph.checkpointer = saver
            row = {"workload": workload} | await measure(graph, clients, SECONDS, given, mode)
            sys.stdout.write(json.dumps(row) + "\n")


asyncio.run(main())
