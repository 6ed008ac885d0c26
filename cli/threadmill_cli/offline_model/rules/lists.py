"""Answers about the to-dos on record: summaries, priorities, what fits into the time at hand."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from threadmill_cli.offline_model.rules.dates import find_minutes
from threadmill_cli.offline_model.rules.memory import Memory
from threadmill_cli.offline_model.rules.text import join_list
from threadmill_cli.offline_model.rules.todos import best_match, title_of

Todo = dict[str, Any]
_LIST = r"(?:to-?\s?dos?|tasks?|list|things? to do|agenda|plate)"
_SUMMARY = re.compile(
    rf"\b(?:summar\w+|overview|recap)\b.*|\b(?:list|show|give|tell|read|display|review|see)\b.*\b{_LIST}\b"
    rf"|\bwhat(?:'s| is| are| do| have)?\b.*\b{_LIST}\b|\bwhat do i (?:have|need) to do\b|\bmy {_LIST}\s*\?"
    rf"|\b(?:which|how many)\b.*\b{_LIST}\b",
    re.IGNORECASE,
)
_FOCUS = re.compile(
    r"\b(?:focus|priorit\w+|first|most (?:urgent|important)|urgent|start with|begin with|next)\b", re.IGNORECASE
)  # fmt: skip
_OPTIONS = re.compile(
    r"\b(?:options?|solutions?|ideas?|suggestions?|how (?:do|can|should|could) i|help me with)\b", re.IGNORECASE
)  # fmt: skip
_DETAIL = re.compile(r"\b(?:when|deadline|due|status|how long|have i|did i)\b", re.IGNORECASE)
_CLOSED = {"done", "archived"}


def answer_about_todos(text: str, memory: Memory, now: datetime) -> str | None:
    """The answer to a question about the list, or None if the text asks none."""
    minutes = find_minutes(text)
    question = text.rstrip().endswith("?") or re.match(
        r"\W*(?:please\s+)?(?:what|which|give|show|list|tell|when|how|prioriti[sz]e|rank)\b", text, re.I
    )
    if minutes and re.search(r"\b(?:have|got|free|spare|in)\b", text, re.IGNORECASE) and question:
        return _fitting(memory.todos, minutes, now)
    if _FOCUS.search(text) and question:
        return _priorities(memory.todos, now)
    if _OPTIONS.search(text) and (found := _options(text, memory.todos)):
        return found
    if _DETAIL.search(text) and question and (index := best_match(text, memory.todos)) is not None:
        return _line(memory.todos[index], now).lstrip("- ")
    return _summary(text, memory.todos, now) if _SUMMARY.search(text) else None


def _is_open(todo: Todo) -> bool:
    return todo.get("status") not in _CLOSED


def deadline_of(todo: Todo) -> datetime | None:
    """The deadline in local time, whatever the schema calls it."""
    for key in ("deadline", "due_date", "due"):
        try:
            return datetime.fromisoformat(str(todo.get(key))).replace(tzinfo=None)
        except ValueError:
            continue
    return None


def say_date(moment: datetime, now: datetime) -> str:
    """`Friday, 28 November`, with the year if it is another one and `overdue` if it has passed."""
    year = f" {moment.year}" if moment.year != now.year else ""
    late = " (overdue)" if moment < now else ""
    return f"{moment:%A}, {moment.day} {moment:%B}{year}{late}"


def _line(todo: Todo, now: datetime) -> str:
    deadline, minutes = deadline_of(todo), todo.get("time_to_complete")
    parts = [
        f"due {say_date(deadline, now)}" if deadline else "",
        f"about {minutes} minutes" if minutes else "",
        str(todo.get("status") or ""),
    ]
    details = ", ".join(part for part in parts if part)
    return f"- {title_of(todo)}" + (f" ({details})" if details else "")


def _summary(text: str, todos: list[Todo], now: datetime) -> str:
    wanted = [todo for todo in todos if _is_asked_for(text, todo)]
    if not wanted:
        return "Your ToDo list is empty." if not todos else "No ToDo on your list is in that state."
    count = f"{len(wanted)} ToDo" + ("s" if len(wanted) != 1 else "")
    return f"You have {count} on your list:\n" + "\n".join(_line(todo, now) for todo in _ranked(wanted))


def _is_asked_for(text: str, todo: Todo) -> bool:
    """A question may name a state: `which tasks are done?`."""
    status = str(todo.get("status"))
    for said, wanted in (
        (r"\b(?:not (?:yet )?(?:done|finished)|open|left|remaining|outstanding)\b", {"not started", "in progress"}),
        (r"\bnot started\b", {"not started"}),
        (r"\bin progress\b", {"in progress"}),
        (r"\b(?:done|finished|completed)\b", {"done"}),
        (r"\barchived\b", {"archived"}),
    ):
        if re.search(said, text, re.IGNORECASE):
            return status in wanted
    return status != "archived"


def _ranked(todos: list[Todo]) -> list[Todo]:
    """Open ones first; the nearest deadline, then the shortest task."""
    return sorted(
        todos,
        key=lambda t: (not _is_open(t), str(deadline_of(t) or "undated"), t.get("time_to_complete") or 1_000_000),
    )


def _priorities(todos: list[Todo], now: datetime) -> str:
    ranked = [todo for todo in _ranked(todos) if _is_open(todo)]
    if not ranked:
        return "There is nothing open on your ToDo list, so you are free to rest."
    first, deadline = ranked[0], deadline_of(ranked[0])
    reason = f"it is due first, on {say_date(deadline, now)}" if deadline else "nothing has a deadline and it is short"
    steps = [step for step in first.get("solutions") or [] if isinstance(step, str)]
    begin = f" You could begin like this: {steps[0]}." if steps else ""
    then = f"\nAfter that: {join_list(title_of(t) for t in ranked[1:4])}." if ranked[1:] else ""
    return f'Focus on "{title_of(first)}" first: {reason}.{begin}{then}'


def _fitting(todos: list[Todo], minutes: int, now: datetime) -> str:
    fitting = [t for t in _ranked(todos) if _is_open(t) and (t.get("time_to_complete") or minutes + 1) <= minutes]
    if not fitting:
        return f"None of your open ToDos fits into {_say_minutes(minutes)}; you could begin with a part of one."
    return f"In {_say_minutes(minutes)} you could do:\n" + "\n".join(_line(todo, now) for todo in fitting)


def _say_minutes(minutes: int) -> str:
    return f"{minutes} minutes" if minutes < 120 else str(timedelta(minutes=minutes)).removesuffix(":00") + " hours"


def _options(text: str, todos: list[Todo]) -> str | None:
    index = best_match(text, todos)
    if index is None:
        return None
    steps = [step for step in todos[index].get("solutions") or [] if isinstance(step, str)]
    listed = "\n".join(f"- {step}" for step in steps)
    return f'Options for "{title_of(todos[index])}":\n{listed}' if steps else None
