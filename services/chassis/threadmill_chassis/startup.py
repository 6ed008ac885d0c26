"""The first thing that a process does: it reads its settings and sets its log up, or says in a sentence why not."""

import sys
from typing import TypeVar

import structlog
from pydantic import AliasChoices, ValidationError
from pydantic_settings import SettingsError

from threadmill_chassis import logs
from threadmill_chassis.settings import ProcessSettings

Settings = TypeVar("Settings", bound=ProcessSettings)
log = structlog.get_logger(__name__)


def read_settings(kind: type[Settings], service: str) -> Settings:
    """The settings of `service` from the environment, with its log configured by them.

    Ends the process with code 1 when a variable is missing or wrong; the log names it, and never shows its value.
    """
    try:
        settings = kind()
    except (ValidationError, SettingsError) as error:
        logs.configure(ProcessSettings.model_construct(), service)
        log.error("cannot_run", reason=describe(error, kind))
        sys.exit(1)
    logs.configure(settings, service)
    return settings


def describe(error: ValidationError | SettingsError, kind: type[ProcessSettings]) -> str:
    """What is wrong with which variables, in one line."""
    if isinstance(error, SettingsError):
        return str(error)  # names the field whose JSON cannot be read
    faults = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        text = fault["msg"].removeprefix("Value error, ")
        wrong = "is not set" if fault["type"] == "missing" else f"is wrong: {text[:1].lower()}{text[1:]}"
        faults.append(f"{_variable(fault['loc'], kind)} {wrong}")
    return "; ".join(faults)


def _variable(location: tuple[int | str, ...], kind: type[ProcessSettings]) -> str:
    """The variable at fault with its other names. Pydantic gives the field's name, or the first of its aliases."""
    if not location:
        return "a combination of settings"
    name = str(location[0])
    for field, info in kind.model_fields.items():
        alias = info.validation_alias
        if isinstance(alias, AliasChoices) and (name == field or name in alias.choices):
            return " or ".join(str(choice) for choice in alias.choices)
    return f"THREADMILL_{name.upper()}"
