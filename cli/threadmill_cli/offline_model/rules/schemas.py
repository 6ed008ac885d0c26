"""Fill a JSON schema from a text: fields are understood by name, type, format and description."""
# ruff: noqa: E501 - a pattern reads best on one line

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from threadmill_cli.offline_model.rules.dates import find_deadline, find_minutes
from threadmill_cli.offline_model.rules.profile import Facts, find_facts
from threadmill_cli.offline_model.rules.text import sentences, split_list, stem, stems, words
from threadmill_cli.offline_model.rules.todos import Task
from threadmill_cli.offline_model.rules.verbs import estimate_minutes, suggest_solutions

Schema = dict[str, Any]
MISSING = object()

_TASK_WORDS = {"task", "todo", "title"}
_PROFILE_WORDS = {"job", "occupation", "interest", "hobbi", "connection", "location", "profession"}
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w])")
_NUMBER_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
_NOUN_PHRASE = re.compile(
    r"\b(?:in|at|for|of|to|from|near|about|on)\s+(?P<v>[A-Z][\w'.-]*(?:\s+(?:[A-Z][\w'.-]*|de|la))*)"
)
_QUOTED = re.compile(r"[\"“](?P<v>[^\"”]+)[\"”]|(?<!\w)'(?P<w>[^']+)'(?!\w)")
_POSITIVE = {
    "yes",
    "true",
    "happy",
    "good",
    "great",
    "love",
    "like",
    "excellent",
    "amazing",
    "wonderful",
    "nice",
    "best",
    "enjoy",
}
_NEGATIVE = {
    "no",
    "false",
    "bad",
    "terrible",
    "awful",
    "hate",
    "worst",
    "poor",
    "sad",
    "angry",
    "broken",
    "horrible",
    "not",
}


@dataclass(slots=True)
class Source:
    """The text to fill from, and what is already understood of it."""

    text: str
    today: datetime
    task: Task | None = None
    wishes: str = ""
    location: str | None = None
    numbers: list[float] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)

    def __post_init__(self) -> None:
        self.numbers = find_numbers(self.text)
        self.facts = find_facts(self.text)


def find_numbers(text: str) -> list[float]:
    """All numbers in order, in digits or in words up to twenty."""
    found = [(m.start(), float(m[0].replace(",", ""))) for m in _NUMBER.finditer(text)]
    for value, word in enumerate(_NUMBER_WORDS):
        found += [(m.start(), float(value)) for m in re.finditer(rf"\b{word}\b", text.lower())]
    return [value for _, value in sorted(found)]


def resolve(prop: Schema, root: Schema) -> Schema:
    """Follow `$ref`, and take the first branch of a union which is not null."""
    if "$ref" in prop:
        name = str(prop["$ref"]).rsplit("/", 1)[-1]
        definitions: Schema = root.get("$defs") or root.get("definitions") or {}
        target: Schema = definitions.get(name, {})
        return resolve({**target, **{k: v for k, v in prop.items() if k != "$ref"}}, root)
    for union in ("anyOf", "oneOf", "allOf"):
        branches = [branch for branch in prop.get(union, []) if branch.get("type") != "null"]
        if branches:
            return resolve({**{k: v for k, v in prop.items() if k != union}, **branches[0]}, root)
    return prop


def is_nullable(prop: Schema) -> bool:
    """Whether null is among the types."""
    return any(b.get("type") == "null" for b in prop.get("anyOf", [])) or "null" in (prop.get("type") or [])


def name_stems(name: str) -> set[str]:
    """`timeToComplete` and `time_to_complete` -> {time, to, complet}."""
    return {stem(word) for word in words(re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " "))}


def is_todo_schema(schema: Schema) -> bool:
    """A schema of things to do: there are many documents of it."""
    names = set(schema.get("properties", {}))
    return bool(names & {"task", "todo", "title"}) and bool(names & {"status", "deadline", "due", "due_date", "done"})


def is_profile_schema(schema: Schema) -> bool:
    """A schema of facts about a person."""
    found = set().union(*(name_stems(name) for name in schema.get("properties", {})), set())
    return bool(found & {stem(word) for word in _PROFILE_WORDS})


def fill(schema: Schema, source: Source, root: Schema | None = None) -> dict[str, Any]:
    """A document of this schema; optional fields without evidence are left out, required ones get a fallback."""
    root = root or schema
    required = set(schema.get("required", []))
    document: dict[str, Any] = {}
    for name, prop in schema.get("properties", {}).items():
        value = find_value(name, prop, source, root)
        if value is MISSING and name in required:
            value = fallback(prop, source, root)
        if value is not MISSING:
            document[name] = value
    return document


