"""Paths of `extract`, such as `values.messages[-1].content`: their grammar and their SQL."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from threadmill_chassis.errors import InvalidArgument

ROOTS = ("config", "interrupts", "metadata", "values")
MAX_PATHS = 10
MAX_STEPS = 64
MAX_INDEX = 2**31 - 1
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>-?\d{1,10})\]")


@dataclass(frozen=True, slots=True)
class Path:
    """A column and the steps into its document: text for a key of an object, int for a place in an array."""

    root: str
    steps: tuple[str | int, ...]


def parse_path(text: str) -> Path:
    """The path that `text` spells. Raises InvalidArgument."""
    root = re.match(r"[^.\[]*", text)
    name = root.group() if root else ""
    if name not in ROOTS:
        raise InvalidArgument(f"Extract path '{text}' must start with one of: {', '.join(ROOTS)}")
    steps: list[str | int] = []
    position = len(name)
    while position < len(text):
        step = STEP.match(text, position)
        if step is None or len(steps) == MAX_STEPS:
            raise InvalidArgument(f"Extract path '{text}' is malformed at position {position}")
        steps.append(step["key"] if step["index"] is None else _index(step["index"], text))
        position = step.end()
    return Path(name, tuple(steps))


def parse_extract(extract: Mapping[str, str]) -> dict[str, Path]:
    """All paths by their aliases. Raises InvalidArgument."""
    if len(extract) > MAX_PATHS:
        raise InvalidArgument(f"Extract may hold at most {MAX_PATHS} paths, not {len(extract)}")
    for alias in extract:
        if not IDENTIFIER.match(alias):
            raise InvalidArgument(
                f"Extract key '{alias}' must be a valid identifier (letters, digits and underscores, no leading digit)"
            )
    return {alias: parse_path(text) for alias, text in extract.items()}


def _index(text: str, path: str) -> int:
    index = int(text)
    if abs(index) > MAX_INDEX:
        raise InvalidArgument(f"Extract path '{path}' has an index out of range")
    return index
