"""Time to live: expiry on sight, restart by reads and writes, default, sweep."""

import asyncio
from typing import Any

import grpc
import pytest
from threadmill_chassis.grpc_errors import reason_of

NS = ["n"]
LEFT = "SELECT extract(epoch FROM expires_at - now())::float FROM store.item WHERE key = $1"


async def age(service: Any, key: str) -> None:
    """Leaves an item ten seconds to live."""
    await service.execute("UPDATE store.item SET expires_at = now() + interval '10 seconds' WHERE key = $1", key)


async def test_an_expired_item_is_invisible_before_any_sweep(service: Any) -> None:
    await service.put(NS, "k", {"v": 1}, ttl_minutes=5)
    assert await service.get(NS, "k") == {"v": 1}
    await service.expire("k")
    assert await service.get(NS, "k") is None
    assert await service.found(NS) == []
    assert await service.fetchval("SELECT count(*) FROM store.item") == 1


async def test_reading_an_expired_item_does_not_bring_it_back(service: Any) -> None:
    await service.put(NS, "k", {}, ttl_minutes=5)
    await service.expire("k")
    assert await service.get(NS, "k", refresh_ttl=True) is None
    assert await service.get(NS, "k") is None


async def test_a_put_over_an_expired_item_creates_it_anew(service: Any) -> None:
    await service.put(NS, "k", {}, ttl_minutes=5)
    await service.put(NS, "later", {})
    created = await service.fetchval("SELECT created_at FROM store.item WHERE key = 'k'")
    await service.expire("k")
    await service.put(NS, "k", {"new": True})
    assert await service.found(NS) == ["later", "k"]
    assert await service.fetchval("SELECT created_at FROM store.item WHERE key = 'k'") > created


@pytest.mark.parametrize(
    ("by_default", "asked", "restarts"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
async def test_reads_restart_the_time_as_asked_or_else_as_set(
    start: Any, by_default: bool, asked: bool | None, restarts: bool
) -> None:
    fields = {} if asked is None else {"refresh_ttl": asked}
    async with start(store_ttl_refresh_on_read=by_default) as service:
        await service.put(NS, "k", {}, ttl_minutes=2)
        for read in (service.get(NS, "k", **fields), service.found(NS, **fields)):
            await age(service, "k")
            await read
            assert (await service.fetchval(LEFT, "k") > 60) == restarts


async def test_a_write_restarts_the_time_or_ends_it(service: Any) -> None:
    await service.put(NS, "k", {}, ttl_minutes=1)
    await service.put(NS, "k", {}, ttl_minutes=0.5)
    assert 20 < await service.fetchval(LEFT, "k") <= 30
    await service.put(NS, "k", {})
    assert await service.fetchval(LEFT, "k") is None


async def test_items_without_a_ttl_get_the_default_of_the_server(start: Any) -> None:
    async with start(store_ttl_default_minutes=10) as service:
        await service.put(NS, "default", {})
        await service.put(NS, "own", {}, ttl_minutes=1)
        assert 500 < await service.fetchval(LEFT, "default") <= 600
        assert await service.fetchval(LEFT, "own") <= 60


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1e12])
async def test_impossible_times_are_refused(service: Any, minutes: float) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.put(NS, "k", {}, ttl_minutes=minutes)
    assert reason_of(caught.value) == "INVALID_ARGUMENT"


async def test_the_sweep_deletes_what_expired_in_several_batches(start: Any) -> None:
    async with start(store_ttl_sweep_batch_count=3) as service:
        for number in range(8):
            await service.put(NS, f"gone{number}", {}, ttl_minutes=1)
        await service.put(NS, "stays", {}, ttl_minutes=1)
        await service.put(NS, "for ever", {})
        await service.execute("UPDATE store.item SET expires_at = now() WHERE key LIKE 'gone%'")
        assert await service.application.sweeper.sweep() == 8
        assert await service.found(NS) == ["stays", "for ever"]
        assert await service.fetchval("SELECT count(*) FROM store.item") == 2


async def test_one_process_sweeps_at_a_time(service: Any) -> None:
    await service.put(NS, "k", {}, ttl_minutes=1)
    await service.expire("k")
    async with service.application.pool.acquire() as other, other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(hashtext('threadmill.store.sweep'))")
        assert await service.application.sweeper.sweep() == 0
    assert await service.application.sweeper.sweep() == 1


async def test_the_background_duty_sweeps_at_its_interval(start: Any) -> None:
    async with start(store_ttl_sweep_interval_minutes=0.0002) as service:
        await service.put(NS, "k", {}, ttl_minutes=1)
        await service.expire("k")
        async with asyncio.timeout(10):
            duty = asyncio.create_task(service.application.sweeper.run())
            while await service.fetchval("SELECT count(*) FROM store.item"):
                pass
            duty.cancel()
            with pytest.raises(asyncio.CancelledError):
                await duty
