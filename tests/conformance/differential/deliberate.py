"""Differences that the contract wants, each with its reason."""

import re
from dataclasses import dataclass

from .report import Difference


@dataclass(frozen=True, slots=True)
class Deliberate:
    """Accepts a difference whose script, request and place match, as regular expressions."""

    script: str
    request: str
    where: str
    reason: str


DELIBERATE: tuple[Deliberate, ...] = ()


def reason_for(script: str, difference: Difference) -> str | None:
    """Why this difference is accepted; None when it is not."""
    for rule in DELIBERATE:
        if (
            re.fullmatch(rule.script, script)
            and re.search(rule.request, difference.request)
            and re.search(rule.where, difference.where)
        ):
            return rule.reason
    return None
