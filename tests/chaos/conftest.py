"""Systems to break: one for each test, with short leases so that recovery is seen in seconds."""

from collections.abc import AsyncIterator
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
