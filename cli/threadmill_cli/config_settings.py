"""From what a langgraph.json sets to the environment variables of the processes that own the settings.

Variables of the shell win over the file's `env`, and both over its sections.
"""

import json
import re
from collections.abc import Iterable, Mapping

from threadmill_cli.config_sections import Cors, HeaderRule, Http, Sections, Webhooks
from threadmill_cli.environment import PLACES, Environment, is_credential
from threadmill_cli.project import Project
from threadmill_cli.refusal import CannotRun

Variables = dict[str, str]
Settings = Mapping[str, Mapping[str, str]]
SERVICES = ("gateway", "threads", "store", "runs")
# Settings that have a second name, by which LangGraph deployments know them.
ALIASES = {"THREADMILL_MOUNT_PREFIX": "MOUNT_PREFIX", "THREADMILL_CORS_ALLOW_ORIGINS": "CORS_ALLOW_ORIGINS"}
# What `env` of a langgraph.json may set beside THREADMILL_*: other servers of LangGraph read these from there too.
RUN_TIME = frozenset(
    {
        "BG_JOB_MAX_RETRIES", "BG_JOB_TIMEOUT_SECS", "CORS_ALLOW_ORIGINS", "HTTP_MAX_REQUEST_BODY_BYTES",
        "LANGGRAPH_API_URL", "MOUNT_PREFIX", "N_JOBS_PER_WORKER", "RESUMABLE_STREAM_TTL_SECONDS",
    }
)  # fmt: skip
GROUPS = ("assistants", "threads", "runs", "store", "meta", "mcp", "a2a", "ui")
TEMPLATE = re.compile(r"\$\{\{\s*env\.(\w+)\s*\}\}")


def settings_of(project: Project, environment: Environment) -> dict[str, Variables]:
    """Variables by process: the services, and "executor". Only what `environment` does not set itself.

    CannotRun when a header template names a variable that it must not, or that does not exist.
    """
    of_env = run_time_variables(project.env, environment)
    sections = project.sections
    of_sections = {
        "gateway": {**_http(sections.http), **_webhook_urls(sections.webhooks)},
        "threads": _threads(sections),
        "store": _store(sections),
        "runs": _runs(project, environment),
    }
    known = {**of_env, **environment}
    free = {
        service: {name: value for name, value in found.items() if name not in known and ALIASES.get(name) not in known}
        for service, found in of_sections.items()
    }
    return {"executor": of_env, **{service: {**found, **of_env} for service, found in free.items()}}


def settings_of_all(projects: Iterable[Project], environment: Environment) -> dict[str, Variables]:
    """The variables of the services, which all projects share. CannotRun when two of them disagree."""
    merged: dict[str, Variables] = {service: {} for service in SERVICES}
    for project in projects:
        found = settings_of(project, environment)
        for service, variables in merged.items():
            for name, value in found[service].items():
                if variables.setdefault(name, value) != value:
                    raise CannotRun(f"{project.config} sets {name} for {service} to something else than another config")
    return merged


def run_time_variables(env: Mapping[str, str], environment: Environment) -> Variables:
    """Those variables of a project's `env` that are settings of ours, unless the shell sets them."""
    return {
        name: value
        for name, value in env.items()
        if (name in RUN_TIME or name.startswith("THREADMILL_"))
        and not (name in environment or PLACES.match(name) or is_credential(name, value))
    }


def _http(http: Http) -> Variables:
    found = {
        "THREADMILL_MOUNT_PREFIX": http.mount_prefix,
        "THREADMILL_DISABLED_ROUTES": _list(group for group in GROUPS if getattr(http, f"disable_{group}")),
        "THREADMILL_CONFIGURABLE_HEADERS": _rule(http.configurable_headers),
        "THREADMILL_LOGGING_HEADERS": _rule(http.logging_headers),
    }
    return {**_present(found), **(_cors(http.cors) if http.cors else {})}


