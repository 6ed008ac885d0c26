"""To-dos in plain English: new tasks, and news about tasks that are on record."""
# ruff: noqa: E501 - a pattern reads best on one line

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from threadmill_cli.offline_model.rules.dates import find_deadline, find_minutes, without_dates
from threadmill_cli.offline_model.rules.preferences import as_preference
from threadmill_cli.offline_model.rules.text import IRREGULAR, capitalise, sentences, stem, stems, word_set, words
from threadmill_cli.offline_model.rules.verbs import is_action

Todo = dict[str, Any]

_NEED = (
    r"(?:(?:i|we|you)\s+)?(?:(?:also|really|still|just|definitely|probably)\s+)*"
    r"(?:need(?:s|ed)?|have|has|had|got|want(?:ed|s)?|ought|plan|promised|(?:'m|am|are|'re)\s+(?:supposed|going|planning))\s+to"
    r"|(?:i|we)\s+(?:really\s+|also\s+)*(?:must|should|gotta|have\s+got\s+to|better)|(?:i|we)(?:'ve|\s+have)\s+(?:got\s+)?to"
    r"|(?:i'm|i\s+am|we're|we\s+are)\s+(?:supposed|going|planning|meant)\s+to|i(?:'d|\s+would)\s+(?:like|love)\s+to"
    r"|gotta|need\s+to"
)
_ASKED = (
    r"(?:my\s+|the\s+|our\s+)?[\w']+(?:\s+[\w']+)?\s+(?:has\s+|also\s+|just\s+)*(?:asked|told|reminded|wants|needs|expects|begged|asks)\s+"
    r"(?:me|us)\s+to"
)
_REMIND = (
    r"(?:(?:can|could|would|will)\s+you\s+)?(?:please\s+)?(?:also\s+)?(?:remind\s+me\s+(?:to|about)"
    r"|(?:i\s+)?(?:don't|do\s+not|must\s*n[o']t|can(?:'t|not)|should\s*n[o']t)\s+(?:let\s+me\s+)?forget\s+(?:to|about)|remember\s+to|make\s+sure\s+(?:that\s+)?i"
    r"|(?:add|create|make|put|note(?:\s+down)?|record)\s+(?:me\s+)?(?:(?:a|an|the|another|new)\s+)*"
    r"(?:to-?\s?do|task|reminder|item)s?(?:\s+item)?\s*(?:for\s+me\s+)?(?:to\s+(?!my\b)|for\s+|about\s+|:|that\s+says\s+|called\s+)"
    r"|(?:to-?do|task|reminder)s?\s*:)"
)
_TRIGGER = re.compile(rf"^(?:.*?[\s,])?(?:{_ASKED}|{_REMIND}|{_NEED})\s*(?P<task>\S.*)$", re.IGNORECASE)
_ADD_TO_LIST = re.compile(
    r"^(?:.*?\b)?(?:add|put|place|note)\s+(?P<task>.+?)\s+(?:to|on|onto|in)\s+(?:my|the|our)\s+(?:[\w-]+\s+)?(?:to-?\s?dos?|lists?|tasks?)"
    r"(?:\s+list)?(?P<rest>.*)$",
    re.IGNORECASE,
)
_NEEDS_DOING = re.compile(
    r"^(?:the\s+|my\s+|our\s+)?(?P<what>[\w\s'-]+?)\s+(?:needs?|has|have|requires?)\s+(?:to\s+be\s+)?(?P<verb>\w+(?:ing|ed|en|ept|aid|ought))\b(?P<rest>.*)$",
    re.IGNORECASE,
)
_DUE = re.compile(r"^(?P<what>(?:the|my|our)\s+[\w\s'-]+?)\s+(?:is|are)\s+due\b", re.IGNORECASE)
_OPENING = re.compile(
    r"^(?:hi|hello|hey|ok(?:ay)?|oh|so|well|also|and|then|but|plus|first|next|finally|please|yes|thanks?(?: you)?|additionally|(?:can|could|would|will) you)\b[,!\s]+",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(
    r"(?:,\s*(?:and\s+(?:then\s+|also\s+)?|then\s+|but\s+|plus\s+|also\s+)?|\s+(?:and\s+(?:then\s+|also\s+)?|then\s+|but\s+|plus\s+))",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"(?:the|an?|my|our|work|school)\b", re.IGNORECASE)
_NEW_CLAUSE = re.compile(
    rf"^(?:{_ASKED}|{_REMIND}|{_NEED}|i\b|i'\w+|we\b|my\s+\w+\s+(?:is|has|asked|wants)\b)", re.IGNORECASE
)
# Verbs by which one addresses the assistant, and not a to-do list.
_TO_ASSISTANT = word_set(
    "tell show give list summarize summarise explain describe say repeat help let calculate compute count what mark set"
)
_MAYBE_ASSISTANT = word_set("write translate find check update change move read make create add do look")


@dataclass(frozen=True, slots=True)
class Task:
    """A task that a text asks for, before it is matched with those on record."""

    text: str
    said: str
    deadline: datetime | None = None
    minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """New values for fields of one to-do on record; `index` points into the list that was given."""

    index: int
    status: str | None = None
    deadline: datetime | None = None
    minutes: int | None = None


def clauses(sentence: str) -> list[str]:
    """Cut a sentence where a new statement or a new task begins; `milk and eggs` stays together."""
    parts, start = [], 0
    for match in _SEPARATOR.finditer(sentence):
        if _begins_clause(sentence[match.end() :]):
            parts.append(sentence[start : match.start()])
            start = match.end()
    return [part.strip() for part in [*parts, sentence[start:]] if part.strip()]


def _begins_clause(rest: str) -> bool:
    if _NEW_CLAUSE.match(rest):
        return True
    found = words(rest)
    return len(found) > 1 and _is_base_verb(found[0]) and found[1] not in {"for", "of", "at", "in", "is", "and"}


def _is_base_verb(word: str) -> bool:
    """An imperative: `fix`, but neither `fixed` nor `fixing`."""
    return is_action(word) and not word.endswith(("ing", "ed"))


def find_tasks(text: str, today: date) -> list[Task]:
    """New tasks in the order in which they are said. Preferences, questions and news are not tasks."""
    return [task for sentence in sentences(text) for task in _tasks_of(sentence, today)]


def _tasks_of(sentence: str, today: date) -> Iterator[Task]:
    if as_preference(sentence):
        return
    in_task = False
    for clause in clauses(sentence):
        raw = _task_text(clause, in_task, today, sentence.endswith("?"))
        in_task = raw is not None
        task = _finish(raw, clause, today) if raw else None
        if task:
            yield task


def _task_text(clause: str, in_task: bool, today: date, question: bool) -> str | None:
    """The part of a clause which says what to do, or None."""
    bare = _strip_opening(clause)
    if _is_news(bare):
        return None
    listed = _ADD_TO_LIST.match(bare)
    if listed:
        return f"{listed['task']} {listed['rest']}"
    trigger = _TRIGGER.match(bare)
    if trigger and re.search(r"\bto\s*$", bare[: trigger.start("task")]) and re.match(_ARTICLE, trigger["task"]):
        return None  # `I am going to the gym`
    if trigger and not (question and not re.match(_REMIND, bare, re.IGNORECASE)):
        return trigger["task"]
    if question:
        return None
    return _implied_task(bare, in_task, today)


def _implied_task(bare: str, in_task: bool, today: date) -> str | None:
    due, needs = _DUE.match(bare), _NEEDS_DOING.match(bare)
    if due:
        return f"finish {bare[0].lower()}{bare[1:]}"
    if needs and needs["what"].lower() not in {"i", "we", "you", "it"}:
        verb = _base_form(needs["verb"])
        return f"{verb} the {needs['what']}{needs['rest']}" if verb else None
    bare = re.sub(r"^(?:must|should)\s+(?:also\s+)?", "", bare, flags=re.IGNORECASE)
    found = words(bare)
    if not found or not _is_base_verb(found[0]) or found[0] in _TO_ASSISTANT:
        return None
    if in_task or (len(found) > 1 and found[0] not in _MAYBE_ASSISTANT) or find_deadline(bare, today):
        return bare
    return None


def _base_form(word: str) -> str | None:
    """`fixing` -> `fix`; None for a word that is no action."""
    base = stem(word.lower())
    if not is_action(base):
        return None
    plain = re.sub(r"(?:ing|ed)$", "", word.lower())
    return (
        plain + "e"
        if stem(plain + "e") == base and re.search(r"(?:[aeiou][rzs]|[aiou]c|ng|v|l[tv])$", plain)
        else plain
    )


def _strip_opening(clause: str) -> str:
    while (shorter := _OPENING.sub("", clause)) != clause:
        clause = shorter
    return clause


def _finish(raw: str, clause: str, today: date) -> Task | None:
    deadline = find_deadline(clause, today)
    text = clean_task(raw, today)
    if not stems(text) or _refers_back(text):
        return None
    return Task(text, clause, deadline.moment if deadline else None, find_minutes(clause))


def _refers_back(text: str) -> bool:
    """`get that done` names no task of its own."""
    return bool(re.match(r"\w+\s+(?:it|that|this|them|those)\b(?:\s+\w+)?$", text, re.IGNORECASE))


def clean_task(raw: str, today: date) -> str:
    """A task as one would note it: without dates, durations, list names and politeness."""
    text = without_dates(raw, today)
    text = re.sub(r"\s*\(?\b(?:which\s+|it\s+)?(?:should\s+|will\s+|would\s+)?(?:takes?|taking)?\s*(?:about|around|roughly|~)?\s*"
                  r"(?:\d+|an?|half an|two|three)\s*-?(?:min(?:ute)?s?|hours?|hrs?)\b\)?", "", text, flags=re.I)  # fmt: skip
    text = re.sub(
        r"\b(?:as soon as possible|asap|please|(?:to|on) (?:my|the) (?:to-?do )?list)\b", "", text, flags=re.I
    )
    text = re.sub(r"^(?:to|also|me|go and|try and)\s+", "", text.strip(" \"'“”"), flags=re.I)
    text = re.sub(r"\s+(?:and|or|but|,)\s*$", "", re.sub(r"\s{2,}", " ", text).strip(" .,!?;:\"'“”"))
    return capitalise(text)


# --- news about tasks that are on record ---

_IT = r"(?:it|that|this|them)"
_STATUS_RULES: list[tuple[str, re.Pattern[str]]] = [
    (status, re.compile(pattern, re.IGNORECASE))
    for status, pattern in (
        ("not started", r"\b(?:reopen|restart|haven't (?:finished|done|started|completed)|have not (?:finished|done|started)|didn't (?:finish|do|manage|get to))\b\s*(?P<what>.*)"),
        ("not started", r"\b(?:mark|set)\s+(?P<what>.*?)\s+(?:as\s+|to\s+)?not started\b"),
        ("in progress", r"\b(?:mark|set)\s+(?P<what>.*?)\s+(?:as\s+|to\s+)?in[ -]progress\b"),
        ("archived", r"\b(?:mark|set)\s+(?P<what>.*?)\s+(?:as\s+|to\s+)?archived\b"),
        ("done", r"\b(?:mark|set|check|tick)\s+(?P<what>.*?)\s+(?:as\s+|to\s+|off\s*)?(?:done|completed?|finished|off)\b"),
        ("in progress", r"\b(?:(?:have |'ve |just )*(?:started|begun|began)|(?:am |'m |are |'re )?(?:currently |now )?working on|in the middle of)\s+(?P<what>.+)"),
        ("in progress", r"^(?P<what>.+?)\s+(?:is|are)\s+(?:now\s+)?(?:in progress|under ?way)\b"),
        ("archived", r"\b(?:don't|do not|no longer|doesn't)\s+(?:need|have|want)s?\s+(?:to\s+)?(?P<what>.+)"),
        ("archived", r"^(?:please\s+|you can\s+)?(?:archive|delete|remove|drop|cancel|never ?mind|forget(?: about)?|scrap)\s+(?P<what>.+)"),
        ("done", r"\b(?:finished|completed|done with|wrapped up|took care of|taken care of|checked off|accomplished)\s+(?P<what>.+)"),
        ("done", r"^(?P<what>.+?)\s+(?:is|are|has been|have been|was|were|got)\s+(?:now\s+|already\s+|all\s+|finally\s+)*(?:done|finished|completed?|taken care of|sorted|fixed|booked|paid|ready)\b"),
        ("done", r"^(?:i|we)(?:'ve|\s+have)?\s+(?:(?:just|already|now|finally|successfully|also)\s+)*(?:got\s+(?P<got>.+?)\s+done|did\s+(?P<what>.+))"),
    )
]  # fmt: skip
_PLAN = re.compile(
    r"\b(?:need|have|want|got|going|supposed|must|should|like|remind me)\s+to\b(?!.*\bto be\b)", re.IGNORECASE
)
_NO_PLAN = re.compile(r"\b(?:don't|do not|no longer)\s+(?:need|have|want)\b", re.IGNORECASE)
_PAST = re.compile(
    r"^(?:i|we)(?:'ve|\s+have)?\s+(?:(?:just|already|now|finally|also)\s+)*(?P<verb>[a-z]+)\s+(?P<what>.+)$", re.IGNORECASE
)  # fmt: skip


def _status_news(clause: str) -> tuple[str, str] | None:
    """(status, what it is about) if the clause tells how far something has come."""
    if _PLAN.search(clause) and not _NO_PLAN.search(clause):
        return None
    for status, pattern in _STATUS_RULES:
        match = pattern.search(clause)
        if match:
            return status, next((group for group in match.groupdict().values() if group), "")
    past = _PAST.match(clause)
    if past and _is_past_verb(past["verb"].lower()):
        return "done", f"{past['verb']} {past['what']}"
    return None


def _is_past_verb(word: str) -> bool:
    return is_action(word) and (word.endswith("ed") or word in IRREGULAR) and word not in {"need", "feed"}


def _is_news(clause: str) -> bool:
    return _status_news(clause) is not None


def topic(text: str) -> frozenset[str]:
    """What a task is about: its stems without verbs, as long as something remains."""
    found = stems(text)
    return frozenset(s for s in found if not is_action(s)) or found


def best_match(what: str, todos: list[Todo]) -> int | None:
    """The to-do that a phrase refers to. Open ones win over those that are done."""
    wanted, scored = topic(what), []
    for index, todo in enumerate(todos):
        have = topic(title_of(todo))
        score = len(wanted & have) / max(min(len(wanted), len(have)), 1)
        verbs = len(stems(what) & stems(title_of(todo)))
        scored.append((score, todo.get("status") not in {"done", "archived"}, verbs, -index))
    best = max(scored, default=(0.0, False, 0, 0))
    return -best[3] if best[0] >= 0.5 else None


def same_task(task: Task, todos: list[Todo]) -> int | None:
    """The to-do on record that a newly said task repeats: stricter than a reference to it."""
    new = topic(task.text)
    for index, todo in enumerate(todos):
        old = topic(title_of(todo))
        if len(new & old) / max(len(new | old), 1) >= 0.6 and todo.get("status") != "archived":
            return index
    return None


def title_of(todo: Todo) -> str:
    """The text of a to-do, whatever its schema calls it."""
    for key in ("task", "title", "name", "todo", "description", "content", "text"):
        if isinstance(todo.get(key), str):
            return str(todo[key])
    return " ".join(str(value) for value in todo.values() if isinstance(value, str))


_ASKS = re.compile(r"(?:did|have|has|is|are|was|were|do|does|what|which|when|how|who|why|should)\b.*\?$", re.IGNORECASE)


def find_changes(text: str, todos: list[Todo], today: date) -> list[Change]:
    """News about to-dos on record: how far they have come, new deadlines, new estimates."""
    changes: dict[int, Change] = {}
    for sentence in sentences(text):
        if as_preference(sentence) or _ASKS.match(sentence):
            continue
        for clause in [_strip_opening(part) for part in clauses(sentence)]:
            for change in _changes_of(clause, sentence, todos, today):
                changes[change.index] = _merged(changes.get(change.index), change)
    return [changes[index] for index in sorted(changes)]


def _changes_of(clause: str, sentence: str, todos: list[Todo], today: date) -> Iterator[Change]:
    news = _status_news(clause)
    if news:
        yield from _status_changes(news, sentence, todos, today)
        return
    found, minutes = find_deadline(clause, today), find_minutes(clause)
    if not (found or minutes) or sentence.endswith("?"):
        return
    index = _target(clause, sentence, todos, today)
    if index is not None:
        yield Change(index, None, found.moment if found else None, minutes)


def _status_changes(news: tuple[str, str], sentence: str, todos: list[Todo], today: date) -> Iterator[Change]:
    status, what = news
    if re.match(r"(?:everything|all\b(?! \w+ \w+))", what, re.IGNORECASE):
        yield from (Change(index, status) for index in range(len(todos)))
        return
    if re.match(rf"{_IT}\b", what, re.IGNORECASE) or not stems(what):
        what = sentence
    for part in re.split(r"\s+and\s+|,\s*", without_dates(what, today)):
        index = best_match(part, todos)
        if index is not None:
            yield Change(index, status)


def _target(clause: str, sentence: str, todos: list[Todo], today: date) -> int | None:
    """The to-do that a clause with a date speaks of: repeated in full, or named as the topic."""
    tasks = list(_tasks_of(clause, today))
    if tasks:
        return same_task(tasks[0], todos)
    moved = re.search(r"\b(?:move|push|postpone|reschedule|change|set|extend|bring forward)\b", clause, re.IGNORECASE)
    about = re.search(r"\b(?:deadline|due|needs?|takes?|for)\b", sentence, re.IGNORECASE)
    if not (moved or about):
        return None
    text = re.sub(r"\b(?:deadline|due date|move|push|postpone|extend|takes?|minutes?|hours?|done|finished)\b", "",
                  without_dates(sentence, today), flags=re.IGNORECASE)  # fmt: skip
    return best_match(text, todos)


def _merged(old: Change | None, new: Change) -> Change:
    if old is None:
        return new
    return Change(new.index, new.status or old.status, new.deadline or old.deadline, new.minutes or old.minutes)
