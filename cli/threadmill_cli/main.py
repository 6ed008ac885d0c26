"""The `threadmill` command."""

import asyncio
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from threadmill_cli.config_settings import SERVICES, settings_of
from threadmill_cli.dev import default_data_folder, run_dev
from threadmill_cli.embedded import postgres, redis
from threadmill_cli.environment import dsn_of, single_process_environment
from threadmill_cli.migrations import SCHEMAS, migrate_all
from threadmill_cli.output import LogFormat, Output
from threadmill_cli.preflight import check_postgres
from threadmill_cli.project import load_project
from threadmill_cli.refusal import CannotRun
from threadmill_cli.services import MODULES, command
from threadmill_cli.stack import StackOptions

DEFAULT_PORT = 8123
DATABASES = frozenset({postgres.NAME, redis.NAME})
HELP = {
    "threads": "Run the threads service alone: threads and their checkpoints. Needs PostgreSQL.",
    "store": "Run the store service alone: long-term memory. Needs PostgreSQL.",
    "runs": "Run the runs api alone: assistants, runs, crons, the queue. Needs PostgreSQL and Redis.",
    "executor": "Run an executor alone: it runs the graphs of a langgraph.json, and holds no credentials.",
    "gateway": "Run the gateway alone: the REST API.",
}
COMMON_HELP = "\n\nSettings come from the environment, which docs/configuration.md lists; it wins over the file."


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Threadmill: an open, self-hosted server for LangGraph applications."""


@main.command()
@click.option("--config", "-c", type=click.Path(path_type=Path), default=Path("langgraph.json"), show_default=True,
              help="The project's langgraph.json.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the REST API listens on.")
@click.option("--port", "-p", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), default=None,
              help="Where PostgreSQL and Redis keep their data.  [default: .threadmill beside the config]")  # fmt: skip
@click.option("--reload/--no-reload", default=True, show_default=True, help="Restart the executor when code changes.")
@click.option("--n-jobs-per-worker", type=click.IntRange(min=1), default=None,
              help="Runs that the executor works on at once.")  # fmt: skip
@click.option("--log-format", type=click.Choice(["console", "json"]), default="console", show_default=True)
@click.option("--verbose", "-v", is_flag=True, help="Show debug messages too.")
def dev(
    *,
    config: Path,
    host: str,
    port: int,
    data_dir: Path | None,
    reload: bool,
    n_jobs_per_worker: int | None,
    log_format: LogFormat,
    verbose: bool,
) -> None:
    """Run everything on this machine, with nothing to install.

    DATABASE_URI and REDIS_URI, when set, are used instead of the embedded PostgreSQL and Redis.
    """
    options = StackOptions(
        configs=(config,),
        data=data_dir or default_data_folder(config),
        host=host,
        port=port,
        slots=n_jobs_per_worker,
        log_level="debug" if verbose else "info",
    )
    output = Output(log_format, hidden=frozenset() if verbose else DATABASES)
    asyncio.run(run_dev(options, output, reload=reload))


@main.command()
def migrate() -> None:
    """Bring the database schemas up to date.

    Reads THREADMILL_THREADS_POSTGRES_DSN, THREADMILL_STORE_POSTGRES_DSN and THREADMILL_RUNS_POSTGRES_DSN, and
    DATABASE_URI for each that is not set. Only schemas that have an address are migrated.
    """
    dsns = {service: dsn for service in SCHEMAS if (dsn := dsn_of(service, os.environ))}
    if not dsns:
        raise CannotRun("no database is named: set DATABASE_URI, or THREADMILL_THREADS_POSTGRES_DSN and so on")
    for service, count in asyncio.run(_migrate(dsns)).items():
        click.echo(f"{service}: {count} migrations applied" if count else f"{service}: up to date")


async def _migrate(dsns: dict[str, str]) -> dict[str, int]:
    for dsn in sorted(set(dsns.values())):
        await check_postgres(dsn)
    return await migrate_all(dsns)


@main.command("version")
def show_version() -> None:
    """Show the versions of Threadmill, LangGraph and Python."""
    for package in ("threadmill-cli", "langgraph", "langgraph-sdk"):
        try:
            click.echo(f"{package} {version(package)}")
        except PackageNotFoundError:
            click.echo(f"{package} is not installed")
    click.echo(f"python {platform.python_version()}")


def _add_process_command(service: str) -> None:
    @main.command(service, help=HELP[service] + COMMON_HELP)
    @click.option("--config", "-c", type=click.Path(path_type=Path), default=None,
                  help="A langgraph.json, whose settings for this process are used.")  # fmt: skip
    def run(config: Path | None) -> None:
        if service == "executor":
            config = config or Path(os.environ.get("THREADMILL_CONFIG", "langgraph.json"))
        environment = single_process_environment(service, os.environ)
        if config is not None:
            environment |= _settings_from(config, service)
        argv = command(MODULES[service])
        os.execve(argv[0], argv, environment)


def _settings_from(config: Path, service: str) -> dict[str, str]:
    project = load_project(config)
    settings = settings_of(project, os.environ)
    if service != "executor":
        return settings[service]
    if others := [name for name in SERVICES if settings[name].keys() - settings["executor"].keys()]:
        text = f"{project.config} has settings of {', '.join(others)}: start them with --config too"
        click.echo(text, err=True)
    return {**settings["executor"], "THREADMILL_CONFIG": str(project.config)}


for _service in MODULES:
    _add_process_command(_service)
