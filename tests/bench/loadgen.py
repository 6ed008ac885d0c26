"""The load generator, a process of its own: `python loadgen.py URL PLAN`, PLAN being JSON on the command line.

A plan is a list of `{"workload", "clients", "seconds"}`. For each, `clients` closed loops run the workload for
`seconds` after a short warm-up; one JSON line per entry is printed:
`{"workload", "clients", "operations", "per_second", "p50_ms", "p95_ms", "p99_ms", "errors", "cpu_ms", …}`, where
`cpu_ms` is what this process itself spent per operation. Streams add `first_ms` (p50) and `events_per_second`.
"""

import asyncio
import json
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import orjson
import uvloop

WARM_UP_OPERATIONS = 3
REQUEST_SECONDS = 60.0


@dataclass(slots=True)
class Samples:
    """What the loops of one plan entry have seen. Times in seconds."""

    latencies: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    events: int = 0
    errors: Counter[str] = field(default_factory=Counter)


class Api:
    """The few requests of the LangGraph API that the workloads need."""

    def __init__(self, session: aiohttp.ClientSession, samples: Samples) -> None:
        self.session = session
        self.samples = samples

    async def call(self, method: str, path: str, body: object = None) -> object:
        """The decoded answer; RuntimeError with the status unless it is 2xx."""
        data = None if body is None else orjson.dumps(body)
        async with self.session.request(method, path, data=data) as response:
            content = await response.read()
            if response.status >= 300:
                raise RuntimeError(f"{method} {path.split('/')[1]}: {response.status}")
            return orjson.loads(content) if content else None

    async def thread(self) -> str:
        created = await self.call("POST", "/threads", {})
        assert isinstance(created, dict)
        return str(created["thread_id"])

    async def events(self, method: str, path: str, body: object = None) -> AsyncIterator[bytes]:
        """The names of a stream's events as they arrive."""
        data = None if body is None else orjson.dumps(body)
        async with self.session.request(method, path, data=data) as response:
            if response.status >= 300:
                raise RuntimeError(f"{method} {path.split('/')[1]}: {response.status}")
            rest = b""
            async for chunk in response.content.iter_any():
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                for line in lines:
                    if line.startswith(b"event:"):
                        yield line[6:].strip()


Workload = Callable[[Api], Awaitable[None]]
NOTE = {"assistant_id": "one", "input": {"notes": ["go"]}}


async def create_thread(api: Api) -> None:
    await api.thread()


async def get_state(api: Api) -> None:
    await api.call("GET", f"/threads/{await _shared_thread(api)}/state")


async def store_triple(api: Api) -> None:
    namespace, key = ["bench", str(random.randrange(100))], str(uuid.uuid4())
    await api.call("PUT", "/store/items", {"namespace": namespace, "key": key, "value": {"text": "remember", "n": 1}})
    await api.call("GET", f"/store/items?namespace={'.'.join(namespace)}&key={key}")
    await api.call("POST", "/store/items/search", {"namespace_prefix": namespace, "limit": 5})


async def wait(api: Api) -> None:
    await api.call("POST", f"/threads/{await api.thread()}/runs/wait", NOTE)


async def ten_steps(api: Api) -> None:
    await api.call("POST", f"/threads/{await api.thread()}/runs/wait", {**NOTE, "assistant_id": "ten"})


async def background_join(api: Api) -> None:
    thread = await api.thread()
    run = await api.call("POST", f"/threads/{thread}/runs", NOTE)
    assert isinstance(run, dict)
    await api.call("GET", f"/threads/{thread}/runs/{run['run_id']}/join")


async def stateless_wait(api: Api) -> None:
    await api.call("POST", "/runs/wait", NOTE)


async def stream(api: Api) -> None:
    thread = await api.thread()
    begun, first = time.perf_counter(), 0.0
    request = {
        "assistant_id": "tokens",
        "input": {"messages": [{"role": "user", "content": "go"}]},
        "stream_mode": "messages-tuple",
    }
    async for name in api.events("POST", f"/threads/{thread}/runs/stream", request):
        if name.startswith(b"error"):
            raise RuntimeError("error event")
        if name.startswith(b"messages"):
            api.samples.events += 1
            first = first or time.perf_counter() - begun
    api.samples.firsts.append(first)


async def mixed(api: Api) -> None:
    chosen = random.choices([wait, stream, background_join, get_state, store_triple, create_thread], [6, 2, 2, 6, 2, 2])
    await chosen[0](api)


WORKLOADS: dict[str, Workload] = {
    function.__name__: function
    for function in (
        create_thread,
        get_state,
        store_triple,
        wait,
        ten_steps,
        background_join,
        stateless_wait,
        stream,
        mixed,
    )
}
_shared: dict[int, asyncio.Task[str]] = {}


