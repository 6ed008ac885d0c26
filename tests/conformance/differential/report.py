"""Differences between two recordings of one script, and where they are written."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import orjson

from .recording import Exchange, Recorder

MISSING = "<missing>"


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the answers differ. `where` is a dotted path from the exchange; ids are normalised."""

    request: str
    sent: Any
    where: str
    reference: Any
    threadmill: Any

    def __str__(self) -> str:
        sent = "" if self.sent is None else f" {orjson.dumps(self.sent).decode()[:300]}"
        return (
            f"{self.request}{sent}\n  {self.where}\n    reference:  {_short(self.reference)}"
            f"\n    threadmill: {_short(self.threadmill)}"
        )


class Report:
    """Appends differences to a file, if one is given."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path is not None:
            path.write_text("")

    def write(self, script: str, differences: list[Difference], accepted: list[tuple[Difference, str]]) -> None:
        """Adds the differences of one script, the accepted ones with their reasons."""
        if self._path is None:
            return
        with self._path.open("a") as file:
            for difference in differences:
                file.write(f"[{script}] {difference}\n")
            for difference, reason in accepted:
                file.write(f"[{script}] (accepted: {reason}) {difference}\n")


def differences(reference: Recorder, threadmill: Recorder, *, wording: bool = False) -> Iterator[Difference]:
    """Everything in which the two recordings differ; `wording` compares error texts too."""
    pairs = zip_longest(reference.exchanges, threadmill.exchanges)
    for number, (theirs, ours) in enumerate(pairs):
        named = theirs or ours
        request, sent = reference.normaliser.text(named.request), reference.normaliser.value(named.sent)
        if theirs is None or ours is None:
            yield Difference(request, sent, f"{number}", theirs is not None, ours is not None)
            return
        if theirs.status != ours.status:
            summaries = (f"{side.status} {_short(side.body)[:200]}" for side in (theirs, ours))
            yield Difference(request, sent, f"{number}.status", *summaries)
            continue
        left = _comparable(reference, theirs, wording)
        right = _comparable(threadmill, ours, wording)
        for where, a, b in _walk(f"{number}", left, right):
            yield Difference(request, sent, where, a, b)


def _comparable(recorder: Recorder, exchange: Exchange, wording: bool) -> dict[str, Any]:
    normaliser = recorder.normaliser
    found: dict[str, Any] = {
        "status": exchange.status,
        "headers": normaliser.value(exchange.headers),
        "body": normaliser.value(exchange.body, wording=wording),
    }
    if exchange.events is not None:
        found["names"] = [normaliser.text(event.name) for event in exchange.events]
        found["fields"] = sorted({event.fields for event in exchange.events})
        found["line_ends"] = sorted(exchange.line_ends)
        found["data"] = [normaliser.value(event.data) for event in exchange.events]
    return found


def _walk(where: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        if a.get("names") != b.get("names"):
            different, a, b = _aligned(a, b)
            yield f"{where}.{different}", *(side["shown"] for side in (a, b))
            a, b = ({**side, "shown": None, "names": None} for side in (a, b))
        for key in [*a, *(key for key in b if key not in a)]:
            yield from _walk(f"{where}.{key}", a.get(key, MISSING), b.get(key, MISSING))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _walk(f"{where}[{index}]", left, right)
    elif a != b or type(a) is not type(b):
        yield where, a, b


def _aligned(a: dict[str, Any], b: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """What two streams of different event names differ in: only how modes alternate (`order`), or the `names`.

    Data is compared mode by mode in the one case, and not at all in the other.
    """
    sides = [{**side, "shown": side.get("names")} for side in (a, b)]
    by_mode = [sorted(zip(side["names"], side["data"], strict=True), key=_mode) for side in sides if side.get("names")]
    if len(by_mode) == 2 and [name for name, _ in by_mode[0]] == [name for name, _ in by_mode[1]]:
        left, right = (
            {**side, "data": [data for _, data in events]} for side, events in zip(sides, by_mode, strict=True)
        )
        return "order", left, right
    left, right = ({**side, "data": None} for side in sides)
    return "names", left, right


def _mode(event: tuple[str, Any]) -> str:
    return event[0].split("|")[0].split("/")[0]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) < 1500 else f"{text[:1500]}…"
