"""Structured logs: one event a line, JSON in production and coloured text at a terminal.

Ids that belong to every line of a piece of work (run, thread, request) are bound as context variables.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any

import orjson
import structlog

from threadmill_chassis.settings import ProcessSettings


def configure(settings: ProcessSettings, service: str) -> None:
    """Routes structlog and the standard library's loggers to stderr in one format; `service` is on every line."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(_dumps) if settings.log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        lambda _, __, event: {"service": service, **event},
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer]
        if settings.log_format == "json"
        else [*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.processors.format_exc_info],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(logging.INFO, _level(settings)), force=True)


def _dumps(event: Any, default: Callable[[Any], Any]) -> str:
    return orjson.dumps(event, default=default, option=orjson.OPT_NON_STR_KEYS).decode()


def _level(settings: ProcessSettings) -> int:
    return logging.getLevelNamesMapping()[settings.log_level.upper()]
