"""Puts, gets and deletes over gRPC: values, times, order within a batch, refusals."""

import asyncio
from itertools import pairwise
from typing import Any

import grpc
import orjson
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.store.v1 import store_pb2

NS = ["u1", "mem"]


def op_put(namespace: list[str], key: str, value: Any, **fields: Any) -> store_pb2.Op:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    return store_pb2.Op(put=store_pb2.PutOp(namespace=namespace, key=key, value_json=raw, **fields))


def op_get(namespace: list[str], key: str) -> store_pb2.Op:
    return store_pb2.Op(get=store_pb2.GetOp(namespace=namespace, key=key))


def op_delete(namespace: list[str], key: str) -> store_pb2.Op:
    return store_pb2.Op(delete=store_pb2.DeleteOp(namespace=namespace, key=key))


async def refusal(service: Any, *ops: store_pb2.Op) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.batch(*ops)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return reason_of(caught.value), str(caught.value.details())


async def test_a_value_comes_back_byte_for_byte(service: Any) -> None:
    raw = '{"z": 1.0, "a": {"ü": [1, null]}, "big": 12345678901234567890123}'.encode()
    await service.batch(op_put(NS, "k", raw))
    [result] = await service.batch(op_get(NS, "k"))
    assert result.item.value_json == raw
    assert list(result.item.namespace) == NS
    assert result.item.key == "k"
    assert not result.item.HasField("score")


async def test_a_second_put_replaces_the_value_and_keeps_the_creation(service: Any) -> None:
    await service.put(NS, "k", {"a": 1, "b": 2})
    [first] = await service.batch(op_get(NS, "k"))
    await service.put(NS, "k", {"a": 3})
    [second] = await service.batch(op_get(NS, "k"))
    assert orjson.loads(second.item.value_json) == {"a": 3}
    assert second.item.create_time == first.item.create_time
    assert second.item.update_time.ToNanoseconds() > first.item.update_time.ToNanoseconds()


async def test_missing_items_are_empty_results(service: Any) -> None:
    await service.put(NS, "k", {})
    results = await service.batch(op_get(NS, "other"), op_get(["u1"], "k"), op_get([], "k"), op_delete(NS, "no"))
    assert [result.WhichOneof("result") for result in results] == [None] * 4


@pytest.mark.parametrize("label", ["with space", "a/b", "*", "ü漢", '"', "{}", "\x01", "back\\slash", "NULL"])
async def test_any_label_and_key_without_periods_works(service: Any, label: str) -> None:
    await service.put([label, label], label, {"v": label})
    assert await service.get([label, label], label) == {"v": label}
    assert await service.found([label]) == [label]
    assert await service.listed() == [[label, label]]


async def test_an_empty_key_and_a_deeper_langgraph_label_are_fine(service: Any) -> None:
    await service.put(["a", "langgraph"], "", {"v": 1})
    assert await service.get(["a", "langgraph"], "") == {"v": 1}


async def test_reads_and_deletes_under_the_reserved_root_are_not_refused(service: Any) -> None:
    results = await service.batch(op_get(["langgraph"], "k"), op_delete(["langgraph"], "k"))
    assert len(results) == 2


async def test_delete_removes_and_a_later_put_creates_anew_at_the_end(service: Any) -> None:
    for key in ("a", "b"):
        await service.put(NS, key, {})
    await service.batch(op_delete(NS, "a"))
    assert await service.get(NS, "a") is None
    await service.put(NS, "a", {})
    assert await service.found(NS) == ["b", "a"]


async def test_reads_of_a_batch_see_the_state_before_its_writes(service: Any) -> None:
    await service.put(NS, "k", {"v": "old"})
    written, read, deleted, missed = await service.batch(
        op_put(NS, "k", {"v": "new"}), op_get(NS, "k"), op_delete(NS, "k"), op_get(NS, "no")
    )
    assert orjson.loads(read.item.value_json) == {"v": "old"}
    assert [result.WhichOneof("result") for result in (written, deleted, missed)] == [None] * 3
    assert await service.get(NS, "k") is None


async def test_the_last_write_to_an_item_wins(service: Any) -> None:
    await service.batch(op_put(NS, "a", {"v": 1}), op_put(NS, "b", {}), op_put(NS, "a", {"v": 2}))
    assert await service.get(NS, "a") == {"v": 2}
    await service.batch(op_delete(NS, "a"), op_put(NS, "a", {"v": 3}))
    assert await service.get(NS, "a") == {"v": 3}
    assert await service.found(NS) == ["a", "b"]


async def test_insertion_order_is_that_of_the_operations_not_of_the_keys(service: Any) -> None:
    keys = ["z", "a", "m", "B", "10", "9"]
    await service.batch(*[op_put(NS, key, {}) for key in keys])
    assert await service.found(NS) == keys


