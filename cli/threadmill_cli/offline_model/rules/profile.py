"""Facts about the person who is talking."""
# ruff: noqa: E501 - a pattern reads best on one line

from __future__ import annotations

import re
from dataclasses import dataclass, field

from threadmill_cli.offline_model.rules.text import capitalise, sentences, split_list, unique, word_set

RELATIONS = word_set(
    "wife husband partner spouse girlfriend boyfriend fiancee fiance mother mom mum father dad parents brother sister "
    "son daughter baby kid child kids children cousin uncle aunt grandmother grandma grandfather grandpa nephew niece "
    "friend roommate neighbour neighbor boss manager colleague coworker dog cat twins"
)  # fmt: skip
_RELATION = "|".join(sorted(RELATIONS, key=len, reverse=True))
_NAME = r"[A-Z][\w'-]*(?:\s+[A-Z][\w'-]*){0,2}"
_PLACE = r"[A-Z][\w'.-]*(?:\s+(?:[A-Z][\w'.-]*|(?:de|la|of|am|upon)\b))*(?:,\s*[A-Z][\w'.-]*)*"

_NAMED = re.compile(rf"(?i:\bmy (?:full |first )?name(?:'s| is)|\bcall me|\bi am called|\bi'm called)\s+(?P<v>{_NAME})")
_I_AM = re.compile(rf"\b(?:I'm|I am|This is)\s+(?P<v>{_NAME})(?=\s*(?:[,.!]|$|\band\b|\bfrom\b))")
_END = r"(?=\s*(?:[,.;!?]|$|\b(?:and|but|who|which|at|for|in|from|living|based)\b))"
# People do not always type capitals.
_NAMED_LOWER = re.compile(r"\bmy name(?:'s| is) (?P<v>[a-z][\w'-]+)")
_LIVES_LOWER = re.compile(rf"\bi (?:live|am based) in (?P<v>[a-z][\w' -]*?){_END}")
_LIVES = re.compile(
    rf"(?i:\bi(?:'ve| have)?(?: just| recently| currently| now)? (?:live|moved|reside|relocated)\b|\bi(?:'m| am) "
    rf"(?:(?:currently |now )?(?:based|living|located)\b|from\b)|\bi live\b)\s*(?i:in|to|at|near|from)?\s+(?P<v>{_PLACE})"
)  # fmt: skip
_LIVES_ALSO = re.compile(
    rf"(?i:\band (?:i )?(?:live|am based|am living) in|\bliving in|\bwho lives in|\bi(?:'m| am) in|\bi(?:'m| am)\b.* from)\s+(?P<v>{_PLACE})"
)
_JOB = [
    re.compile(rf"\bi (?:currently |now )?work as (?:an?|the) (?P<v>[\w\s/-]+?){_END}", re.IGNORECASE),
    re.compile(rf"\bmy (?:job|occupation|profession|title) is (?:being )?(?:an?\s+|the\s+)?(?P<v>[\w\s/-]+?){_END}",
               re.IGNORECASE),
    re.compile(rf"\bi(?:'m| am) [\w'-]+(?: [\w'-]+)?, an? (?P<v>[a-zA-Z][\w\s/-]*?){_END}", re.IGNORECASE),
    re.compile(rf"\b(?:i'm|i am|and am) (?:working as )?an? (?P<v>[a-zA-Z][\w\s/-]*?){_END}", re.IGNORECASE),
]  # fmt: skip
_EMPLOYER = re.compile(rf"(?i:\bwork(?:ing|s)? (?:at|for))\s+(?P<v>{_PLACE})")
_NOT_A_JOB = re.compile(
    r"^(?:bit|little|lot|huge|big|fan|lover|father|mother|parent|mom|dad|person|man|woman|morning|night|vegetarian|vegan"
    r"|member|beginner|guy|girl|human|few|great|good|new)\b",
    re.IGNORECASE,
)
_LIKES = re.compile(
    r"\bi(?:'m| am)?(?: also| really| do| absolutely| especially)* (?:like|love|enjoy|adore|into|interested in"
    r"|passionate about|(?:an? )?(?:\w+ )?(?:fan|lover) of)\s+(?P<v>[^.;!?]+?)(?=\s+and (?:i|my|we)\b|[.;!?]|$)",
    re.IGNORECASE,
)
_LIKES_ALSO = re.compile(
    r"\bmy (?:hobbies|interests|hobby|passions?)(?: are| is| include)\s+(?P<v>[^.;!?]+)", re.IGNORECASE
)
_INTEREST_END = re.compile(
    r"(?:,|\s)\s*(?:but|because|so|when|while|with my|which|my|and\s+(?:my|i|we)|i)\b.*$", re.IGNORECASE
)  # fmt: skip
_KIN_NAMED = re.compile(
    rf"\b(?:my|our|an?)\s+(?P<age>(?:\w+|\d+)[\s-](?:year|month|week)s?[\s-]old\s+)?(?P<kin>{_RELATION})"
    rf"(?:'s name is|,? (?:is )?(?:named|called)| is|,)?\s+(?P<name>(?-i:[A-Z][\w'-]+))",
    re.IGNORECASE,
)
_KIN_OWNED = re.compile(
    rf"\b(?:i|we)(?:'ve| have)?(?: also)? (?:have|got|had)\s+(?P<kin>(?:an?|one|two|three|\d+)\s+(?:[\w-]+\s+){{0,4}}?(?:{_RELATION}))\b",
    re.IGNORECASE,
)
_KIN = re.compile(rf"\bmy\s+(?P<kin>{_RELATION})\b", re.IGNORECASE)