def _cors(cors: Cors) -> Variables:
    regex = {"THREADMILL_CORS_ALLOW_ORIGIN_REGEX": cors.allow_origin_regex} if cors.allow_origin_regex else {}
    return {
        **regex,
        "THREADMILL_CORS_ALLOW_ORIGINS": ",".join(cors.allow_origins),
        "THREADMILL_CORS_ALLOW_METHODS": ",".join(cors.allow_methods),
        "THREADMILL_CORS_ALLOW_HEADERS": ",".join(cors.allow_headers),
        "THREADMILL_CORS_ALLOW_CREDENTIALS": _flag(cors.allow_credentials),
        "THREADMILL_CORS_EXPOSE_HEADERS": ",".join(cors.expose_headers),
        "THREADMILL_CORS_MAX_AGE_SECONDS": str(cors.max_age),
    }


def _rule(rule: HeaderRule | None) -> str | None:
    return json.dumps({"includes": rule.includes or [], "excludes": rule.excludes or []}) if rule else None


def _webhook_urls(webhooks: Webhooks) -> Variables:
    url = webhooks.url
    if url is None:
        return {}
    return _present(
        {
            "THREADMILL_WEBHOOK_REQUIRE_HTTPS": _flag(url.require_https),
            "THREADMILL_WEBHOOK_ALLOWED_DOMAINS": _list(url.allowed_domains),
            "THREADMILL_WEBHOOK_ALLOWED_PORTS": _list(str(port) for port in url.allowed_ports),
            "THREADMILL_WEBHOOK_MAX_URL_LENGTH": _number(url.max_url_length),
            "THREADMILL_WEBHOOK_ALLOW_LOOPBACK": _flag(not url.disable_loopback),
        }
    )


def _runs(project: Project, environment: Environment) -> Variables:
    http, webhooks = project.sections.http, project.sections.webhooks
    variables = {**project.env, **environment}
    headers = {name: _filled(project, webhooks, name, text, variables) for name, text in webhooks.headers.items()}
    return _present(
        {
            "THREADMILL_WEBHOOK_ENABLED": _flag(False) if http.disable_webhooks else None,
            "THREADMILL_WEBHOOK_ALLOW_LOOPBACK": _flag(not webhooks.url.disable_loopback) if webhooks.url else None,
            "THREADMILL_WEBHOOK_HEADERS": json.dumps(headers) if headers else None,
        }
    )


def _filled(project: Project, webhooks: Webhooks, header: str, text: str, variables: Environment) -> str:
    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        place = f'"webhooks.headers.{header}" in {project.config} uses the variable {name}'
        if not name.startswith(webhooks.env_prefix):
            raise CannotRun(f'{place}, which does not begin with "webhooks.env_prefix" ({webhooks.env_prefix})')
        if name not in variables:
            raise CannotRun(f"{place}, which is not set: set it in the shell or in the file's env")
        return variables[name]

    filled = TEMPLATE.sub(value_of, text)
    if "${{" in TEMPLATE.sub("", text):
        raise CannotRun(f'"webhooks.headers.{header}" in {project.config} is no template: write ${{{{ env.NAME }}}}')
    return filled


def _threads(sections: Sections) -> Variables:
    ttl = sections.checkpointer.ttl
    if ttl is None:
        return {}
    return _present(
        {
            "THREADMILL_TTL_DEFAULT_STRATEGY": ttl.strategy,
            "THREADMILL_TTL_DEFAULT_MINUTES": _number(ttl.default_ttl),
            "THREADMILL_TTL_SWEEP_INTERVAL_MINUTES": _number(ttl.sweep_interval_minutes),
            "THREADMILL_TTL_SWEEP_LIMIT": _number(ttl.sweep_limit),
        }
    )


def _store(sections: Sections) -> Variables:
    ttl = sections.store.ttl
    if ttl is None:
        return {}
    return _present(
        {
            "THREADMILL_STORE_TTL_REFRESH_ON_READ": _flag(ttl.refresh_on_read),
            "THREADMILL_STORE_TTL_DEFAULT_MINUTES": _number(ttl.default_ttl),
            "THREADMILL_STORE_TTL_SWEEP_INTERVAL_MINUTES": _number(ttl.sweep_interval_minutes),
        }
    )


def _present(found: Mapping[str, str | None]) -> Variables:
    return {name: value for name, value in found.items() if value is not None}


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _number(value: float | None) -> str | None:
    return None if value is None else str(value)


def _list(parts: Iterable[str]) -> str | None:
    return ",".join(parts) or None
