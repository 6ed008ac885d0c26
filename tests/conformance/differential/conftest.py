"""Options and connections of the differential tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from .recording import Recorder
from .report import Report

URL_OPTIONS = ("--reference-url", "--threadmill-url")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("differential", "compare Threadmill with a reference server")
    group.addoption("--reference-url", help="base URL of a running reference server (langgraph dev)")
    group.addoption("--threadmill-url", help="base URL of a running Threadmill with the same application")
    group.addoption("--differences-to", type=Path, help="write every difference found, accepted ones too, to this file")


@pytest.fixture(scope="session")
def urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Base URLs of both servers; skips when one of them was not given."""
    reference, threadmill = (request.config.getoption(option, default=None) for option in URL_OPTIONS)
    if not (reference and threadmill):
        pytest.skip("needs a running reference: --reference-url http://… --threadmill-url http://…")
    return str(reference), str(threadmill)


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    """Where differences are written, if anywhere."""
    return Report(request.config.getoption("--differences-to", default=None))


@pytest.fixture
async def recorders(urls: tuple[str, str]) -> AsyncIterator[tuple[Recorder, Recorder]]:
    """Recorders of the reference and of Threadmill."""
    timeout = httpx.Timeout(60)
    # The reference closes the connection after an answer of 500; a pooled one would then fail the next request.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(base_url=urls[0], timeout=timeout, limits=limits) as reference,
        httpx.AsyncClient(base_url=urls[1], timeout=timeout, limits=limits) as threadmill,
    ):
        yield Recorder(reference), Recorder(threadmill)
