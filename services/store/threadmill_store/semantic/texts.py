"""The texts of a value that a path names.

Paths are those of LangGraph's stores: `$` is the whole value; `a.b` goes down by keys; `[0]`, `[-1]` and `[*]` pick
from a list; `*` picks everything in an object or a list; `{a,b.c}` picks several keys of one object. What a path does
not find has no text. A text is itself; a number or a boolean as Python prints it, an object or a list as JSON with
sorted keys.
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

WHOLE = "$"
_STEP = re.compile(r"\[[^\]]*\]|\{[^}]*\}|[^.\[{]+")


def texts_of(value: Any, paths: Sequence[str]) -> list[str]:
    """All texts that the paths name, in order, without repetition and without blank ones."""
    found = (text for path in paths for text in _at(value, steps_of(path)))
    return list(dict.fromkeys(text for text in found if text.strip()))


@lru_cache(maxsize=1024)
def steps_of(path: str) -> tuple[str, ...]:
    """A path in its steps; none for the whole value."""
    return () if path == WHOLE else tuple(_STEP.findall(path.removeprefix("$.")))


def _at(value: Any, steps: Sequence[str]) -> Iterator[str]:
    if not steps:
        yield from _text(value)
        return
    for found in _step(value, steps[0]):
        yield from _at(found, steps[1:])


def _step(value: Any, step: str) -> Iterator[Any]:
    if step == "*":
        yield from value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    elif step.startswith("["):
        yield from _elements(value, step[1:-1]) if isinstance(value, list) else ()
    elif step.startswith("{"):
        for path in step[1:-1].split(","):
            yield from _descend(value, path.strip().split("."))
    elif isinstance(value, dict) and step in value:
        yield value[step]


def _elements(value: list[Any], index: str) -> Iterator[Any]:
    if index == "*":
        yield from value
    elif index.removeprefix("-").isdecimal() and -len(value) <= int(index) < len(value):
        yield value[int(index)]


def _descend(value: Any, keys: Sequence[str]) -> Iterator[Any]:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return
        value = value[key]
    yield value


def _text(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        yield json.dumps(value, sort_keys=True, ensure_ascii=False)
    elif value is not None:
        yield str(value)
