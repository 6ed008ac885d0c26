"""Listing of namespaces: patterns, depth, order, pages; checked against a plain model."""

import itertools
import random
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from threadmill_chassis.grpc_errors import reason_of

TREE = [["b"], ["a"], ["a", "x"], ["a", "x", "1"], ["a", "y", "1"], ["a b"], ["c", "x"], ["c", "z", "1"], ["é"]]


async def fill(service: Any, namespaces: Sequence[Sequence[str]]) -> None:
    for namespace in namespaces:
        await service.put(list(namespace), "k", {})
        await service.put(list(namespace), "k2", {})


async def test_namespaces_are_distinct_and_sorted_label_by_label(service: Any) -> None:
    await fill(service, TREE)
    assert await service.listed() == sorted(TREE)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prefix": ["a"]}, [["a"], ["a", "x"], ["a", "x", "1"], ["a", "y", "1"]]),
        ({"prefix": ["a", "*", "1"]}, [["a", "x", "1"], ["a", "y", "1"]]),
        ({"prefix": ["*", "x"]}, [["a", "x"], ["a", "x", "1"], ["c", "x"]]),
        ({"prefix": ["*", "*", "1"]}, [["a", "x", "1"], ["a", "y", "1"], ["c", "z", "1"]]),
        ({"prefix": ["*", "nope"]}, []),
        ({"suffix": ["z", "*"]}, [["c", "z", "1"]]),
        ({"suffix": ["a", "*", "*"]}, [["a", "x", "1"], ["a", "y", "1"]]),
        ({"suffix": ["*", "*"]}, [["a", "x"], ["a", "x", "1"], ["a", "y", "1"], ["c", "x"], ["c", "z", "1"]]),
        ({"suffix": ["nope", "*"]}, []),
        ({"suffix": ["1"]}, [["a", "x", "1"], ["a", "y", "1"], ["c", "z", "1"]]),
        ({"suffix": ["x", "*"]}, [["a", "x", "1"]]),
        ({"prefix": ["a"], "suffix": ["x"]}, [["a", "x"]]),
        ({"max_depth": 1}, [["a"], ["a b"], ["b"], ["c"], ["é"]]),
        ({"max_depth": 2, "suffix": ["1"]}, [["a", "x"], ["a", "y"], ["c", "z"]]),
        ({"max_depth": 0}, [[]]),
        ({"max_depth": 0, "suffix": ["nothing"]}, []),
        ({"max_depth": 9, "prefix": ["c"]}, [["c", "x"], ["c", "z", "1"]]),
        ({"prefix": ["nope"]}, []),
        ({"limit": 2, "offset": 1}, [["a", "x"], ["a", "x", "1"]]),
        ({"max_depth": 1, "limit": 2, "offset": 1}, [["a b"], ["b"]]),
    ],
)
async def test_patterns_depth_and_pages(service: Any, fields: dict[str, Any], expected: list[list[str]]) -> None:
    await fill(service, TREE)
    assert await service.listed(**fields) == expected


async def test_without_items_there_are_no_namespaces_even_at_depth_zero(service: Any) -> None:
    assert await service.listed() == []
    assert await service.listed(max_depth=0) == []


async def test_namespaces_of_deleted_and_expired_items_vanish(service: Any) -> None:
    await service.put(["gone"], "expired", {}, ttl_minutes=1)
    await service.put(["stays"], "k", {})
    await service.expire("expired")
    assert await service.listed() == [["stays"]]


async def test_limit_zero_means_a_hundred(service: Any) -> None:
    await fill(service, [[f"n{number:03}"] for number in range(101)])
    assert len(await service.listed(limit=0)) == 100


async def test_a_negative_depth_is_refused(service: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.listed(max_depth=-1)
    assert reason_of(caught.value) == "INVALID_ARGUMENT"


def modelled(namespaces: set[tuple[str, ...]], prefix: list[str], suffix: list[str], depth: int | None) -> list[Any]:
    """What a listing answers, by the plain reading of the contract."""

    def fits(labels: Sequence[str], pattern: Sequence[str]) -> bool:
        return len(labels) >= len(pattern) and all(p in ("*", label) for label, p in zip(labels, pattern, strict=False))

    chosen = {
        labels[:depth] if depth is not None else labels
        for labels in namespaces
        if fits(labels, prefix) and fits(labels[::-1], suffix[::-1])
    }
    return [list(labels) for labels in sorted(chosen)]


async def test_random_trees_agree_with_the_model(service: Any) -> None:
    chance = random.Random(7)
    labels = ["a", "ab", "a b", "b", "!", "ü", "\x01"]
    tree = {tuple(chance.choices(labels, k=chance.randint(1, 4))) for _ in range(60)}
    await fill(service, sorted(tree, key=lambda _: chance.random()))
    patterns = [[], ["a"], ["*"], ["*", "b"], ["a", "*"], ["b", "*", "a"]]
    for prefix, suffix, depth in itertools.product(patterns, patterns, (None, 0, 1, 2, 3)):
        fields = {} if depth is None else {"max_depth": depth}
        assert await service.listed(prefix=prefix, suffix=suffix, **fields) == modelled(tree, prefix, suffix, depth)
