"""Dates and durations in plain English, relative to a given day."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
          "november", "december")  # fmt: skip
NUMBERS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40,
    "forty-five": 45, "fifty": 50, "sixty": 60, "ninety": 90, "a couple of": 2, "a few": 3, "half an": 0.5,
}  # fmt: skip
END_OF_DAY = time(23, 59)

_NUMBER = r"\d+(?:\.\d+)?|" + "|".join(sorted(NUMBERS, key=len, reverse=True))
_WEEKDAY = "|".join((*WEEKDAYS, r"(?-i:Mon|Tues?|Weds?|Thurs?|Fri|Sat|Sun)\b\.?"))
# `may` and `march` are words of their own: they count as months only with a capital.
_MONTH = (
    r"(?:(?-i:March|May|Mar)|january|february|april|june|july|august|september|october|november|december"
    r"|(?-i:Jan|Feb|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?)"
)
_PART_OF_DAY = r"(?:\s+(?:morning|afternoon|evening|night))?"
_LEAD = (
    r"(?:\b(?:and\s+)?(?:(?:is|are|it's|which is)\s+)?(?:due\s+|no\s+later\s+than\s+)?"
    r"(?:(?:by|before|until|till|on|for|from|to|due)\s+)?(?:the\s+)?)?"
)
_CLOCK = (
    r"(?:,?\s*(?:at|by|around|before)?\s*"
    r"(?:(?P<h12>\d{1,2})(?::(?P<m12>\d\d))?\s*(?P<half>[ap])\.?m\b\.?|(?P<h24>[01]?\d|2[0-3]):(?P<m24>[0-5]\d)\b|(?P<noon>noon)))?"
)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment found in a text, and where it was said."""

    moment: datetime
    start: int
    end: int


Resolver = Callable[[re.Match[str], date], date | None]


def month_number(name: str) -> int:
    """`November` or `Nov.` -> 11."""
    short = name.lower().rstrip(".")[:3]
    return next(i for i, month in enumerate(MONTHS, 1) if month.startswith(short))


def number(text: str) -> float:
    """`two`, `2` or `half an` as a number."""
    text = text.lower()
    return NUMBERS[text] if text in NUMBERS else float(text)


