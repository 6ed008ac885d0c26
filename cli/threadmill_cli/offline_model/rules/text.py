"""Words, stems, sentences and lists."""

from __future__ import annotations

import re
from collections.abc import Iterable


def word_set(listed: str) -> frozenset[str]:
    """A set of words, written as one text."""
    return frozenset(listed.split())


STOP_WORDS = word_set(
    """a an the this that these those it its i me my mine we us our you your yours he she him her his they them their
    is are was were be been being am do does did done have has had having will would can could shall should may might
    must to of in on at by for from with about into as and or but so if then than too also just really please not no
    there here what which who whom when where why how get got need needs want wants let's i'm i've i'd i'll we're
    it's that's don't up out off some any all more most very now already still finally today"""
)

IRREGULAR = {
    "bought": "buy", "paid": "pay", "wrote": "write", "written": "write", "sent": "send", "made": "make",
    "took": "take", "taken": "take", "met": "meet", "went": "go", "gone": "go", "found": "find", "built": "build",
    "taught": "teach", "sold": "sell", "left": "leave", "told": "tell", "gave": "give", "chose": "choose",
    "began": "begin", "kept": "keep", "drove": "drive", "spoke": "speak", "swam": "swim", "ran": "run",
    "brought": "bring", "got": "get", "rang": "ring", "did": "do", "read": "read", "hung": "hang",
}  # fmt: skip

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(*-])|\n+|(?<=[!?;])\s+|;\s*")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*", re.UNICODE)


def straight_quotes(text: str) -> str:
    """A typographic apostrophe is read as a plain one."""
    return text.replace("\u2019", "'")


def words(text: str) -> list[str]:
    """Lower-case words; an apostrophe stays inside its word."""
    return [word.lower() for word in _WORD.findall(straight_quotes(text))]


def stem(word: str) -> str:
    """A crude stem: enough to bring `booking`, `booked` and `books` together."""
    word = IRREGULAR.get(word, word.removesuffix("'s"))
    for suffix in ("ing", "ed", "es", "s", "e"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and not word.endswith("ss"):
            word = word.removesuffix(suffix)
            break
    if word.endswith("y") and len(word) > 3:
        word = word[:-1] + "i"
    if len(word) > 2 and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


def stems(text: str) -> frozenset[str]:
    """The stems of the words that carry meaning."""
    return frozenset(stem(word) for word in words(text) if word not in STOP_WORDS)


def sentences(text: str) -> list[str]:
    """Sentences and lines, without bullets."""
    parts = (re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", part) for part in _SENTENCE_END.split(straight_quotes(text)))
    return [part.strip() for part in parts if part.strip(" .\t")]


def split_list(text: str) -> list[str]:
    """`a, b and c` -> [a, b, c]."""
    parts = re.split(r"\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|&|or)\s+", text)
    return [part.strip(" .!?") for part in parts if part.strip(" .!?")]


def join_list(items: Iterable[str]) -> str:
    """[a, b, c] -> `a, b and c`."""
    *head, last = list(items) or [""]
    return f"{', '.join(head)} and {last}" if head else last


def capitalise(text: str) -> str:
    """Upper-case the first letter only."""
    return text[:1].upper() + text[1:]


def to_second_person(text: str) -> str:
    """Say what the user said back to the user: `my` -> `your`."""
    swaps = {
        "i": "you", "me": "you", "my": "your", "mine": "yours", "myself": "yourself", "am": "are",
        "i'm": "you're", "i've": "you've", "i'd": "you'd", "i'll": "you'll", "we": "you", "our": "your", "us": "you",
    }  # fmt: skip
    return re.sub(r"[A-Za-z]+(?:'[a-z]+)?", lambda m: swaps.get(m[0].lower(), m[0]), text)


def unique(items: Iterable[str]) -> list[str]:
    """Without repetitions (case does not matter), in order."""
    seen: dict[str, str] = {}
    for item in items:
        seen.setdefault(item.lower(), item)
    return list(seen.values())
