"""The whole system as real processes on one machine: what `threadmill dev` runs, and what end-to-end tests drive.

    async with open_stack(StackOptions(configs=(config,), data=tmp_path)) as stack:
        client = get_client(url=stack.url)
        stack.kill("executor")

Processes: postgres, redis (unless external), model (if needed), threads, store, runs, executor (executor-2, … for
further configs), gateway.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from threadmill_cli.config_settings import settings_of_all
from threadmill_cli.data_folder import DataFolder, hold_data_folder
from threadmill_cli.embedded import postgres, redis
from threadmill_cli.environment import Backends, Environment, external_dsns, external_redis, needs_offline_model
from threadmill_cli.migrations import migrate_all
from threadmill_cli.output import Output
from threadmill_cli.preflight import check_port, check_postgres, check_redis, create_database, free_port, place_of
from threadmill_cli.processes import ProcessSpec
from threadmill_cli.project import Project, load_project
from threadmill_cli.readiness import grpc_ready, http_ready, postgres_ready, redis_ready
from threadmill_cli.refusal import CannotRun
from threadmill_cli.services import DATA_SERVICES, OFFLINE_MODEL, ServicePlan
from threadmill_cli.supervisor import Supervisor, together

STOP_SECONDS = 1.2
LONG_STOP_SECONDS = 2.5  # Postgres writes a checkpoint; an executor drains, and hands back what it cannot finish


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What to start. One executor per config, in that order; the same path twice gives two executors of it.

    `port` 0 takes a free one. `environment` is what the processes may inherit (credentials are taken out, and
    DATABASE_URI and REDIS_URI of it are used). `extra` adds variables by process name, such as
    `{"runs": {"THREADMILL_LEASE_SECONDS": "2"}}`. `restart` False leaves a process that died dead.
    """

    configs: tuple[Path, ...]
    data: Path
    host: str = "127.0.0.1"
    port: int = 0
    slots: int | None = None
    restart: bool = True
    log_level: str = "info"
    environment: Environment = field(default_factory=lambda: dict(os.environ))
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Stack:
    """A started system. Names are those of the module's docstring; an unknown one raises KeyError."""

    def __init__(self, options: StackOptions, folder: DataFolder, projects: list[Project], output: Output) -> None:
        self.options = options
        self.folder = folder
        self.projects = projects
        self.output = output
        self.settings = settings_of_all(projects, options.environment)
        self.supervisor = Supervisor(output, restart=options.restart)
        self.port = options.port or free_port()
        self.backends = Backends("", "", "", "")  # known once the databases run
        self._model_port: int | None = None

    @property
    def url(self) -> str:
        """Where the gateway listens, without the prefix that the API may have."""
        return self.plan.url

    @property
    def executors(self) -> dict[str, Project]:
        """The project of each executor, by process name."""
        return {f"executor-{n}" if n > 1 else "executor": project for n, project in enumerate(self.projects, 1)}

    @property
    def uses_offline_model(self) -> bool:
        """Whether any executor is sent to the offline model."""
        return any(self._needs_model(project) for project in self.projects)

    def pid(self, name: str) -> int:
        """Process id of the present process."""
        return self.supervisor.process(name).pid

    def alive(self, name: str) -> bool:
        """Whether the process runs (or is paused)."""
        return self.supervisor.process(name).alive

    def environment_of(self, name: str) -> Mapping[str, str]:
        """The environment that the process was given."""
        return self.supervisor.process(name).spec.env

    def kill(self, name: str) -> None:
        """SIGKILL. The process is restarted unless `keep(name, False)` or `restart=False`."""
        self.supervisor.send(name, signal.SIGKILL)

    def terminate(self, name: str) -> None:
        """SIGTERM: the process drains and ends by itself."""
        self.supervisor.send(name, signal.SIGTERM)

    def pause(self, name: str) -> None:
        """SIGSTOP: the process exists but does nothing, like a machine that hangs."""
        self.supervisor.send(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self.supervisor.send(name, signal.SIGCONT)

    def keep(self, name: str, restart: bool) -> None:
        """Whether the process is restarted when it dies."""
        self.supervisor.members[name].keep = restart

    async def wait_ended(self, name: str) -> int:
        """Waits for the present process to end; answers its exit code, negative for a signal."""
        return await self.supervisor.process(name).wait()

    async def wait_ready(self, name: str) -> None:
        """Waits until the process (after a kill: its successor) is ready to serve."""
        await self.supervisor.members[name].serving.wait()

    async def stop_process(self, name: str, grace_seconds: float = 2.5) -> None:
        """Stops one process, which stays stopped until `start_process`."""
        await self.supervisor.stop(name, grace_seconds)

    async def start_process(self, name: str) -> None:
        """Starts a process that was stopped, or has died and is not kept; waits until it is ready."""
        await self.supervisor.start(name)

    async def restart_process(self, name: str) -> None:
        """Stops and starts one process; the executor reads its project anew."""
        await self.supervisor.stop(name)
        await self.supervisor.start(name)

    async def reload(self) -> None:
        """Reads the configs again and restarts the executors. CannotRun, with nothing stopped, if one is wrong."""
        projects = [load_project(project.config) for project in self.projects]
        settings = settings_of_all(projects, self.options.environment)
        self.projects[:] = projects
        if changed := sorted(name for name, found in settings.items() if found != self.settings[name]):
            self.output.say(f"settings of {', '.join(changed)} changed: stop and start to apply them", warning=True)
        await self._start_model()
        for name in self.executors:
            await self.restart_process(name)
        self._check_graphs()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts everything in order; raises CannotRun for the first thing that does not."""
        check_port(self.options.host, self.port)
        self.backends = await self._start_databases()
        await migrate_all(self.backends.dsns())
        await together(
            self._start_model(),
            *(self._add_service(name, partial(self.plan.data_service, name)) for name in DATA_SERVICES),
        )
        await together(*(self._add_service(name, partial(self._executor_spec, name)) for name in self.executors))
        # Last: who waits for its /ok finds the graphs announced.
        await self.supervisor.add("gateway", self.plan.gateway, lambda: http_ready(f"{self.url}/ok"))
        self._check_graphs()

    async def stop(self) -> None:
        """Stops everything: what takes requests first, what keeps data last."""
        self.supervisor.ending = True
        order = ["gateway", *self.executors, OFFLINE_MODEL, "runs", "store", "threads", redis.NAME, postgres.NAME]
        for name in order:
            if name in self.supervisor.members:
                seconds = LONG_STOP_SECONDS if name == postgres.NAME or name in self.executors else STOP_SECONDS
                await self.supervisor.stop(name, seconds)

    @property
    def plan(self) -> ServicePlan:
        """How the services are run."""
        options = self.options
        return ServicePlan(
            folder=self.folder,
            backends=self.backends,
            environment=options.environment,
            host=options.host,
            port=self.port,
            slots=options.slots,
            log_level=options.log_level,
            settings=self.settings,
            extra=options.extra,
        )

    async def _start_databases(self) -> Backends:
        options = self.options
        dsns, redis_uri = external_dsns(options.environment), external_redis(options.environment)
        for dsn in sorted(set(dsns.values())) if dsns else ():
            self.output.say(f"  postgres  version {await check_postgres(dsn)} at {place_of(dsn)}")
        if redis_uri:
            self.output.say(f"  redis     version {await check_redis(redis_uri)} at {place_of(redis_uri)}")
        if dsns is None:
            dsns = dict.fromkeys(DATA_SERVICES, await self._start_postgres())
        return Backends(
            **{f"{name}_dsn": dsn for name, dsn in dsns.items()}, redis_uri=redis_uri or await self._start_redis()
        )

    async def _start_postgres(self) -> str:
        server = await postgres.prepare_postgres(self.folder, self.options.environment, self.output)
        await self.supervisor.add(
            postgres.NAME, lambda: server.spec, lambda: postgres_ready(server.dsn(postgres.SUPERUSER))
        )
        await create_database(server.dsn())
        return server.dsn()

    async def _start_redis(self) -> str:
        server = redis.prepare_redis(self.folder, self.options.environment)
        await self.supervisor.add(redis.NAME, lambda: server.spec, lambda: redis_ready(server.uri))
        return server.uri

    async def _add_service(self, name: str, make_spec: Callable[[], ProcessSpec]) -> None:
        await self.supervisor.add(name, make_spec, lambda: grpc_ready(self.plan.address(name)))

    def _executor_spec(self, name: str) -> ProcessSpec:
        project = self.executors[name]
        model = f"http://127.0.0.1:{self._model_port}/v1" if self._needs_model(project) else None
        return self.plan.executor(name, project, model)

    def _check_graphs(self) -> None:
        """Says which graphs did not load; CannotRun when none of a project did."""
        for name, project in self.executors.items():
            errors = self.supervisor.process(name).graph_errors
            said = "; ".join(f"{graph}: {error}" for graph, error in errors.items())
            if "ModuleNotFoundError" in said:
                said += f"; install what is missing into {sys.prefix}"
            if errors.keys() >= set(project.graphs):
                raise CannotRun(f"no graph of {project.config} loads ({said}): correct it; the traceback is above")
            if errors:
                self.output.say(f"not every graph of {project.config} loads ({said})", warning=True)

    def _needs_model(self, project: Project) -> bool:
        return needs_offline_model(self.options.environment, project.env)

    async def _start_model(self) -> None:
        if not self.uses_offline_model or self._model_port is not None:
            return
        port = self._model_port = free_port()
        await self.supervisor.add(
            OFFLINE_MODEL, lambda: self.plan.offline_model(port), lambda: http_ready(f"http://127.0.0.1:{port}/health")
        )


@contextmanager
def hold_stack(options: StackOptions, output: Output) -> Iterator[Stack]:
    """The system, not started yet, with its data folder held for the block; `async with stack` starts and stops it.

    CannotRun when a config is wrong or the data folder is in use.
    """
    projects = [load_project(config) for config in options.configs]
    with hold_data_folder(options.data) as folder:
        yield Stack(options, folder, projects, output)


@asynccontextmanager
async def open_stack(options: StackOptions, output: Output | None = None) -> AsyncIterator[Stack]:
    """The started system for the block; everything is stopped after it. CannotRun if it cannot start."""
    with hold_stack(options, output or Output(hidden=frozenset({postgres.NAME, redis.NAME}))) as stack:
        async with stack:
            yield stack
