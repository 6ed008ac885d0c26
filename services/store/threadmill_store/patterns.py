"""Patterns of filters, taken apart into conditions on single values.

A pattern is what LangGraph's stores take for a plain value: an object fits an object that has all of its keys with
values that fit, whatever else it has; an array fits one of the same length, element by element; objects with keys that
begin with `$` hold operators; all else is equality.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from threadmill_store.domain import Condition, Labels, Operator
from threadmill_store.errors import InvalidArgument, UnsupportedOperator

OPERATORS: dict[str, Operator] = {"$eq": "eq", "$ne": "ne", "$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}


def conditions_of(key: str, pattern: bytes) -> list[Condition]:
    """What must hold for a value to fit. Raises UnsupportedOperator; InvalidArgument for what is no JSON."""
    try:
        wanted = orjson.loads(pattern)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"Filter operand of {key!r} is not JSON: {error}") from error
    return list(_conditions((key,), wanted))


def _conditions(path: Labels, wanted: Any) -> Iterator[Condition]:
    if isinstance(wanted, dict) and any(name.startswith("$") for name in wanted):
        for name, operand in wanted.items():
            if name not in OPERATORS:
                raise UnsupportedOperator(f"Unsupported operator: {name}")
            yield _condition(path, OPERATORS[name], operand)
    elif isinstance(wanted, dict):
        yield _condition(path, "object", None)
        for name, value in wanted.items():
            yield from _conditions((*path, name), value)
    elif isinstance(wanted, list) and any(isinstance(value, dict | list) for value in wanted):
        yield _condition(path, "array", len(wanted))
        for position, value in enumerate(wanted):
            yield from _conditions((*path, str(position)), value)
    else:
        yield _condition(path, "eq", wanted)


def _condition(path: Labels, operator: Operator, operand: Any) -> Condition:
    return Condition(path[0], operator, orjson.dumps(operand), path[1:])