def find_value(name: str, prop: Schema, source: Source, root: Schema) -> Any:
    """The value of one field as far as the text gives evidence for it; MISSING without evidence."""
    plain = resolve(prop, root)
    if "const" in plain:
        return plain["const"]
    if plain.get("enum"):
        return _enum_value(plain, source)
    return _FINDERS.get(_kind(plain), _string)(name, plain, source, root)


def _kind(prop: Schema) -> str:
    kind = prop.get("type") or ("object" if "properties" in prop else "string")
    return next((k for k in kind if k != "null"), "string") if isinstance(kind, list) else str(kind)


def _object(name: str, prop: Schema, source: Source, root: Schema) -> Any:
    return fill(prop, source, root) or MISSING


def fallback(prop: Schema, source: Source, root: Schema) -> Any:
    """A valid value for a required field of which the text says nothing."""
    if "default" in prop:
        return prop["default"]
    if is_nullable(prop):
        return None
    plain = resolve(prop, root)
    if plain.get("enum"):
        return plain["enum"][0]
    if plain.get("format") in {"date", "date-time"}:
        return _as_date(source.today, plain)
    if _kind(plain) in {"array", "object"}:
        return _fallback_container(plain, source, root)
    simple: dict[str, Any] = {"integer": plain.get("minimum", 0), "number": plain.get("minimum", 0), "boolean": False}
    return simple.get(_kind(plain), source.text.strip())


def _fallback_container(prop: Schema, source: Source, root: Schema) -> Any:
    if _kind(prop) == "object":
        return fill(prop, source, root)
    return [fallback(prop.get("items", {}), source, root) for _ in range(int(prop.get("minItems", 0)))]


def _enum_value(prop: Schema, source: Source) -> Any:
    said = stems(source.task.said if source.task else source.text)
    for option in prop["enum"]:
        wanted = stems(str(option).replace("_", " "))
        if wanted and wanted <= said:
            return option
    mood = _mood(source.text)
    toned = [option for option in prop["enum"] if str(option).lower() == mood]
    return toned[0] if toned else prop.get("default", MISSING)


def _mood(text: str) -> str:
    found = words(text)
    score = sum(word in _POSITIVE for word in found) - sum(word in _NEGATIVE for word in found)
    return "neutral" if score == 0 else "positive" if score > 0 else "negative"


def _array(name: str, prop: Schema, source: Source, root: Schema) -> Any:
    stemmed, items = name_stems(name), resolve(prop.get("items", {}), root)
    if items.get("type") == "object" or "properties" in items:
        one = fill(items, source, root)
        return [one] if one else MISSING
    if items.get("type") in {"integer", "number"}:
        whole = items["type"] == "integer"
        return [int(n) if whole else n for n in source.numbers] or MISSING
    known = _known_list(stemmed, source)
    if known is not None:
        return known or MISSING
    stated = _stated(name, source.text)
    return split_list(stated) if stated else MISSING


def _known_list(stemmed: set[str], source: Source) -> list[str] | None:
    """Lists that the rules know by name; None for a list of another kind."""
    if stemmed & {stem(w) for w in ("connections", "relations", "family", "friends", "relationships")}:
        return source.facts.connections
    if stemmed & {stem(w) for w in ("interests", "hobbies", "likes", "foods", "favorites", "passions")}:
        return source.facts.interests
    if stemmed & {stem(w) for w in ("solutions", "options", "suggestions", "ideas", "steps", "actions")}:
        task = source.task.text if source.task else source.text
        return suggest_solutions(task, source.wishes, source.location)
    return None


def _integer(name: str, prop: Schema, source: Source, root: Schema) -> Any:
    about = name_stems(name) | name_stems(str(prop.get("description", "")))
    if source.task and about & {"time", "minut", "duration"}:
        return estimate_minutes(source.task.text, source.task.said)
    if about & {"minut", "duration"}:
        return find_minutes(source.text) or MISSING
    value = _number(name, prop, source, root)
    return value if value is MISSING else int(value)


def _number(name: str, prop: Schema, source: Source, root: Schema) -> Any:
    """The number said right next to the field's name; otherwise each number is used once, in order."""
    if source.task:
        return MISSING
    near = re.search(
        rf"\b{re.escape(name.replace('_', ' '))}\b\D{{0,12}}?(-?\d+(?:\.\d+)?)", source.text, re.IGNORECASE
    )
    if near:
        value = float(near[1])
        if value in source.numbers:
            source.numbers.remove(value)
    elif source.numbers:
        value = source.numbers.pop(0)
    else:
        return MISSING
    return int(value) if value.is_integer() else value


def _boolean(name: str, prop: Schema, source: Source, root: Schema) -> Any:
    about = stems(name.replace("_", " ")) | stems(str(prop.get("description", "")))
    for sentence in sentences(source.text):
        if about & stems(sentence):
            return not re.search(r"\b(?:not|no|never|without|isn't|don't|doesn't|can't)\b", sentence, re.IGNORECASE)
    return MISSING


