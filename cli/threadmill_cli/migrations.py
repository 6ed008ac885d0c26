"""Brings the schemas of all services up to date, each with its own DSN."""

import importlib
import logging
from pathlib import Path
from types import ModuleType

import asyncpg
import structlog
from threadmill_chassis.migrate import migrate

from threadmill_cli.refusal import CannotRun

SCHEMAS = {
    "threads": "threadmill_threads.schema",
    "store": "threadmill_store.schema",
    "runs": "threadmill_runs.schema",
}


async def migrate_all(dsns: dict[str, str]) -> dict[str, int]:
    """Applies what each schema lacks; answers the number of files applied by service. CannotRun names what failed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    applied = {}
    for service, dsn in dsns.items():
        module: ModuleType = importlib.import_module(SCHEMAS[service])
        folder: Path = module.MIGRATIONS
        try:
            applied[service] = await migrate(dsn, module.SCHEMA, folder)
        except (asyncpg.PostgresError, OSError) as error:
            raise CannotRun(
                f"the schema of {service} cannot be brought up to date ({type(error).__name__}: {error}): "
                "the database was left as it was before the failing file"
            ) from error
    return applied
