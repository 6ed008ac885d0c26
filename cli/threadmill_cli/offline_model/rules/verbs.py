"""What people do: the verbs that make a task, how long such work takes, and how one goes about it."""

from __future__ import annotations

import re

from threadmill_cli.offline_model.rules.dates import find_minutes
from threadmill_cli.offline_model.rules.text import stem, words

# Minutes that a task of this kind takes, when nobody says otherwise.
_KINDS: dict[str, tuple[int, str]] = {
    "contact": (15, "call ring phone email mail text message contact ask tell reply respond answer invite notify thank "
                    "remind talk speak follow"),
    "arrange": (30, "book schedule reserve arrange register enrol enroll sign apply cancel renew confirm reschedule "
                    "organise organize set"),
    "acquire": (45, "buy order purchase get pick collect fetch rent borrow find choose look shop return exchange bring "
                    "grab download"),
    "pay": (15, "pay transfer deposit refund donate send post ship submit file upload deliver give hand print scan"),
    "fix": (90, "fix repair replace install mend assemble build upgrade unclog patch debug restore mount hang change"),
    "clean": (60, "clean wash tidy vacuum mow rake iron declutter sort empty water feed walk sweep mop dust cook bake "
                  "pack unpack take paint"),
    "write": (90, "write draft prepare plan design create make finish complete review edit proofread read study learn "
                  "practise practice research update document revise translate present rehearse test deploy refactor "
                  "analyse analyze investigate outline compile memorise memorize do work start run check back "
                  "attend visit see meet go drive exercise train join move sell remove delete"),
}  # fmt: skip
_KIND_OF = {stem(verb): kind for kind, (_, verbs) in _KINDS.items() for verb in verbs.split()}
DEFAULT_MINUTES = 30


def is_action(word: str) -> bool:
    """Whether the word, in any of its forms, is a verb that makes a task."""
    return stem(word.lower()) in _KIND_OF


def kind_of_work(task: str) -> str | None:
    """The kind of the first action verb of the task."""
    return next((_KIND_OF[stem(word)] for word in words(task) if is_action(word)), None)


def estimate_minutes(task: str, said: str) -> int:
    """What the user said, else what work of this kind usually takes."""
    kind = kind_of_work(task)
    return find_minutes(said) or (_KINDS[kind][0] if kind else DEFAULT_MINUTES)


def object_of(task: str) -> str:
    """`Book swim lessons for the baby` -> `swim lessons for the baby`."""
    first, *_ = re.split(r"(?<=\w\w) to (?=[a-z])", task)  # `call the garage to book a service`: the garage
    parts = first.split() if len(first.split()) > 1 else task.split()
    if parts and is_action(parts[0]):
        parts = parts[1:]
        if parts and parts[0].lower() in {"up", "back", "out", "off", "in", "for", "on", "to"}:
            parts = parts[1:]
    return " ".join(parts) or task


_STEPS: dict[str, tuple[str, ...]] = {
    "contact": ("Look up the contact details for {what}", "Note the points to raise before getting in touch"),
    "arrange": ("Compare two or three providers for {what}", "Call or book online and put the date in the calendar"),
    "acquire": ("Compare prices for {what} online and in shops", "Check opening hours or delivery times first"),
    "pay": ("Gather the details needed for {what}", "Do it online and keep the confirmation"),
    "fix": ("Check which tools and parts {what} needs", "Ask a professional for a quote if it takes longer"),
    "clean": ("Set aside one block of time for {what}", "Get what is needed ready beforehand"),
    "write": ("Outline the steps for {what}", "Block time in the calendar and begin with the hardest part"),
}  # fmt: skip
_DEFAULT_STEPS = ("Break {what} into small steps", "Block time in the calendar for it")


def suggest_solutions(task: str, wishes: str, location: str | None) -> list[str]:
    """Ways to get a task done; the user's wishes about to-dos may add local businesses."""
    kind, what = kind_of_work(task), object_of(task)
    found = [step.format(what=what) for step in _STEPS.get(kind or "", _DEFAULT_STEPS)]
    mentioned = set(words(wishes))
    if mentioned & {"local", "nearby", "business", "businesses", "vendors", "providers", "shops"}:
        place = f"in {location}" if location else "nearby"
        found.append(f"Ask local businesses {place} about {what}")
    return found
