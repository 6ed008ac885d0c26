"""Entry point of the store process."""

from threadmill_chassis import logs
from threadmill_chassis.lifecycle import run_process, supervised

from threadmill_store.settings import StoreSettings
from threadmill_store.wiring import build


def main() -> None:
    """Serves the store until SIGTERM or SIGINT."""
    run_process(_serve)


async def _serve() -> None:
    settings = StoreSettings()
    logs.configure(settings, "store")
    async with build(settings) as application:
        await supervised(sweeper=application.sweeper.run())