_FINDERS = {"object": _object, "array": _array, "integer": _integer, "number": _number, "boolean": _boolean}


def _as_date(moment: datetime, prop: Schema) -> str:
    return moment.date().isoformat() if prop.get("format") == "date" else moment.replace(microsecond=0).isoformat()


def _string(name: str, prop: Schema, source: Source, root: Schema) -> Any:
    stemmed = name_stems(name)
    if prop.get("format") in {"date", "date-time"} or stemmed & {"deadlin", "due", "date", "when"}:
        return _date_value(prop, source)
    for concept, finder in _STRING_CONCEPTS:
        if stemmed & concept:
            value = finder(source)
            return value if value else _stated(name, source.text) or MISSING
    stated = _stated(name, source.text)
    return stated or MISSING


def _date_value(prop: Schema, source: Source) -> Any:
    if source.task:
        return _as_date(source.task.deadline, prop) if source.task.deadline else MISSING
    found = find_deadline(source.text, source.today.date())
    return _as_date(found.moment, prop) if found else MISSING


def _stated(name: str, text: str) -> str | None:
    """`<field> is <value>` or `<field>: <value>`."""
    label = re.escape(name.replace("_", " "))
    match = re.search(rf"\b{label}\s*(?:is|are|was|=|:|named|called)\s+(?P<v>[^.;!?\n]+)", text, re.IGNORECASE)
    return re.split(r",?\s+(?:and|but)\s+(?:my|the|his|her|i)\b", match["v"])[0].strip(" '\"") if match else None


def places(text: str) -> list[str]:
    """Proper names that follow a preposition: `the weather in Paris and Rome` -> [Paris, Rome]."""
    found: list[str] = []
    for match in _NOUN_PHRASE.finditer(text):
        found.append(match["v"].rstrip(".'"))
        rest = text[match.end() :]
        while more := re.match(r"\s*(?:,|and|or|,\s*and)\s+(?P<v>[A-Z][\w'-]*(?:\s+[A-Z][\w'-]*)*)", rest):
            found.append(more["v"])
            rest = rest[more.end() :]
    return found


def _place(source: Source) -> str | None:
    if source.facts.location:
        return source.facts.location
    found = places(source.text)
    lower = re.search(
        r"\b(?:weather|temperature|forecast|time|population)\s+(?:\w+\s+)?(?:in|at|for|of)\s+(?P<v>[\w' -]+?)\s*(?:today|tomorrow|now|[?.!,]|$)",
        source.text,
    )
    return found[0] if found else lower["v"] if lower else None


def _subject(source: Source) -> str | None:
    """What a request is about: quoted words, else what follows `for`, `about` or the verb."""
    quoted = _QUOTED.search(source.text)
    if quoted:
        return quoted["v"] or quoted["w"]
    about = re.search(
        r"\b(?:search(?:\s+\w+)?\s+for|look(?:ing)? up|about|on the topic of|google|find|called|named|titled|for)\s+(?P<v>[^.?!\n]+)",
        source.text,
        re.IGNORECASE,
    )
    return about["v"].strip() if about else source.text.strip()


def _person_name(source: Source) -> str | None:
    named = re.search(r"\b(?:named|called|name is)\s+(?P<v>[A-Z][\w'-]*)", source.text)
    lone = re.search(r"^(?P<v>[A-Z][\w'-]+(?:\s+[A-Z][\w'-]+)*)\s+(?:is|was|lives|works)\b", source.text)
    found = named or lone
    return source.facts.name or (found["v"] if found else None)


def _expression(source: Source) -> str | None:
    match = re.search(r"[\d(][\d\s.+*/()^%-]*[\d)]", source.text)
    return match[0].strip() if match else None


def _pattern(pattern: str) -> Any:
    def find(source: Source) -> str | None:
        match = re.search(pattern, source.text)
        return match[0] if match else None

    return find


_STRING_CONCEPTS: list[tuple[set[str], Any]] = [
    ({stem(w) for w in names.split()}, finder)
    for names, finder in (
        ("task todo title", lambda s: s.task.text if s.task else _subject(s)),
        ("email mail", _pattern(r"[\w.+-]+@[\w-]+\.[\w.]+")),
        ("phone telephone", _pattern(r"\+?\d[\d\s()-]{5,}\d")),
        ("url link website", _pattern(r"https?://\S+")),
        ("location city place town country address destination region", _place),
        ("job occupation profession role", lambda s: s.facts.job),
        ("name", _person_name),
        ("expression formula equation", _expression),
        ("query question topic subject keyword search term", _subject),
        ("content text message input memory note body description summary answer fact", lambda s: s.text.strip()),
    )
]
