"""What shares a call to the store and what does not; whose failure is whose."""

import asyncio

import pytest
from threadmill_protos.store.v1 import store_pb2
from threadmill_runs.executor.memory.coalescer import MAX_BYTES, MAX_OPS, Coalescer, Refused


def get(key: str) -> store_pb2.Op:
    return store_pb2.Op(get=store_pb2.GetOp(key=key))


class Calls:
    """Answers each get with an item of its key, refuses the key `bad`, and remembers the calls."""

    def __init__(self) -> None:
        self.keys: list[list[str]] = []
        self.error: Exception | None = None
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, ops: list[store_pb2.Op]) -> list[store_pb2.Result]:
        self.keys.append([op.get.key for op in ops])
        self.begun.set()
        await self.gate.wait()
        if self.error:
            raise self.error
        if any(op.get.key == "bad" for op in ops):
            raise Refused("bad key", "INVALID_ARGUMENT")
        return [store_pb2.Result(item=store_pb2.Item(key=op.get.key)) for op in ops]


def keys(results: list[store_pb2.Result]) -> list[str]:
    return [result.item.key for result in results]


async def test_requests_of_one_turn_share_a_call_and_get_their_own_results() -> None:
    calls = Calls()
    coalescer = Coalescer(calls.send)
    first, second = await asyncio.gather(coalescer.request([get("a"), get("b")]), coalescer.request([get("c")]))
    assert calls.keys == [["a", "b", "c"]]
    assert (keys(first), keys(second)) == (["a", "b"], ["c"])


async def test_a_later_turn_does_not_wait_for_a_call_under_way() -> None:
    calls = Calls()
    coalescer = Coalescer(calls.send)
    calls.gate.clear()
    slow = asyncio.create_task(coalescer.request([get("slow")]))
    await calls.begun.wait()
    calls.gate.set()
    assert keys(await coalescer.request([get("next")])) == ["next"]
    assert keys(await slow) == ["slow"]
    assert calls.keys == [["slow"], ["next"]]


async def test_a_refused_request_fails_alone() -> None:
    calls = Calls()
    coalescer = Coalescer(calls.send)
    good, bad = await asyncio.gather(
        coalescer.request([get("good")]), coalescer.request([get("bad")]), return_exceptions=True
    )
    assert isinstance(good, list)
    assert keys(good) == ["good"]
    assert isinstance(bad, Refused)
    assert calls.keys == [["good", "bad"], ["good"], ["bad"]]


async def test_any_other_failure_reaches_every_caller_without_a_second_call() -> None:
    calls = Calls()
    calls.error = ConnectionError("gone")
    coalescer = Coalescer(calls.send)
    outcomes = await asyncio.gather(*(coalescer.request([get(key)]) for key in "ab"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectionError] * 2
    assert len(calls.keys) == 1


async def test_a_caller_that_gives_up_leaves_the_others_their_results() -> None:
    calls = Calls()
    calls.gate.clear()
    coalescer = Coalescer(calls.send)
    leaving, staying = (asyncio.create_task(coalescer.request([get(key)])) for key in ("leaves", "stays"))
    await calls.begun.wait()
    leaving.cancel()
    calls.gate.set()
    assert keys(await staying) == ["stays"]
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_calls_keep_to_the_limits_of_operations_and_bytes() -> None:
    calls = Calls()
    coalescer = Coalescer(calls.send)
    results = await coalescer.request([get(str(number)) for number in range(MAX_OPS + 1)])
    assert keys(results) == [str(number) for number in range(MAX_OPS + 1)]
    assert [len(call) for call in calls.keys] == [MAX_OPS, 1]
    calls.keys.clear()
    large = "x" * (MAX_BYTES // 2 + 1)
    await asyncio.gather(*(coalescer.request([get(large)]) for _ in range(2)), coalescer.request([get("small")]))
    assert [len(call) for call in calls.keys] == [1, 2]
