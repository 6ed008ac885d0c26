"""Wishes about how to-dos are to be written or kept."""

from __future__ import annotations

import re

from threadmill_cli.offline_model.rules.text import capitalise, sentences, stems, unique

_ABOUT = (
    r"\b(?:to-?\s?dos?|tasks?|lists?|items?|reminders?|deadlines?|estimates?|solutions?|instructions?"
    r"|preferences?)\b"
)
_OCCASION = re.compile(
    r"\b(?:when(?:ever)?|every time|each time|while|if)\b.{0,25}\b(?:creat|add|mak|updat|writ|list|record|not|keep|sav)"
    rf"\w*\b.{{0,30}}{_ABOUT}",
    re.IGNORECASE,
)
_RULE = re.compile(
    r"\b(?:always|never|from now on|in (?:the )?future|i(?:'d| would)? prefer|make sure|going forward|remember to"
    r"|please (?:keep|use|include)|i (?:want|like) (?:you|my|all|every|each)|should (?:always|never)|each|every)\b",
    re.IGNORECASE,
)
_KEEPING = re.compile(
    rf"{_ABOUT}|\b(?:include|mention|list|format|sort|group|tag|prefix|write|phrase|local|options?)\b", re.IGNORECASE
)  # fmt: skip
_DIRECT = re.compile(
    r"^(?:please\s+)?(?:update|change|revise|set)\s+(?:your|my|the)\s+(?:instructions?|preferences?|rules?)"
    r"\s*(?:to|so that|:|,)\s*(?P<rule>.+)$",
    re.IGNORECASE,
)
_LEAD = re.compile(r"^(?:please|also|oh|ok(?:ay)?|and|hey|btw|by the way)[,\s]+", re.IGNORECASE)


def as_preference(sentence: str) -> str | None:
    """The wish in a sentence, or None when it holds none."""
    if sentence.endswith("?"):
        return None
    direct = _DIRECT.match(sentence)
    if direct:
        return _tidy(direct["rule"])
    if _OCCASION.search(sentence) or (_RULE.search(sentence) and _KEEPING.search(sentence)):
        return None if _mentions_own_plan(sentence) else _tidy(sentence)
    return None


def _mentions_own_plan(sentence: str) -> bool:
    """`I need to always check the list` is a task: it says what the user, not the assistant, has to do."""
    return bool(re.match(r"(?:\W*\w+\W+)?i\s+(?:need|have|must|should|'ve got)\b", sentence, re.IGNORECASE))


def _tidy(wish: str) -> str:
    return capitalise(_LEAD.sub("", wish.strip()).strip(" .!")) + "."


def find_preferences(text: str) -> list[str]:
    """All wishes of a text, in order."""
    return [wish for sentence in sentences(text) if (wish := as_preference(sentence))]


def merge_preferences(current: str, wishes: list[str]) -> list[str]:
    """The wishes on record and the new ones; a new wish replaces one that it contradicts or repeats."""
    kept = [line for line in sentences(current) if not any(_same_subject(line, wish) for wish in wishes)]
    return unique([*kept, *wishes])


def _same_subject(old: str, new: str) -> bool:
    common, joined = stems(old) & stems(new), stems(old) | stems(new)
    return len(common) / max(len(joined), 1) > 0.7