def end_of_month(year: int, month: int) -> date:
    """The last day of a month."""
    following = date(year + month // 12, month % 12 + 1, 1)
    return following - timedelta(days=1)


def add_months(day: date, months: int) -> date:
    """The same day of a later month, or its last day if it has no such day."""
    index = day.year * 12 + day.month - 1 + months
    last = end_of_month(index // 12, index % 12 + 1)
    return last.replace(day=min(day.day, last.day))


def _calendar(year: str | None, month: int, day: int, today: date) -> date | None:
    """A day without a year is the next one to come."""
    try:
        if year:
            return date(int(year) + (2000 if int(year) < 100 else 0), month, day)
        this_year = date(today.year, month, day)
        return this_year if this_year >= today else this_year.replace(year=today.year + 1)
    except ValueError:
        return None


def _weekday(match: re.Match[str], today: date) -> date:
    name = match["weekday"].lower()[:3]
    target = next(i for i, day in enumerate(WEEKDAYS) if day.startswith(name))
    ahead = (target - today.weekday()) % 7 or 7
    same_week = today.weekday() + ahead < 7
    return today + timedelta(days=ahead + (7 if match["which"] == "next" and same_week else 0))


def _after(match: re.Match[str], today: date) -> date:
    count, unit = number(match["count"]), match["unit"].lower()
    if unit.startswith(("month", "year")):
        return add_months(today, int(count * (12 if unit.startswith("year") else 1)))
    days = {"week": 7.0, "day": 1.0, "hour": 1 / 24}
    return today + timedelta(days=int(count * days[unit.rstrip("s")]))


def _end_of(match: re.Match[str], today: date) -> date:
    unit, ahead = match["period"].lower(), 1 if (match["rel"] or "").strip().lower() == "next" else 0
    if unit == "day":
        return today
    if unit == "week":
        return today + timedelta(days=6 - today.weekday() + 7 * ahead)
    if unit == "month":
        day = add_months(today.replace(day=1), ahead)
        return end_of_month(day.year, day.month)
    return date(today.year + ahead, 12, 31)


def _month_end(match: re.Match[str], today: date) -> date:
    month = month_number(match["month"])
    year = int(match["year"]) if match["year"] else today.year + (month < today.month)
    return end_of_month(year, month)


def _period(match: re.Match[str], today: date) -> date:
    unit = match["period"].lower()
    if unit == "weekend":
        ahead = 7 if (match["rel"] or "").strip().lower() == "next" else 0
        return today + timedelta(days=6 - today.weekday() + ahead)
    return _end_of(match, today)


def _ordinal(match: re.Match[str], today: date) -> date | None:
    base = today.replace(day=1) if int(match["day"]) >= today.day else add_months(today.replace(day=1), 1)
    return _calendar(str(base.year), base.month, int(match["day"]), today)


def _day_month(match: re.Match[str], today: date) -> date | None:
    return _calendar(match["year"], month_number(match["month"]), int(match["day"]), today)


def _numeric(match: re.Match[str], today: date) -> date | None:
    return _calendar(match["year"], int(match["m"]), int(match["day"]), today)


_RULES: list[tuple[str, Resolver]] = [
    (r"(?P<year>\d{4})-(?P<m>\d\d)-(?P<day>\d\d)T?", _numeric),
    (r"day\s+after\s+tomorrow", lambda m, t: t + timedelta(days=2)),
    (rf"tomorrow{_PART_OF_DAY}", lambda m, t: t + timedelta(days=1)),
    (r"(?:today|tonight|this\s+(?:morning|afternoon|evening))", lambda m, t: t),
    (rf"(?:in|within)\s+(?:the\s+next\s+)?(?P<count>{_NUMBER})\s+(?P<unit>hours?|days?|weeks?|months?|years?)", _after),
    (rf"(?P<count>{_NUMBER})\s+(?P<unit>days?|weeks?|months?)\s+from\s+(?:now|today)", _after),
    (rf"end\s+of\s+(?P<month>{_MONTH})(?:,?\s+(?P<year>\d{{4}}))?", _month_end),
    (r"end\s+of\s+(?:the\s+|this\s+)?(?P<rel>next\s+)?(?P<period>day|week|month|year)", _end_of),
    (rf"(?P<month>{_MONTH})\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(?P<year>\d{{4}}))?", _day_month),
    (rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<month>{_MONTH})(?:,?\s+(?P<year>\d{{4}}))?", _day_month),
    (r"(?P<m>\d{1,2})/(?P<day>\d{1,2})(?:/(?P<year>\d{2,4}))?\b", _numeric),
    (rf"(?:(?P<which>next|this|coming)\s+)?(?P<weekday>{_WEEKDAY})(?!s\b)\b{_PART_OF_DAY}", _weekday),
    (r"(?P<rel>this|next)\s+(?P<period>weekend|week|month|year)\b", _period),
    (r"the\s+(?P<period>weekend)(?P<rel>)", _period),
    (rf"(?:by|before|in)\s+(?P<month>{_MONTH})\b(?:,?\s+(?P<year>\d{{4}}))?", _month_end),
    (r"(?:by|on|before)\s+the\s+(?P<day>\d{1,2})(?:st|nd|rd|th)", _ordinal),
    (r"Christmas(?:\s+Day)?", lambda m, t: _calendar(None, 12, 25, t)),
]  # fmt: skip
_PATTERNS = [
    (re.compile(rf"(?<!every\s)(?<!\w){_LEAD}(?<![\w-]){rule}(?:\s+(?:at\s+the\s+latest))?{_CLOCK}", re.IGNORECASE), f)
    for rule, f in _RULES
]  # fmt: skip


def _clock(match: re.Match[str]) -> time:
    if match["h12"]:
        hour = int(match["h12"]) % 12 + (12 if match["half"].lower() == "p" else 0)
        return time(hour, int(match["m12"] or 0))
    if match["h24"]:
        return time(int(match["h24"]), int(match["m24"]))
    return time(12) if match["noon"] else END_OF_DAY


def find_deadline(text: str, today: date) -> Deadline | None:
    """The first date of the most explicit kind; the end of the day, if no time is given."""
    for pattern, resolve in _PATTERNS:
        for match in pattern.finditer(text):
            day = resolve(match, today)
            if day is not None:
                return Deadline(datetime.combine(day, _clock(match)), match.start(), match.end())
    return None


def without_dates(text: str, today: date) -> str:
    """The text with every date, and the preposition that led to it, cut out."""
    while found := find_deadline(text, today):
        text = f"{text[: found.start].rstrip()} {text[found.end :].lstrip()}".strip()
    return re.sub(r"\s+([,.;!?])", r"\1", re.sub(r"\s{2,}", " ", text)).strip(" ,;")


_DURATION = re.compile(
    rf"(?<![\w.])(?P<count>{_NUMBER})[\s-]*(?P<unit>min(?:ute)?s?|hours?|hrs?|h)\b"
    r"(?P<more>\s+and\s+a\s+half)?",
    re.IGNORECASE,
)


def find_minutes(text: str) -> int | None:
    """A stretch of time (`about 2 hours`, `30 min`) in minutes; `in 2 hours` is a date and does not count."""
    for match in _DURATION.finditer(text):
        if not re.search(r"\b(?:in|within)\s+$", text[: match.start()], re.IGNORECASE):
            count = number(match["count"]) + (0.5 if match["more"] else 0)
            return round(count * (1 if match["unit"].lower().startswith("m") else 60))
    return None


_NOW = re.compile(
    r"\b(?:time|date|today|now)\b[^\n\d]{0,20}(?P<iso>\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?)", re.IGNORECASE
)  # fmt: skip


def reference_time(prompt: str, clock: datetime) -> datetime:
    """The present as the prompt states it (`The current time is 2025-11-20T10:00:00`), or the clock."""
    match = _NOW.search(prompt)
    return datetime.fromisoformat(match["iso"]) if match else clock
