"""The range of namespaces below a prefix: everything below it, nothing else, in tuple order."""

import itertools

import orjson
import pytest
from threadmill_store.domain import Condition
from threadmill_store.rows import beyond, filter_parameters

LABELS = ["a", "a\x01", "a!", "ab", "b", "~", "ü", "\U0010ffff"]
NAMESPACES = [labels for size in (1, 2, 3) for labels in itertools.product(LABELS, repeat=size)]


@pytest.mark.parametrize("prefix", [(), ("a",), ("a\x01",), ("a", "b"), ("ü", "a", "a!"), ("\U0010ffff",)])
def test_a_prefix_is_one_range(prefix: tuple[str, ...]) -> None:
    inside = [labels for labels in NAMESPACES if prefix <= labels < beyond(prefix)]
    assert inside == [labels for labels in NAMESPACES if labels[: len(prefix)] == prefix]


def test_the_index_is_asked_for_equalities_that_a_missing_key_cannot_meet() -> None:
    conditions = [
        Condition("a", "eq", b'{"x":1}'),
        Condition("b", "eq", b" null "),
        Condition("c", "ne", b"1"),
        Condition("d", "gt", b"1"),
    ]
    parameters = filter_parameters(conditions)
    assert orjson.loads(parameters["contained"]) == {"a": {"x": 1}}
    assert [condition["key"] for condition in orjson.loads(parameters["conditions"])] == ["a", "b", "c", "d"]