@dataclass(slots=True)
class Facts:
    """What a text says about its author. `firm` tells that a fact was stated, not only mentioned in passing."""

    name: str | None = None
    location: str | None = None
    job: str | None = None
    connections: list[str] = field(default_factory=list)
    interests: list[str] = field(default_factory=list)
    firm: bool = False


def find_facts(text: str) -> Facts:
    """All facts of a text; a later statement replaces an earlier one."""
    facts = Facts()
    for sentence in sentences(text):
        if not sentence.endswith("?"):
            _read(sentence, facts)
    facts.connections = _without_bare_doubles(unique(facts.connections))
    facts.interests = unique(facts.interests)
    return facts


def _read(sentence: str, facts: Facts) -> None:
    name = _first(sentence, _NAMED, _I_AM, _NAMED_LOWER)
    place = _first(sentence, _LIVES, _LIVES_ALSO, _LIVES_LOWER)
    job, likes, stated_kin = _job(sentence), _interests(sentence), _stated_kin(sentence)
    facts.name = capitalise(name["v"]) if name else facts.name
    facts.location = capitalise(place["v"].rstrip(".,")) if place else facts.location
    facts.job = job or facts.job
    facts.interests += likes
    facts.connections += stated_kin + [match["kin"].lower() for match in _KIN.finditer(sentence)]
    facts.firm = bool(facts.firm or name or place or job or likes or stated_kin)


def _first(sentence: str, *patterns: re.Pattern[str]) -> re.Match[str] | None:
    return next((match for pattern in patterns if (match := pattern.search(sentence))), None)


def _job(sentence: str) -> str | None:
    employer = _EMPLOYER.search(sentence)
    at = f" at {employer['v'].rstrip('.,')}" if employer else ""
    for pattern in _JOB:
        match = pattern.search(sentence)
        if match and not _NOT_A_JOB.match(match["v"]) and not re.search(r"\byears?\b", match["v"]):
            return match["v"].strip() + (at or _at_place(sentence[match.end() :]))
    return f"works{at}" if employer and re.search(r"\bI\b", sentence) else None


def _at_place(rest: str) -> str:
    place = re.match(rf"\s+(?:at|for)\s+(?P<v>{_PLACE})", rest)
    return f" at {place['v'].rstrip('.,')}" if place else ""


def _interests(sentence: str) -> list[str]:
    if re.search(r"\b(?:i'd|i would) (?:like|love)\b", sentence, re.IGNORECASE):
        return []
    found = [m["v"] for pattern in (_LIKES, _LIKES_ALSO) for m in pattern.finditer(sentence)]
    found = [_INTEREST_END.sub("", text) for text in found]
    items = [item for text in found for item in split_list(text)]
    cleaned = (re.sub(r"^(?:also |to |go(?:ing)? (?=\w+ing))", "", item.strip(), flags=re.I) for item in items)
    return [item for item in cleaned if item and not re.match(r"(?:you|it|this|that|my|when|how)\b", item, re.I)]


def _stated_kin(sentence: str) -> list[str]:
    named = [_describe_kin(match) for match in _KIN_NAMED.finditer(sentence)]
    owned = [match["kin"].lower() for match in _KIN_OWNED.finditer(sentence)]
    plain = [item for item in owned if not any(_kin_word(item) in other for other in named)]
    return named + [re.sub(r"^(?:an?|one)\s+", "", item) for item in plain]


def _describe_kin(match: re.Match[str]) -> str:
    age = f", {match['age'].strip()}" if match["age"] else ""
    return f"{match['name']} ({match['kin'].lower()}{age})"


def _kin_word(text: str) -> str:
    return text.rsplit(maxsplit=1)[-1]


def _without_bare_doubles(connections: list[str]) -> list[str]:
    """`wife` says nothing more when `Anna (wife)` is known."""
    return [
        kin for kin in connections
        if not any(kin != other and re.search(rf"\b{re.escape(kin)}\b", other) for other in connections)
    ]  # fmt: skip
