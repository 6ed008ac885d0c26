"""Values of memory items as JSON: strict, for what cannot be read back in some useful form is refused."""

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import orjson
from pydantic import BaseModel

# Integer, date and enum keys become text, as the json module has it; orjson itself writes datetimes, UUIDs, enums.
OPTIONS = orjson.OPT_NON_STR_KEYS


def encode_value(value: Mapping[str, Any], key: str) -> bytes:
    """JSON of an item's value. TypeError, naming `key`, for what JSON cannot hold."""
    return _encode(dict(value), f"the value of {key!r}")


def encode_operand(operand: Any, key: str) -> bytes:
    """JSON of what a filter compares with. TypeError, naming the filtered `key`."""
    return _encode(operand, f"the filter on {key!r}")


def _encode(value: Any, subject: str) -> bytes:
    try:
        return orjson.dumps(value, default=_plain, option=OPTIONS)
    except TypeError as error:  # JSONEncodeError is one; its cause tells of an error in `_plain` or a model
        raise TypeError(f"{subject} cannot be stored as JSON: {error.__cause__ or error}") from error


def _plain(value: Any) -> Any:
    """One step towards JSON for an object that orjson does not know."""
    if isinstance(value, BaseModel):  # LangChain messages and documents too
        return value.model_dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple) and callable(fields := getattr(value, "_asdict", None)):
        return fields()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, Decimal | PurePath):
        return str(value)
    raise TypeError(f"Type is not JSON serializable: {type(value).__qualname__}")
