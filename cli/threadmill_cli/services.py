"""The five service processes: their modules, addresses, and the order in which they start."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
    """Everything that decides how the services are run; `specs` of it are pure functions, made anew for each start."""

    folder: DataFolder
    backends: Backends
    environment: Environment
    host: str
    port: int
    slots: int | None = None
    log_level: str = "info"
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def address(self, name: str) -> str:
        """gRPC address of a service."""
        return f"unix:{self.folder.socket(name)}"

    def data_service(self, name: str) -> ProcessSpec:
        """Threads, store or runs: the only ones that are given credentials."""
        own = {**libpq_environment(self.environment), "THREADMILL_POSTGRES_DSN": self.backends.dsns()[name]}
        if name == "runs":
            own["THREADMILL_REDIS_URI"] = self.backends.redis_uri
        return self._spec(name, MODULES[name], own, self.folder.path)

    def executor(self, name: str, project: Project, model_url: str | None) -> ProcessSpec:
        """An executor of one project; `model_url` is the offline model's, when the user has configured none."""
        own = {"THREADMILL_CONFIG": str(project.config), "THREADMILL_DRAIN_SECONDS": SHUTDOWN_GRACE_SECONDS}
        if self.slots is not None:
            own["N_JOBS_PER_WORKER"] = str(self.slots)
        if model_url is not None:
            own |= {"OPENAI_BASE_URL": model_url, "OPENAI_API_KEY": "offline"}
        return self._spec(name, MODULES["executor"], own, project.folder)

    def gateway(self) -> ProcessSpec:
        """The HTTP edge."""
        own = {
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
