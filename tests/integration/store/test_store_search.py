"""Search over gRPC: prefixes, filters and their operators, pages, insertion order."""

from typing import Any

import grpc
import orjson
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.store.v1 import store_pb2

EQ, NE, GT, GTE, LT, LTE, MATCH = (
    store_pb2.FilterCondition.Operator.Value(f"OPERATOR_{name}")
    for name in ("EQ", "NE", "GT", "GTE", "LT", "LTE", "MATCH")
)


def where(key: str, operand: Any, operator: Any = EQ) -> store_pb2.FilterCondition:
    return store_pb2.FilterCondition(key=key, operator=operator, value_json=orjson.dumps(operand))


async def test_a_prefix_matches_whole_labels_only(service: Any) -> None:
    for namespace in (["u1"], ["u1", "mem"], ["u1", "mem", "deep"], ["u10"], ["u1 "], ["u1\x01"], ["u"], ["v", "u1"]):
        await service.put(namespace, "/".join(namespace), {})
    assert await service.found(["u1"]) == ["u1", "u1/mem", "u1/mem/deep"]
    assert await service.found(["u1", "mem"]) == ["u1/mem", "u1/mem/deep"]
    assert await service.found(["u1", "me"]) == []
    assert len(await service.found([])) == 8


async def test_a_star_in_a_search_prefix_is_an_ordinary_label(service: Any) -> None:
    await service.put(["*"], "star", {})
    await service.put(["x"], "x", {})
    assert await service.found(["*"]) == ["star"]


async def test_pages_follow_insertion_and_limit_zero_means_no_limit(service: Any) -> None:
    keys = [f"k{number}" for number in range(25, 0, -1)]
    for key in keys:
        await service.put(["n"], key, {})
    await service.put(["n"], "k20", {"changed": True})
    assert await service.found(["n"], limit=10) == keys[:10]
    assert await service.found(["n"], limit=10, offset=20) == keys[20:]
    assert await service.found(["n"], limit=0) == keys
    assert await service.found(["n"], limit=0, offset=24) == keys[24:]


ITEMS: dict[str, dict[str, Any]] = {
    "int": {"v": 2}, "float": {"v": 2.0}, "ten": {"v": 10}, "text": {"v": "2"}, "word": {"v": "b"}, "null": {"v": None},
    "none": {}, "true": {"v": True}, "list": {"v": [1, 2]}, "map": {"v": {"b": 1, "a": [1]}}, "more": {"v": {"a": [1]}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "operand", "expected"),
    [
        (EQ, 2, ["int", "float"]),
        (EQ, "2", ["text"]),
        (EQ, True, ["true"]),
        (EQ, None, ["null", "none"]),
        (EQ, [1, 2], ["list"]),
        (EQ, [2, 1], []),
        (EQ, [1], []),
        (EQ, {"a": [1], "b": 1}, ["map"]),
        (EQ, {}, []),
        (NE, 2, ["ten", "text", "word", "null", "none", "true", "list", "map", "more"]),
        (NE, None, ["int", "float", "ten", "text", "word", "true", "list", "map", "more"]),
        (GT, 2, ["ten"]),
        (GTE, 2, ["int", "float", "ten"]),
        (LT, 10, ["int", "float"]),
        (LTE, 10, ["int", "float", "ten"]),
        (GT, "10", ["text", "word"]),
        (LT, "a", ["text"]),
        (GTE, None, []),
        (LTE, [9], []),
    ],
)
async def test_each_operator_compares_like_with_like(
    service: Any, operator: Any, operand: Any, expected: list[str]
) -> None:
    for key, value in ITEMS.items():
        await service.put(["n"], key, value)
    assert await service.found(["n"], conditions=[where("v", operand, operator)]) == expected


NESTED: dict[str, dict[str, Any]] = {
    "both": {"nest": {"q": 1, "r": 2}}, "two": {"nest": {"q": 2}}, "none": {}, "five": {"nest": 5},
    "list": {"l": [{"x": 1, "y": 2}, 3]}, "empty": {"nest": {}}, "one": {"nest": {"q": 1}},
    "null": {"nest": {"q": None}},
    "positions": {"nest": [1], "l": {"0": {"x": 1}, "1": 3}}, "deep": {"a": {"b": {"c": 1, "d": 2}, "e": 3}},
    "lists": {"a": [{"c": 1}], "nest": [[{"q": 1}]]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "pattern", "expected"),
    [
        ("nest", {"q": 1}, ["both", "one"]),
        ("nest", {"q": {"$gt": 1}}, ["two"]),
        ("nest", {"q": {"$gt": 0, "$lt": 2}}, ["both", "one"]),
        ("nest", {"q": {"$ne": 1}}, ["two", "empty", "null"]),
        ("nest", {"q": None}, ["empty", "null"]),
        ("nest", {"0": 1}, []),
        ("nest", {}, ["both", "two", "empty", "one", "null"]),
        ("nest", {"$eq": {"q": 1}}, ["one"]),
        ("l", [{"x": 1}, 3], ["list"]),
        ("l", [{"x": {"$gte": 1}}, 3], ["list"]),
        ("l", [3, {"x": 1}], []),
        ("l", [{"x": 1}], []),
        ("l", {"0": {"x": 1}}, ["positions"]),
        ("a", {"b": {"c": 1}}, ["deep"]),
        ("a", {"b": {"c": {"$lt": 2}, "x": None}, "e": 3}, ["deep"]),
        ("a", {"0": {"c": 1}}, []),
        ("nest", [[{"q": 1}]], ["lists"]),
    ],
)
async def test_a_pattern_fits_what_has_at_least_its_keys(
    service: Any, key: str, pattern: Any, expected: list[str]
) -> None:
    """As the reference answers, over REST and to graphs."""
    for name, value in NESTED.items():
        await service.put(["n"], name, value)
    assert await service.found(["n"], conditions=[where(key, pattern, MATCH)]) == expected


