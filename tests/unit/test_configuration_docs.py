"""docs/configuration.md names every setting of every process, with its variables and its default."""

import importlib
import inspect
from pathlib import Path

import pytest
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from threadmill_chassis.postgres import PostgresSettings
from threadmill_chassis.settings import ProcessSettings

ROOT = Path(__file__).parents[2]
# Heading of the section in which the fields that a class adds to its base are listed.
SECTIONS = {
    "ProcessSettings": "Every process",
    "PostgresSettings": "Processes that own data: threads, store, runs api",
    "ThreadsSettings": "threads",
    "StoreSettings": "store",
    "RunsSettings": "runs api",
    "ExecutorSettings": "executor",
    "GatewaySettings": "gateway",
}


def settings_classes() -> dict[str, type[ProcessSettings]]:
    """Every settings class of the repository by name, found by the convention that they live in `settings.py`."""
    found: dict[str, type[ProcessSettings]] = {"PostgresSettings": PostgresSettings}
    for folder in (ROOT / "services", ROOT / "gateway", ROOT / "cli"):
        for file in folder.glob("**/threadmill_*/**/settings.py"):
            parts = file.with_suffix("").parts
            package = next(n for n, part in enumerate(parts) if part.startswith("threadmill_"))
            module = importlib.import_module(".".join(parts[package:]))
            for name, value in vars(module).items():
                if inspect.isclass(value) and issubclass(value, ProcessSettings):
                    found[name] = value
    return found


def rows_of(section: str) -> dict[str, str]:
    """Default by the first cell (the variables) of the table under a heading."""
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    body = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("| `")
    ]
    return {cells[0]: cells[2] for cells in rows}


def variables_of(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return ", ".join(f"`{choice}`" for choice in alias.choices)
    return f"`THREADMILL_{name.upper()}`"


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "generated"
    value = field.default
    if value in (None, "", ()):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`" if not value.is_integer() else f"`{int(value)}`"
    return f"`{','.join(value)}`" if isinstance(value, tuple) else f"`{value}`"


def test_every_settings_class_has_a_section() -> None:
    assert set(settings_classes()) == set(SECTIONS)


@pytest.mark.parametrize("name", SECTIONS)
def test_section_lists_exactly_the_fields_with_their_defaults(name: str) -> None:
    own = settings_classes()[name]
    inherited = {field for base in own.__mro__[1:] for field in getattr(base, "__annotations__", {})}
    expected = {
        variables_of(field, info): default_of(info)
        for field, info in own.model_fields.items()
        if field not in inherited
    }
    assert rows_of(SECTIONS[name]) == expected
