"""The gateway's calls of a real store: what arrives together travels together, and a mistake fails alone."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest
from threadmill_gateway.clients import open_clients
from threadmill_gateway.settings import GatewaySettings
from threadmill_gateway.store_calls import StoreCalls
from threadmill_protos.store.v1 import store_pb2

from .conftest import get, put, search

NS = ["n"]


@dataclass
class Noting:
    """A stub that notes how many operations each call held."""

    stub: Any
    sizes: list[int] = field(default_factory=list)

    def Batch(self, request: store_pb2.BatchRequest, **options: Any) -> Any:  # noqa: N802 - gRPC's name
        self.sizes.append(len(request.ops))
        return self.stub.Batch(request, **options)


@pytest.fixture
async def noting(service: Any) -> Noting:
    return Noting(service.stub)


@pytest.fixture
async def calls(service: Any, noting: Noting) -> AsyncIterator[StoreCalls]:
    async with open_clients(GatewaySettings(store_address=service.settings.bind)) as clients:
        health = {noting.Batch: clients.health[clients.store.Batch]}
        yield StoreCalls(replace(clients, store=noting, health=health))  # type: ignore[arg-type]


async def test_requests_of_one_turn_share_a_call_and_reads_do_not_wait_for_writes(
    calls: StoreCalls, noting: Noting
) -> None:
    await asyncio.gather(*(calls.ask(put(NS, str(number), {"n": number})) for number in range(10)))
    found = await asyncio.gather(
        *(calls.ask(get(NS, str(number))) for number in range(10)), calls.ask(put(NS, "more", {}))
    )
    assert [result.item.value_json for result in found[:-1]] == [f'{{"n":{number}}}'.encode() for number in range(10)]
    assert noting.sizes == [10, 10, 1]


async def test_many_requests_go_in_several_calls(calls: StoreCalls, noting: Noting) -> None:
    await asyncio.gather(*(calls.ask(put(NS, str(number), {})) for number in range(150)))
    assert noting.sizes == [32, 32, 32, 32, 22]


async def test_what_comes_during_a_call_goes_together_after_it(calls: StoreCalls, noting: Noting) -> None:
    async def later(number: int) -> None:
        for _ in range(number + 1):
            await asyncio.sleep(0)
        await calls.ask(get(NS, str(number)))

    await asyncio.gather(*(later(number) for number in range(6)))
    assert sum(noting.sizes) == 6
    assert noting.sizes[0] == 1
    assert len(noting.sizes) <= 4


async def test_what_waits_does_not_wait_for_a_slow_call(service: Any, calls: StoreCalls, noting: Noting) -> None:
    await calls.ask(put(NS, "k", {}))
    async with service.application.pool.acquire() as other, asyncio.timeout(20):
        transaction = other.transaction()
        await transaction.start()
        await other.execute("UPDATE store.item SET key = key WHERE key = 'k'")
        slow = asyncio.ensure_future(calls.ask(put(NS, "k", {"n": 1})))
        while len(noting.sizes) < 2:  # noqa: ASYNC110 - its end would be too late
            await asyncio.sleep(0)
        await calls.ask(put(NS, "other", {}))
        assert not slow.done()
        await transaction.rollback()
        await slow


async def test_what_may_take_long_goes_alone(calls: StoreCalls, noting: Noting) -> None:
    listing = store_pb2.Op(list_namespaces=store_pb2.ListNamespacesOp())
    condition = store_pb2.FilterCondition(key="a", value_json=b"1")
    ops = [listing, search(NS, query="q", limit=1), search(NS, conditions=[condition], limit=1), search(NS, limit=0)]
    await asyncio.gather(*(calls.ask(op) for op in ops), calls.ask(put(NS, "k", {"v": "x" * 5000})))
    assert noting.sizes == [1] * 5


async def test_one_that_is_refused_fails_alone(calls: StoreCalls) -> None:
    outcomes = await asyncio.gather(
        *(calls.ask(put(NS, str(number), b"[]" if number == 2 else {})) for number in range(5)),
        return_exceptions=True,
    )
    assert [isinstance(outcome, grpc.aio.AioRpcError) for outcome in outcomes] == [number == 2 for number in range(5)]
    assert len((await calls.ask(search(NS, limit=10))).items.items) == 4


async def test_writes_to_one_item_in_one_turn_all_succeed(calls: StoreCalls) -> None:
    await asyncio.gather(*(calls.ask(put(NS, "k", {"n": number})) for number in range(5)))
    assert (await calls.ask(get(NS, "k"))).item.value_json == b'{"n":4}'


async def test_a_client_that_has_gone_takes_nobody_along(calls: StoreCalls) -> None:
    asked = [asyncio.ensure_future(calls.ask(put(NS, str(number), {}))) for number in range(3)]
    await asyncio.sleep(0)
    asked[1].cancel()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(outcome, BaseException) for outcome in outcomes] == [False, True, False]


async def test_groups_that_write_the_same_items_in_opposite_orders_do_not_wait_for_each_other(service: Any) -> None:
    keys = [str(number) for number in range(40)]
    for _ in range(5):
        await asyncio.gather(
            service.batch(*(put(NS, key, {}) for key in keys)),
            service.batch(*(put(NS, key, {}) for key in reversed(keys))),
        )
    assert len(await service.found(NS, limit=0)) == 40
