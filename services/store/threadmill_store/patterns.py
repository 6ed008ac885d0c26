"""Patterns of filters, taken apart into conditions on single values.

A pattern is what LangGraph's stores take for a plain value: an object fits an object that has all of its keys with
values that fit, whatever else it has; an array fits one of the same length, element by element; objects with keys that
begin with `$` hold operators; all else is equality.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from threadmill_store.domain import Condition, Labels, Operator
from threadmill_store.errors import InvalidArgument, UnsupportedOperator

OPERATORS: dict[str, Operator] = {"$eq": "eq", "$ne": "ne", "$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}

# What Postgres may take for a position in a list.
POSITION = re.compile(r"\s*[+-]?\d")


def conditions_of(key: str, pattern: bytes) -> list[Condition]:
    """What must hold for a value to fit. Raises UnsupportedOperator; InvalidArgument for what is no JSON."""
    try:
        wanted = orjson.loads(pattern)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"Filter operand of {key!r} is not JSON: {error}") from error
    return list(_conditions((key,), wanted))


def _conditions(path: Labels, wanted: Any) -> Iterator[Condition]:
    if _has_operators(wanted):
        for name, operand in wanted.items():
            if name not in OPERATORS:
                raise UnsupportedOperator(f"Unsupported operator: {name}")
            yield _condition(path, OPERATORS[name], operand)
    elif isinstance(wanted, dict):
        if not _tells_of_itself(wanted):
            yield _condition(path, "object", None)
        for name, value in wanted.items():
            yield from _conditions((*path, name), value)
    elif _is_pattern(wanted):
        yield _condition(path, "array", len(wanted))
        for position, value in enumerate(wanted):
            yield from _conditions((*path, str(position)), value)
    else:
        yield _condition(path, "eq", wanted)


def _has_operators(wanted: Any) -> bool:
    return isinstance(wanted, dict) and any(name.startswith("$") for name in wanted)


def _is_pattern(wanted: Any) -> bool:
    """Whether it is more than a value to be equal to."""
    return isinstance(wanted, dict) or (isinstance(wanted, list) and any(map(_is_pattern, wanted)))


def _tells_of_itself(wanted: dict[str, Any]) -> bool:
    """Whether a type further down is asked for, on a way that only an object has: a list has positions."""
    return any(
        _is_pattern(value) and not _has_operators(value) and not POSITION.match(name) for name, value in wanted.items()
    )


def _condition(path: Labels, operator: Operator, operand: Any) -> Condition:
    return Condition(path[0], operator, orjson.dumps(operand), path[1:])
