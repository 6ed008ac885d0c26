"""The environment of every child process, built explicitly.

The rule that matters: the executor runs code that we did not write, so nothing in its environment may open the
database or Redis. All credentials are taken out of what children inherit, and each service is given its own back.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from threadmill_cli.refusal import CannotRun

Environment = Mapping[str, str]

CREDENTIALS = re.compile(
    r"^(?:DATABASE_URI|POSTGRES.*|.*_DSN|(?:THREADMILL_)?REDIS_.*|THREADMILL_.*_REDIS_URI)$", re.IGNORECASE
)
# libpq's and asyncpg's own variables, which complete a DSN that names no password.
LIBPQ = re.compile(r"^PG(?:PASSWORD|PASSFILE|USER|HOST|HOSTADDR|PORT|DATABASE|SERVICE|SERVICEFILE|SSL.*)$")
# What other programs call a DSN, such as SENTRY_DSN, is a web address: no credential of a database.
WEB_ADDRESS = re.compile(r"^https?://")
# Would make one child listen where, or reach for, another does.
PLACES = re.compile(r"^THREADMILL_(?:BIND|HOST|PORT|CONFIG|.*_ADDRESS)$")


@dataclass(frozen=True, slots=True)
class Backends:
    """Where the data lives. Each service has its own DSN, though one server may hold all three schemas."""

    threads_dsn: str
    store_dsn: str
    runs_dsn: str
    redis_uri: str

    def dsns(self) -> dict[str, str]:
        """DSN by service."""
        return {"threads": self.threads_dsn, "store": self.store_dsn, "runs": self.runs_dsn}


def is_credential(name: str, value: str) -> bool:
    """Whether a variable opens a database or Redis."""
    if name.upper().endswith("_DSN") and WEB_ADDRESS.match(value):
        return False
    return bool(CREDENTIALS.match(name) or LIBPQ.match(name))


def without_credentials(environment: Environment) -> dict[str, str]:
    """What every child may inherit: the user's variables, but no credential and no address of a sibling."""
    return {
        name: value for name, value in environment.items() if not is_credential(name, value) and not PLACES.match(name)
    }


def service_environment(environment: Environment, own: Environment) -> dict[str, str]:
    """The environment of one service process: what may be inherited, then its own settings."""
    return {**without_credentials(environment), "PYTHONUNBUFFERED": "1", **own}


def libpq_environment(environment: Environment) -> dict[str, str]:
    """The variables with which the user completes external DSNs; for processes that own data only."""
    return {name: value for name, value in environment.items() if LIBPQ.match(name)}


def single_process_environment(service: str, environment: Environment) -> dict[str, str]:
    """For a process run by itself: everything is inherited, but credentials only by a service that owns data.

    Its DSN is THREADMILL_POSTGRES_DSN, else THREADMILL_<SERVICE>_POSTGRES_DSN, else DATABASE_URI; the Redis of the
    runs api is THREADMILL_REDIS_URI, else REDIS_URI. CannotRun when it needs one that is not there.
    """
    result = {name: value for name, value in environment.items() if not is_credential(name, value)}
    if service not in ("threads", "store", "runs"):
        return result
    dsn = environment.get("THREADMILL_POSTGRES_DSN") or dsn_of(service, environment)
    if not dsn:
        raise CannotRun(f"{service} has no database: set THREADMILL_POSTGRES_DSN or DATABASE_URI")
    own = {**libpq_environment(environment), "THREADMILL_POSTGRES_DSN": dsn}
    if service == "runs":
        redis = external_redis(environment)
        if redis is None:
            raise CannotRun("runs has no Redis: set THREADMILL_REDIS_URI or REDIS_URI")
        own["THREADMILL_REDIS_URI"] = redis
    return {**result, **own}


def system_environment(environment: Environment) -> dict[str, str]:
    """For PostgreSQL and Redis, which need none of the user's variables."""
    return {name: environment[name] for name in ("PATH", "LANG", "TZ", "TMPDIR") if name in environment}


def external_dsns(environment: Environment) -> dict[str, str] | None:
    """DSN by service when the environment names an external Postgres, else None; CannotRun if it names half."""
    shared = environment.get("DATABASE_URI", "")
    found = {name: dsn_of(name, environment) for name in ("threads", "store", "runs")}
    if shared or all(found.values()):
        return {name: dsn or shared for name, dsn in found.items()}
    if any(found.values()):
        missing = ", ".join(f"THREADMILL_{name.upper()}_POSTGRES_DSN" for name, dsn in found.items() if not dsn)
        raise CannotRun(f"{missing} is not set though others are: set all three, or DATABASE_URI for all of them")
    return None


def dsn_of(service: str, environment: Environment) -> str:
    """The DSN that the environment gives to one service ("threads", "store" or "runs"); empty when it gives none."""
    return environment.get(f"THREADMILL_{service.upper()}_POSTGRES_DSN") or environment.get("DATABASE_URI", "")


def external_redis(environment: Environment) -> str | None:
    """The Redis that the environment names, if any."""
    return environment.get("THREADMILL_REDIS_URI") or environment.get("REDIS_URI") or None


def needs_offline_model(environment: Environment, project: Environment) -> bool:
    """Whether neither the shell nor the project's own `env` says which OpenAI-compatible model to use."""
    names = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE")
    return not any(source.get(name) for source in (environment, project) for name in names)