async def test_a_batch_is_written_whole_or_not_at_all(service: Any) -> None:
    reason, _ = await refusal(service, op_put(NS, "good", {}), op_put(NS, "bad", b"[1]"))
    assert reason == "INVALID_ARGUMENT"
    assert await service.get(NS, "good") is None


@pytest.mark.parametrize(
    "raw", [b"[]", b"1", b"null", b"", b"{", b"{}{}", b'{},"x":{}', b"\xff", b'{"a":"\\u0000"}', b'{"a":NaN}']
)
async def test_a_value_that_is_no_json_object_is_refused(service: Any, raw: bytes) -> None:
    reason, _ = await refusal(service, op_put(NS, "k", raw))
    assert reason == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("namespace", "reason", "message"),
    [
        ([], "EMPTY_NAMESPACE", "Namespace cannot be empty."),
        (["a.b"], "INVALID_NAMESPACE", "Namespace label 'a.b' must be a non-empty string without periods"),
        (["a", ""], "INVALID_NAMESPACE", "Namespace label '' must be a non-empty string without periods"),
        (
            ["langgraph", "x"],
            "RESERVED_NAMESPACE",
            "Root label for namespace cannot be \"langgraph\". Got: ('langgraph', 'x')",
        ),
    ],
)
async def test_bad_namespaces_are_refused_with_their_reason(
    service: Any, namespace: list[str], reason: str, message: str
) -> None:
    assert await refusal(service, op_put(namespace, "k", {})) == (reason, message)


async def test_labels_are_checked_on_every_operation(service: Any) -> None:
    for op in (
        op_get(["a.b"], "k"),
        op_delete(["a.b"], "k"),
        store_pb2.Op(search=store_pb2.SearchOp(namespace_prefix=["a.b"])),
        store_pb2.Op(list_namespaces=store_pb2.ListNamespacesOp(prefix=["a.b"])),
        store_pb2.Op(list_namespaces=store_pb2.ListNamespacesOp(suffix=[""])),
    ):
        assert (await refusal(service, op))[0] == "INVALID_NAMESPACE"


async def test_nul_characters_are_refused_everywhere(service: Any) -> None:
    assert (await refusal(service, op_put(["a\0"], "k", {})))[0] == "INVALID_NAMESPACE"
    assert (await refusal(service, op_put(["a"], "k\0", {})))[0] == "INVALID_ARGUMENT"
    assert (await refusal(service, op_get(["a"], "k\0")))[0] == "INVALID_ARGUMENT"
    condition = store_pb2.FilterCondition(key="a", value_json=b'"\\u0000"')
    filtered = store_pb2.Op(search=store_pb2.SearchOp(conditions=[condition]))
    assert (await refusal(service, filtered))[0] == "INVALID_ARGUMENT"


async def test_sizes_that_an_index_cannot_hold_are_refused_and_large_ones_work(service: Any) -> None:
    assert (await refusal(service, op_put(["n" * 3000], "k", {})))[0] == "INVALID_NAMESPACE"
    assert (await refusal(service, op_put(["n"], "k" * 3000, {})))[0] == "INVALID_ARGUMENT"
    label, key = "".join(chr(0x4E00 + i) for i in range(300)), "".join(chr(0x3400 + i) for i in range(350))
    await service.put([label], key, {"text": "x" * 5_000_000})
    assert len((await service.get([label], key))["text"]) == 5_000_000


async def test_batches_of_no_operation_or_too_many_are_refused(service: Any) -> None:
    assert (await refusal(service))[0] == "INVALID_ARGUMENT"
    assert (await refusal(service, *[op_get(NS, "k")] * 1001))[0] == "INVALID_ARGUMENT"
    assert (await refusal(service, store_pb2.Op()))[0] == "INVALID_ARGUMENT"


async def test_concurrent_batches_over_the_same_items_all_succeed(service: Any) -> None:
    keys = [str(number) for number in range(6)]
    batches = []
    for step in range(12):
        order = keys[step % 6 :] + keys[: step % 6]
        puts = [op_put(NS, key, {"step": step}) for key in order[:4]]
        batches.append(service.batch(*puts, *[op_delete(NS, key) for key in order[4:]]))
    await asyncio.gather(*batches)
    assert set(await service.found(NS)) <= set(keys)


async def test_creation_times_never_run_backwards(service: Any) -> None:
    for key in "abc":
        await service.put(NS, key, {})
    results = await service.batch(*[op_get(NS, key) for key in "abc"])
    times = [result.item.create_time.ToNanoseconds() for result in results]
    assert all(earlier < later for earlier, later in pairwise(times))
