"""Systems to break: one for each test, with short leases so that recovery is seen in seconds; and what was measured."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from application import APP, SHORT_LEASES
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import Stack, StackOptions, open_stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """The whole system as real processes; what dies is started again, as an orchestrator would."""
    options = StackOptions(configs=(APP,), data=tmp_path / "data", extra={"runs": SHORT_LEASES})
    async with open_stack(options) as started:
        yield started


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[LangGraphClient]:
    """The official client."""
    async with get_client(url=stack.url) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Recovery:
    """One fault, as the clients of two hundred runs saw it. Seconds."""

    fault: str
    saw: str
    # Time from the fault to the first new progress of a run that was under way: half of these runs, all of them.
    progress_median: float
    progress_worst: float
    # From the first request to the last end of a stream.
    total: float


RECOVERIES = pytest.StashKey[list[Recovery]]()


@pytest.fixture(scope="session")
def recoveries(pytestconfig: pytest.Config) -> list[Recovery]:
    """What has been measured so far; shown at the end of the session."""
    return pytestconfig.stash.setdefault(RECOVERIES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table: fault, what the clients saw, how long recovery took."""
    measured = config.stash.get(RECOVERIES, [])
    if not measured:
        return
    calm = next((each.total for each in measured if each.fault == "undisturbed"), None)
    terminalreporter.section("recovery from faults, 200 runs in flight, leases of 3 s")
    terminalreporter.write_line(
        f"{'fault':<28} {'progress again: median':>22} {'worst':>7} {'total':>7} {'added':>7}  saw"
    )
    for each in measured:
        added = f"{each.total - calm:6.1f}s" if calm is not None else "      -"
        terminalreporter.write_line(
            f"{each.fault:<28} {each.progress_median:21.2f}s {each.progress_worst:6.2f}s {each.total:6.1f}s {added}"
            f"  {each.saw}"
        )
