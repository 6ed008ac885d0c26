"""Options and connections of the differential tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from .recordings import Recordings
from .report import Report
from .scripts import SCRIPTS
from .servers import copy_application, reference_server, threadmill_server

Urls = tuple[str, str]

URL_OPTIONS = ("--reference-url", "--threadmill-url")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("differential", "compare Threadmill with a reference server")
    group.addoption("--reference-environment", type=Path, help="virtual environment to start the reference from")
    group.addoption("--reference-url", help="base URL of a running reference server (langgraph dev)")
    group.addoption("--threadmill-url", help="base URL of a running Threadmill with the same application")
    group.addoption("--differences-to", type=Path, help="write every difference found, accepted ones too, to this file")


@pytest.fixture(scope="session")
async def urls(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Urls]:
    """Base URLs of both servers, which are started unless both are given; skips without means for that."""
    reference, threadmill = (request.config.getoption(option, default=None) for option in URL_OPTIONS)
    environment = request.config.getoption("--reference-environment", default=None)
    if reference and threadmill:
        yield str(reference), str(threadmill)
    elif environment is None:
        pytest.skip("needs the reference server: make conformance")
    else:
        folder = tmp_path_factory.mktemp("differential")
        config = copy_application(folder / "app")
        async with (
            reference_server(environment, config, folder / "reference.log") as reference,
            threadmill_server(config, folder / "data") as threadmill,
        ):
            yield reference, threadmill


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    """Where differences are written, if anywhere."""
    return Report(request.config.getoption("--differences-to", default=None))


@pytest.fixture(scope="session")
async def recordings(request: pytest.FixtureRequest, urls: Urls) -> AsyncIterator[Recordings]:
    """The recordings of all scripts whose tests were selected."""
    calls = (getattr(item, "callspec", None) for item in request.session.items)
    names = [call.params["name"] for call in calls if call is not None and call.params.get("name") in SCRIPTS]
    timeout = httpx.Timeout(60)
    # The reference closes the connection after an answer of 500; a pooled one would then fail the next request.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(base_url=urls[0], timeout=timeout, limits=limits) as reference,
        httpx.AsyncClient(base_url=urls[1], timeout=timeout, limits=limits) as threadmill,
        Recordings(names, reference, threadmill) as running,
    ):
        yield running
