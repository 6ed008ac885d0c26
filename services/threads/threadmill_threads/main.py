"""The process."""

from threadmill_chassis.lifecycle import run_process, supervised
from threadmill_chassis.startup import read_settings

from threadmill_threads import wiring
from threadmill_threads.settings import ThreadsSettings


def main() -> None:
    """Serves until SIGTERM or SIGINT, with settings from the environment (THREADMILL_…)."""
    settings = read_settings(ThreadsSettings, "threads")
    run_process(lambda: _serve(settings))


async def _serve(settings: ThreadsSettings) -> None:
    async with wiring.build(settings) as service:
        await supervised(sweeper=service.sweeper.run())
