"""SQL that is composed for a request, so that its plan has exactly the request's own conditions and order.

A condition such as `$1 IS NULL OR …` would keep a generic plan from every index. All text comes from the code; what
a client sends travels as parameters.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from threadmill_chassis.errors import InvalidArgument


@contextmanager
def storable(what: str = "text") -> Iterator[None]:
    """Says of text that Postgres cannot hold that it is the caller's fault."""
    try:
        yield
    except (asyncpg.UntranslatableCharacterError, asyncpg.CharacterNotInRepertoireError) as error:
        raise InvalidArgument(f"{what} must not contain the character U+0000") from error
    except asyncpg.ProgramLimitExceededError as error:
        raise InvalidArgument(f"{what} is too long") from error


@dataclass(slots=True)
class Statement:
    """Conditions that must all hold, and their parameters in order."""

    conditions: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)

    def bind(self, value: object) -> str:
        """The placeholder of a new parameter."""
        self.parameters.append(value)
        return f"${len(self.parameters)}"

    def holds(self, condition: str, value: object) -> None:
        """Adds a condition on one value, which stands for its `?`; None and empty text mean no condition."""
        if value is not None and value != "":
            self.conditions.append(condition.replace("?", self.bind(value)))

    @property
    def where(self) -> str:
        """The clause; empty without conditions."""
        return f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""

    def count(self, table: str) -> str:
        """The SQL that counts what matches."""
        return f"SELECT count(*) FROM {table}{self.where}"

    def page(self, table: str, order: Sequence[str], limit: int, offset: int, *, ascending: bool) -> str:
        """The SQL of a page; `order` must be the columns of an index, the last of them unique."""
        direction = "ASC" if ascending else "DESC"
        ordered = ", ".join(f"{column} {direction}" for column in order)
        bounds = f"LIMIT {self.bind(limit)}::int OFFSET {self.bind(offset)}::int"
        return f"SELECT * FROM {table}{self.where} ORDER BY {ordered} {bounds}"
