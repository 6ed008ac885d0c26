"""Which request headers a deployment lets through, to the `configurable` of runs or to the log."""

import re
from collections.abc import Mapping
from functools import cached_property

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator
from starlette.datastructures import Headers

# Credentials of the caller and of platforms: never let through, even when a rule names them.
NEVER = frozenset({"authorization", "proxy-authorization", "x-api-key", "x-service-key", "x-tenant-id"})


class HeaderRule(BaseModel):
    """Names in any case, `*` standing for any text. What `excludes` matches stays out; what nothing matches, too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    includes: tuple[str, ...] = Field(default=(), validation_alias=AliasChoices("includes", "include"))
    excludes: tuple[str, ...] = Field(default=(), validation_alias=AliasChoices("excludes", "exclude"))

    @field_validator("includes", "excludes", mode="before")
    @classmethod
    def _absent(cls, value: object) -> object:
        return () if value is None else value

    @cached_property
    def _included(self) -> re.Pattern[str]:
        return _pattern(self.includes)

    @cached_property
    def _excluded(self) -> re.Pattern[str]:
        return _pattern(self.excludes)

    def permits(self, name: str) -> bool:
        """Whether the header of this name, in lower case, passes."""
        return name not in NEVER and bool(self._included.fullmatch(name)) and not self._excluded.fullmatch(name)

    def select(self, headers: Headers) -> Mapping[str, str]:
        """Values by name in lower case; several headers of one name are joined by commas, as HTTP has it."""
        return {name: ", ".join(headers.getlist(name)) for name in set(headers) if self.permits(name)}


def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Matches any of the names; nothing (not even an empty name) when there is none."""
    alternatives = [".*".join(re.escape(part) for part in name.strip().lower().split("*")) for name in names]
    return re.compile("|".join(alternatives) if alternatives else r"(?!)")
