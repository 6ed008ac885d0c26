"""`store.index` of langgraph.json: how the application wants its memory indexed."""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from threadmill_runs.executor.graphs.errors import ConfigError

# The whole value, as LangGraph has it.
DEFAULT_FIELDS = ("$",)
# Of the contract: what pgvector can index.
MAX_DIMS = 4000
# `$`; or steps, a key or several in braces first, then more of them behind periods, and positions in brackets.
_KEY, _KEYS_IN_BRACES, _POSITION = r"[^.\[{]+", r"\{[^{},]+(?:,[^{},]+)*\}", r"\[(?:\*|-?\d+)\]"
PATH = re.compile(
    rf"\$|(?:\$\.)?(?:{_KEY}|{_KEYS_IN_BRACES})(?:\.{_KEY}|\.?{_KEYS_IN_BRACES}|\.?{_POSITION}(?=[.\[{{]|$))*"
)
_KEYS = frozenset({"dims", "embed", "fields"})


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """A section that was checked. `embed` is `path.py:name`, `package.module:name` or `provider:model`."""

    path: Path
    dims: int
    embed: str
    fields: tuple[str, ...] = DEFAULT_FIELDS

    @property
    def identity(self) -> str:
        """Changes with all that makes vectors incomparable, and not with the folder that the application lies in."""
        digest = sha256(orjson.dumps([self.embed, self.dims, self.fields])).hexdigest()
        return f"{self.embed}#{self.dims}#{digest[:16]}"


def read_index(path: Path) -> IndexConfig | None:
    """The section of a langgraph.json that config_file has read before; None when it has none.

    Raises ConfigError that names the file and the key at fault.
    """
    store = orjson.loads(path.read_bytes()).get("store")
    section = store.get("index") if isinstance(store, dict) else None
    return index_of(path, section) if section is not None else None


def index_of(path: Path, section: object) -> IndexConfig:
    """Checks the section; `path` is the file's."""
    if not isinstance(section, dict):
        raise ConfigError(f"{path}: `store.index` must be an object with `dims` and `embed`")
    for key in section.keys() - _KEYS:
        raise ConfigError(f"{path}: `store.index.{key}` is not supported")
    return IndexConfig(
        path=path.resolve(),
        dims=_dims(path, section.get("dims")),
        embed=_embed(path, section.get("embed")),
        fields=_fields(path, section.get("fields")),
    )


def _dims(path: Path, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_DIMS:
        raise ConfigError(f"{path}: `store.index.dims` must be a whole number from 1 to {MAX_DIMS}")
    return value


def _embed(path: Path, value: object) -> str:
    if not isinstance(value, str) or not all(value.rpartition(":")):
        raise ConfigError(f'{path}: `store.index.embed` must be "file.py:function" or "provider:model"')
    return value


def _fields(path: Path, value: object) -> tuple[str, ...]:
    if value is None:
        return DEFAULT_FIELDS
    if not isinstance(value, list) or not value or not all(isinstance(field, str) and field for field in value):
        raise ConfigError(f"{path}: `store.index.fields` must be a list of at least one path")
    for field in value:
        if not PATH.fullmatch(field):
            raise ConfigError(
                f"{path}: `store.index.fields` has {field!r}, which is no path such as `text`, `a.b`, `notes[*].text`,"
                " `list[0]`, `{a,b}` or `$`"
            )
    return tuple(dict.fromkeys(value))
