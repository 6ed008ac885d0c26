"""Settings of the executor. There are no credentials among them, and a test sees to it."""

import os
import socket
from pathlib import Path

from pydantic import AliasChoices, Field
from threadmill_chassis.ids import new_id
from threadmill_chassis.settings import ProcessSettings


def _executor_id() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{new_id()[-12:]}"


class ExecutorSettings(ProcessSettings):
    """Environment variables THREADMILL_*; the number of slots keeps the name that LangGraph deployments use."""

    bind: str = "127.0.0.1:8204"
    threads_address: str = "127.0.0.1:8201"
    store_address: str = "127.0.0.1:8202"
    runs_address: str = "127.0.0.1:8203"
    config: Path = Path("langgraph.json")
    executor_id: str = Field(default_factory=_executor_id)
    slots: int = Field(
        default=32, gt=0, le=1000, validation_alias=AliasChoices("THREADMILL_SLOTS", "N_JOBS_PER_WORKER")
    )
    api_url: str = Field(default="", validation_alias=AliasChoices("THREADMILL_API_URL", "LANGGRAPH_API_URL"))
    drain_seconds: float = Field(default=30.0, ge=0)
    checkpoint_pickle: bool = False
    """Pickle what msgpack cannot encode, and unpickle it: whoever can write checkpoints can then run code here."""
