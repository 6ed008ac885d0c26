"""One running system for all end-to-end tests, and the clients that they reach it with."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import Stack, StackOptions, open_stack

from .driving import Gate

APP = Path(__file__).parent / "app" / "langgraph.json"
# Nothing else of the developer's shell: no model key, no database.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
HEARTBEAT_SECONDS = 0.5


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Every process of Threadmill with the application in `app`; heartbeats come fast, so that tests see some."""
    options = StackOptions(
        configs=(APP,),
        data=tmp_path_factory.mktemp("data"),
        environment=ENVIRONMENT,
        extra={
            "gateway": {"THREADMILL_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS)},
            "threads": {"THREADMILL_TTL_SWEEP_INTERVAL_MINUTES": "0.01"},
            "store": {"THREADMILL_STORE_TTL_SWEEP_INTERVAL_MINUTES": "0.01"},
        },
    )
    async with open_stack(options) as started:
        yield started


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[LangGraphClient]:
    """The unmodified SDK."""
    async with get_client(url=stack.url) as opened:
        yield opened


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP, for what the SDK hides."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as opened:
        yield opened


@pytest.fixture
async def thread_id(client: LangGraphClient) -> str:
    """A fresh thread."""
    return str((await client.threads.create())["thread_id"])


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A closed gate."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def open_gate(tmp_path: Path) -> Gate:
    """A gate that stands open from the start."""
    opened = Gate(tmp_path / "open-gate")
    opened.open()
    return opened
