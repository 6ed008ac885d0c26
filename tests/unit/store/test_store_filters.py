"""Filters: patterns taken apart, and what of them an index is asked for."""

import orjson
import pytest
from threadmill_store.clauses import filter_parameters, matches, meets
from threadmill_store.domain import Condition
from threadmill_store.errors import InvalidArgument, UnsupportedOperator
from threadmill_store.patterns import conditions_of


def test_the_index_is_asked_for_equalities_that_a_missing_key_cannot_meet() -> None:
    conditions = [
        Condition("a", "eq", b'{"x":1}'),
        Condition("b", "eq", b" null "),
        Condition("c", "ne", b"1"),
        Condition("d", "gt", b"1"),
        Condition("e", "eq", b"[]"),
        Condition("f", "eq", b"2", ("g", "h")),
        Condition("a", "eq", b"3", ("x",)),
        Condition("l", "array", b"2"),
        Condition("l", "eq", b"4", ("0", "x")),
    ]
    parameters = filter_parameters(conditions)
    assert orjson.loads(parameters["contained"]) == {"a": {"x": 1}, "f": {"g": {"h": 2}}}
    assert parameters["names"] == ["a", "b", "c", "d", "e", "f", "g", "h", "a", "x", "l", "l", "0", "x"]
    assert len(parameters["operands"]) == len(conditions)
    assert filter_parameters(conditions[1:5])["contained"] is None


def test_no_text_of_a_client_becomes_sql() -> None:
    evil = "'; DROP TABLE store.item; --"
    conditions = [Condition(evil, operator, orjson.dumps(evil), (evil,)) for operator in ("eq", "ne", "gt")]
    assert "DROP" not in meets(conditions)
    assert "DROP" not in matches(("*", evil), (evil, "*"))


def test_searches_that_differ_only_in_what_they_compare_share_a_text() -> None:
    one, other = Condition("a", "gt", b"1"), Condition("b", "gt", b"-2.5")
    assert meets([one]) == meets([other])
    assert meets([one]) != meets([Condition("a", "gt", b'"1"')])


def parts(pattern: object) -> list[tuple[tuple[str, ...], str, object]]:
    found = conditions_of("k", orjson.dumps(pattern))
    return [((one.key, *one.below), one.operator, orjson.loads(one.operand)) for one in found]


def test_a_pattern_is_taken_apart_into_conditions_on_single_values() -> None:
    assert parts(1) == [(("k",), "eq", 1)]
    assert parts([1, "x"]) == [(("k",), "eq", [1, "x"])]
    assert parts({}) == [(("k",), "object", None)]
    assert parts({"a": {"$gt": 1, "$ne": 5}, "b": None}) == [
        (("k",), "object", None),
        (("k", "a"), "gt", 1),
        (("k", "a"), "ne", 5),
        (("k", "b"), "eq", None),
    ]
    assert parts([[1], [[2]]]) == [(("k",), "eq", [[1], [[2]]])]
    assert parts({"a": {"b": {"c": 1}}}) == [(("k", "a", "b"), "object", None), (("k", "a", "b", "c"), "eq", 1)]
    assert parts({"0": {}}) == [(("k",), "object", None), (("k", "0"), "object", None)]
    assert parts([{"a": 1}, 2]) == [
        (("k",), "array", 2),
        (("k", "0"), "object", None),
        (("k", "0", "a"), "eq", 1),
        (("k", "1"), "eq", 2),
    ]


@pytest.mark.parametrize("pattern", [{"a": {"$in": [1]}}, {"$gt": 1, "x": 2}, [[{"$or": 1}]]])
def test_unknown_operators_are_refused_at_any_depth(pattern: object) -> None:
    with pytest.raises(UnsupportedOperator, match=r"Unsupported operator: (\$in|x|\$or)"):
        parts(pattern)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="'k' is not JSON"):
        conditions_of("k", b"{")
