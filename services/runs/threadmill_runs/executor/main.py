"""Entry point of the executor process."""

from threadmill_chassis.lifecycle import run_process
from threadmill_chassis.startup import read_settings

from threadmill_runs.executor.graphs.config_file import read_config
from threadmill_runs.executor.settings import ExecutorSettings


def main() -> None:
    """Loads the application, then executes its runs until SIGTERM or SIGINT, and drains."""
    run_process(_execute)


async def _execute() -> None:
    settings = read_settings(ExecutorSettings, "executor")
    config = read_config(settings.config)
    # LangGraph, LangChain and LangSmith read some variables as they are imported: those of the application must be
    # there before. Its folders follow after the imports, lest a file in them stand in for a library of ours.
    config.apply_env()
    from threadmill_runs.executor.serve import serve  # noqa: PLC0415  # see above

    await serve(settings, config)
