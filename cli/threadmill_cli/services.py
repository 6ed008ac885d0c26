"""The five service processes: their modules, addresses, and the order in which they start."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from threadmill_cli.config_settings import settings_of
from threadmill_cli.data_folder import DataFolder
from threadmill_cli.environment import (
    Backends,
    Environment,
    libpq_environment,
    service_environment,
    without_credentials,
)
from threadmill_cli.processes import ProcessSpec
from threadmill_cli.project import Project

MODULES = {
    "threads": "threadmill_threads",
    "store": "threadmill_store",
    "runs": "threadmill_runs.api",
    "executor": "threadmill_runs.executor",
    "gateway": "threadmill_gateway",
}
DATA_SERVICES = ("threads", "store", "runs")
OFFLINE_MODEL = "model"
OFFLINE_MODEL_MODULE = "threadmill_cli.offline_model"
# Short, for a developer who waits: what does not end by then is handed back (runs) or cut (requests).
SHUTDOWN_GRACE_SECONDS = "1"


def command(module: str, *arguments: str) -> tuple[str, ...]:
    """How to run a module. `-P`: a file of the user's project must never stand in for a library of ours."""
    return (sys.executable, "-P", "-m", module, *arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """Everything that decides how the services are run; `specs` of it are pure functions, made anew for each start.

    `settings` are the projects' own, by service; `extra` wins over everything.
    """

    folder: DataFolder
    backends: Backends
    environment: Environment
    host: str
    port: int
    slots: int | None = None
    log_level: str = "info"
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the gateway listens, as seen from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def api_url(self) -> str:
        """Base URL of the REST API, which may be below a prefix."""
        env = self.gateway().env
        prefix = env.get("THREADMILL_MOUNT_PREFIX", env.get("MOUNT_PREFIX", ""))
        return self.url + prefix.rstrip("/")

    @property
    def has_docs(self) -> bool:
        """Whether the API serves its documentation."""
        return "meta" not in self.gateway().env.get("THREADMILL_DISABLED_ROUTES", "").split(",")

    def address(self, name: str) -> str:
        """gRPC address of a service."""
        return f"unix:{self.folder.socket(name)}"

    def data_service(self, name: str) -> ProcessSpec:
        """Threads, store or runs: the only ones that are given credentials."""
        own = {
            **self.settings.get(name, {}),
            **libpq_environment(self.environment),
            "THREADMILL_POSTGRES_DSN": self.backends.dsns()[name],
        }
        if name == "runs":
            own["THREADMILL_REDIS_URI"] = self.backends.redis_uri
            own = {**self._unless_set(own, "THREADMILL_WEBHOOK_BASE_URL", self.url), **own}
        return self._spec(name, MODULES[name], own, self.folder.path)

    def executor(self, name: str, project: Project, model_url: str | None) -> ProcessSpec:
        """An executor of one project; `model_url` is the offline model's, when the user has configured none."""
        settings = settings_of(project, self.environment)["executor"]
        own = {
            **self._unless_set(settings, "THREADMILL_API_URL", self.api_url, "LANGGRAPH_API_URL"),
            **settings,
            "THREADMILL_CONFIG": str(project.config),
            "THREADMILL_DRAIN_SECONDS": SHUTDOWN_GRACE_SECONDS,
        }
        if self.slots is not None:
            own["THREADMILL_SLOTS"] = str(self.slots)  # the name that wins over N_JOBS_PER_WORKER of the shell
        if model_url is not None:
            own |= {"OPENAI_BASE_URL": model_url, "OPENAI_API_KEY": "offline"}
        return self._spec(name, MODULES["executor"], own, project.folder)

    def gateway(self) -> ProcessSpec:
        """The HTTP edge. Pages from the internet, such as LangGraph Studio, may call it: it is a developer's own."""
        settings = self.settings.get("gateway", {})
        own = {
            **self._unless_set(settings, "THREADMILL_CORS_ALLOW_PRIVATE_NETWORK", "true"),
            **settings,
            "THREADMILL_HOST": self.host,
            "THREADMILL_PORT": str(self.port),
            "THREADMILL_HTTP_DRAIN_SECONDS": SHUTDOWN_GRACE_SECONDS,
        }
        return self._spec("gateway", MODULES["gateway"], own, self.folder.path)

    def offline_model(self, port: int) -> ProcessSpec:
        """The stand-in for OpenAI, on a port of the loopback interface."""
        arguments = ("--host", "127.0.0.1", "--port", str(port), "--log-level", "warning")
        return ProcessSpec(
            name=OFFLINE_MODEL,
            argv=command(OFFLINE_MODEL_MODULE, *arguments),
            env=without_credentials(self.environment),
            cwd=self.folder.path,
        )

    def _unless_set(self, own: Mapping[str, str], name: str, value: str, *aliases: str) -> dict[str, str]:
        """A default of ours, which a variable of the shell or of the project replaces."""
        return (
            {}
            if any(each in source for each in (name, *aliases) for source in (own, self.environment))
            else {name: value}
        )

    def _spec(self, name: str, module: str, own: Mapping[str, str], cwd: Path) -> ProcessSpec:
        settings = {
            "THREADMILL_SHUTDOWN_GRACE_SECONDS": SHUTDOWN_GRACE_SECONDS,
            "THREADMILL_BIND": self.address(name),
            **{f"THREADMILL_{peer.upper()}_ADDRESS": self.address(peer) for peer in (*DATA_SERVICES, "executor")},
            "THREADMILL_LOG_FORMAT": "json",
            "THREADMILL_LOG_LEVEL": self.log_level,
            **own,
            **self.extra.get(name, {}),
        }
        return ProcessSpec(
            name=name, argv=command(module), env=service_environment(self.environment, settings), cwd=cwd
        )
