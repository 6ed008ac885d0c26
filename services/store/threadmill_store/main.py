"""Entry point of the store process."""

from threadmill_chassis.lifecycle import run_process, supervised
from threadmill_chassis.startup import read_settings

from threadmill_store.settings import StoreSettings
from threadmill_store.wiring import build


def main() -> None:
    """Serves the store until SIGTERM or SIGINT."""
    run_process(_serve)


async def _serve() -> None:
    settings = read_settings(StoreSettings, "store")
    async with build(settings) as application:
        await supervised(**application.duties())
