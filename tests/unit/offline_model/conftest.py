"""A running offline model, reached by real clients on a free port of this machine."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "task_maistro"
EXAMPLE_MODULES = ("configuration", "documents", "prompts", "task_maistro")

if str(ROOT / "cli") not in sys.path:
    sys.path.insert(0, str(ROOT / "cli"))


class _Server(uvicorn.Server):
    """Says when it accepts connections, so that nobody has to poll."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()


@pytest.fixture(scope="session")
def offline_url() -> Iterator[str]:
    """The base URL, with `/v1`, of a server in a thread."""
    from threadmill_cli.offline_model.app import create_app

    listener = socket.create_server(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(create_app(), log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="offline-model")
    thread.start()
    assert server.ready.wait(10), "the offline model did not start"
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture
def openai_env(offline_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which OpenAI's clients talk to the offline model."""
    monkeypatch.setenv("OPENAI_BASE_URL", offline_url)
    monkeypatch.setenv("OPENAI_API_KEY", "offline")
    for name in ("OPENAI_API_BASE", "OPENAI_MODEL", "OPENAI_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


@pytest.fixture
def example(openai_env: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the example, imported anew, as a server would import it."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # trustcall imports names that langgraph has moved
        yield importlib.import_module("task_maistro")
    for name in EXAMPLE_MODULES:
        sys.modules.pop(name, None)