async def test_an_unknown_operator_within_a_pattern_has_its_reason(service: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=r"Unsupported operator: \$in") as caught:
        await service.found(["n"], conditions=[where("nest", {"q": {"$in": [1]}}, MATCH)])
    assert reason_of(caught.value) == "UNSUPPORTED_OPERATOR"


async def test_conditions_hold_together_whatever_their_order_and_number(service: Any) -> None:
    for number in range(9):
        await service.put(["n"], str(number), {"n": number, "s": "abc"[number % 3], "nest": {"half": number / 2}})
    conditions = [
        where("s", "c", LT), where("nest", {"half": {"$gte": 1}}, MATCH), where("n", 7, NE), where("s", "b"),
        where("n", "x", NE), where("missing", None), where("n", 8, LT),
    ]  # fmt: skip
    for order in (conditions, conditions[::-1]):
        assert await service.found(["n"], conditions=order) == ["4"]
    assert await service.found(["n"], conditions=[where("n", 8, LTE)] * 200, limit=1) == ["0"]
    for levels, opening, closing in ((200, "[", "]"), (100, '{"x":', "}")):
        deep = orjson.loads(opening * levels + "1" + closing * levels)
        assert await service.found(["n"], conditions=[where("n", deep, MATCH)]) == []
    with pytest.raises(grpc.aio.AioRpcError, match="names at most 1000 keys"):
        await service.found(["n"], conditions=[where("n", orjson.loads("[" * 99 + "{}" + "]" * 99), MATCH)])
    with pytest.raises(grpc.aio.AioRpcError, match="at most 200 conditions, not 201"):
        await service.found(["n"], conditions=[where("n", 1)] * 201)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
async def test_a_prefix_of_any_length_finds_what_is_below_in_insertion_order(service: Any, depth: int) -> None:
    labels = [f"l{level}" for level in range(depth)]
    for key, namespace in {
        "deep": [*labels, "z", "deep"], "beside": [*labels[:-1], "l"], "above": labels[:-1] or ["x"], "here": labels,
        "deeper": [*labels, "a"], "after": [*labels[:-1], labels[-1] + "\x01"],
    }.items():  # fmt: skip
        await service.put(namespace, key, {"n": 1})
    assert await service.found(labels) == ["deep", "here", "deeper"]
    assert await service.found(labels, conditions=[where("n", 0, GT)], limit=2, offset=1) == ["here", "deeper"]


async def test_conditions_are_anded_and_apply_before_paging(service: Any) -> None:
    for number in range(20):
        await service.put(["n"], str(number), {"even": number % 2 == 0, "n": number})
    conditions = [where("even", True), where("n", 4, GTE), where("n", 16, LT)]
    assert await service.found(["n"], conditions=conditions, limit=3, offset=1) == ["6", "8", "10"]
    assert await service.found(["n"], conditions=[where("n", 1), where("n", 2)]) == []


async def test_filter_keys_are_no_paths(service: Any) -> None:
    await service.put(["n"], "nested", {"nest": {"q": 1}})
    await service.put(["n"], "dotted", {"nest.q": 1})
    assert await service.found(["n"], conditions=[where("nest.q", 1)]) == ["dotted"]


async def test_strings_are_ordered_by_code_point_whatever_the_database_collation(service: Any) -> None:
    for word in ("a", "B", "é", "z"):
        await service.put(["n"], word, {"w": word})
    assert await service.found(["n"], conditions=[where("w", "a", LT)]) == ["B"]
    assert await service.found(["n"], conditions=[where("w", "z", GT)]) == ["é"]


async def test_a_query_without_vectors_is_ignored_and_gives_no_score(service: Any) -> None:
    await service.put(["n"], "k", {"text": "tea"})
    operation = store_pb2.SearchOp(namespace_prefix=["n"], query="tea")
    [result] = await service.batch(store_pb2.Op(search=operation))
    assert [item.key for item in result.items.items] == ["k"]
    assert not result.items.items[0].HasField("score")


@pytest.mark.parametrize("fields", [{"limit": -1}, {"offset": -1}])
async def test_negative_pages_are_refused(service: Any, fields: dict[str, int]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.found(["n"], **fields)
    assert reason_of(caught.value) == "INVALID_ARGUMENT"


async def test_a_search_that_takes_too_long_says_so(start: Any) -> None:
    async with start(postgres_statement_timeout_seconds=0.3) as service:
        async with service.application.pool.acquire() as other, other.transaction():
            await other.execute("LOCK TABLE store.item IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(grpc.aio.AioRpcError, match=r"needed longer than 0\.3 seconds") as caught:
                await service.found(["n"])
        assert reason_of(caught.value) == "STATEMENT_TIMEOUT"
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert await service.found(["n"]) == []


@pytest.mark.parametrize("operand", [b"", b"{", b'1,"x":2'])
async def test_operands_that_are_no_json_are_refused(service: Any, operand: bytes) -> None:
    condition = store_pb2.FilterCondition(key="k", value_json=operand)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.found(["n"], conditions=[condition])
    assert reason_of(caught.value) == "INVALID_ARGUMENT"