async def _shared_thread(api: Api) -> str:
    """One thread with a state, for all loops of a session."""

    async def make() -> str:
        thread = await api.thread()
        await api.call("POST", f"/threads/{thread}/runs/wait", NOTE)
        return thread

    key = id(api.session)
    if key not in _shared:
        _shared[key] = asyncio.create_task(make())
    return await _shared[key]


async def _loop(workload: Workload, api: Api, end: float) -> None:
    while time.perf_counter() < end:
        begun = time.perf_counter()
        try:
            await workload(api)
            api.samples.latencies.append(time.perf_counter() - begun)
        except (RuntimeError, aiohttp.ClientError, TimeoutError) as error:
            api.samples.errors[f"{type(error).__name__}: {error}"[:80]] += 1


async def measure(session: aiohttp.ClientSession, name: str, clients: int, seconds: float) -> dict[str, object]:
    """Runs one plan entry."""
    workload = WORKLOADS[name]
    for _ in range(WARM_UP_OPERATIONS):
        await workload(Api(session, Samples()))
    api = Api(session, Samples())
    cpu, begun = time.process_time(), time.perf_counter()
    await asyncio.gather(*[_loop(workload, api, begun + seconds) for _ in range(clients)])
    taken, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return {"workload": name, "clients": clients, **_summary(api.samples, taken, cpu)}


def _summary(samples: Samples, taken: float, cpu: float) -> dict[str, object]:
    done = len(samples.latencies)
    summary: dict[str, object] = {"operations": done, "per_second": round(done / taken, 1)}
    for share in (50, 95, 99):
        summary[f"p{share}_ms"] = _percentile(samples.latencies, share)
    if samples.firsts:
        summary |= {
            "first_ms": _percentile(samples.firsts, 50),
            "events_per_second": round(samples.events / taken),
            "events_per_operation": round(samples.events / max(done, 1), 1),
        }
    return summary | {"errors": dict(samples.errors), "cpu_ms": round(1000 * cpu / max(done, 1), 2)}


def _percentile(values: list[float], share: int) -> float | None:
    ordered = sorted(values)
    return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 2) if ordered else None


async def idle_streams(session: aiohttp.ClientSession, count: int, held: asyncio.Event, end: asyncio.Event) -> None:
    """Holds `count` streams open on five sleeping runs: sets `held` when all have answered, lets go at `end`.

    Fewer runs than any server's jobs, so that other runs can be measured beside them.
    """
    api = Api(session, Samples())
    runs = []
    for _ in range(5):
        thread = await api.thread()
        request = {"assistant_id": "sleeper", "input": {"seconds": 600.0}}
        run = await api.call("POST", f"/threads/{thread}/runs", request)
        assert isinstance(run, dict)
        runs.append((thread, run["run_id"]))

    async def hold(place: int, open_streams: asyncio.Semaphore) -> None:
        thread, run = runs[place % len(runs)]
        async with session.get(f"/threads/{thread}/runs/{run}/stream") as response:
            assert response.status == 200, response.status
            open_streams.release()
            await end.wait()

    open_streams = asyncio.Semaphore(0)
    holders = [asyncio.create_task(hold(place, open_streams)) for place in range(count)]
    for _ in range(count):
        await asyncio.wait_for(open_streams.acquire(), REQUEST_SECONDS)
    held.set()
    await asyncio.gather(*holders)
    for thread, run in runs:
        await api.call("POST", f"/threads/{thread}/runs/{run}/cancel?wait=false")


async def _idle(session: aiohttp.ClientSession, count: int, seconds: float) -> None:
    """Prints "held" and waits for a line on stdin (the caller measures memory), measures others, and ends."""
    held, end = asyncio.Event(), asyncio.Event()
    streams = asyncio.create_task(idle_streams(session, count, held, end))
    waiter = asyncio.create_task(held.wait())
    await asyncio.wait([streams, waiter], return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if streams.done():
        await streams
    _say({"held": True})
    await asyncio.to_thread(sys.stdin.readline)
    _say(await measure(session, "wait", 1, seconds) | {"workload": "wait_beside_idle"})
    end.set()
    await streams


async def main() -> None:
    url, plan = sys.argv[1], json.loads(sys.argv[2])
    timeout = aiohttp.ClientTimeout(total=None, sock_read=REQUEST_SECONDS)
    async with aiohttp.ClientSession(
        url,
        connector=aiohttp.TCPConnector(limit=0),
        headers={"content-type": "application/json"},
        timeout=timeout,
    ) as session:
        for entry in plan:
            if entry["workload"] == "idle_streams":
                await _idle(session, entry["clients"], entry["seconds"])
            else:
                _say(await measure(session, entry["workload"], entry["clients"], entry["seconds"]))


def _say(row: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
