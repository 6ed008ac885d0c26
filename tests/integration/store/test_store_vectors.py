"""Semantic search with vectors that callers computed: order, scores, filters, replacement, dimensions."""

from typing import Any

import grpc
import orjson
import pytest
from pydantic import SecretStr
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.store.v1 import store_pb2
from threadmill_store.errors import IndexMismatch

NS = ["n"]


def vectors(*components: list[float]) -> list[store_pb2.Embedding]:
    return [store_pb2.Embedding(path=f"$.{number}", vector=vector) for number, vector in enumerate(components)]


async def scored(service: Any, vector: list[float], **fields: Any) -> list[tuple[str, float | None]]:
    operation = store_pb2.SearchOp(namespace_prefix=NS, query="q", query_vector=vector, **fields)
    [result] = await service.batch(store_pb2.Op(search=operation))
    return [(item.key, round(item.score, 3) if item.HasField("score") else None) for item in result.items.items]


async def test_the_nearest_come_first_and_items_without_vectors_last(start: Any) -> None:
    async with start(store_index_dims=2) as service:
        await service.put(NS, "bare", {"kind": "a"})
        await service.put(NS, "far", {"kind": "a"}, embeddings=vectors([0.0, 1.0]))
        await service.put(NS, "near", {"kind": "b"}, embeddings=vectors([0.0, -1.0], [2.0, 0.0]))
        await service.put(NS, "zero", {"kind": "a"}, embeddings=vectors([0.0, 0.0]))
        await service.put(["m"], "elsewhere", {}, embeddings=vectors([1.0, 0.0]))
        ranked = [("near", 1.0), ("far", 0.0), ("bare", None), ("zero", None)]
        assert await scored(service, [1.0, 0.0]) == ranked
        assert await scored(service, [1.0, 0.0], limit=1, offset=1) == ranked[1:2]
        condition = store_pb2.FilterCondition(key="kind", value_json=orjson.dumps("a"))
        assert await scored(service, [1.0, 0.0], conditions=[condition]) == ranked[1:]
        assert await service.found(NS) == ["bare", "far", "near", "zero"]


async def test_a_put_replaces_the_vectors_and_a_deletion_removes_them(start: Any) -> None:
    async with start(store_index_dims=2) as service:
        await service.put(NS, "k", {}, embeddings=vectors([1.0, 0.0], [0.0, 1.0]))
        await service.put(NS, "k", {}, embeddings=vectors([-1.0, 0.0]))
        assert await scored(service, [1.0, 0.0]) == [("k", -1.0)]
        await service.put(NS, "k", {})
        assert await scored(service, [1.0, 0.0]) == [("k", None)]
        await service.put(NS, "k", {}, embeddings=vectors([1.0, 0.0]), ttl_minutes=1)
        await service.expire("k")
        await service.put(NS, "k", {}, embeddings=vectors([0.0, 1.0]))
        assert await scored(service, [0.0, 1.0]) == [("k", 1.0)]
        await service.batch(store_pb2.Op(delete=store_pb2.DeleteOp(namespace=NS, key="k")))
        assert await service.fetchval("SELECT count(*) FROM store.item_vector") == 0


@pytest.mark.parametrize("vector", [[1.0], [1.0, 2.0, 3.0], [1.0, float("nan")], [float("inf"), 1.0]])
async def test_vectors_that_do_not_fit_are_refused(start: Any, vector: list[float]) -> None:
    async with start(store_index_dims=2) as service:
        for call in (scored(service, vector), service.put(NS, "k", {}, embeddings=vectors(vector))):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert reason_of(caught.value) == "INVALID_ARGUMENT"


async def test_a_changed_dimension_stops_the_start_and_the_same_one_does_not(start: Any) -> None:
    async with start(store_index_dims=2) as service:
        dsn = SecretStr(service.settings.postgres_dsn.get_secret_value())
    async with start(store_index_dims=2, postgres_dsn=dsn):
        pass
    with pytest.raises(IndexMismatch, match="2 components, not the configured 3"):
        async with start(store_index_dims=3, postgres_dsn=dsn):
            pass
