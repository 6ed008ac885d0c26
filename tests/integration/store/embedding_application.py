"""An application whose langgraph.json has `store.index`, and an executor's part that embeds for it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from threadmill_chassis.grpc_server import serving
from threadmill_runs.executor.embedding.servicer import registration
from threadmill_runs.executor.loops import UserLoops
from threadmill_runs.executor.settings import ExecutorSettings

# Each text becomes how often it has each of these words; what was asked is written down, a line for each call.
WORDS = ("tea", "sea", "car")
EMBED = f"""
import json
from pathlib import Path

CALLS = Path(__file__).with_name("calls.txt")


def embed(texts):
    with CALLS.open("a") as file:
        file.write(json.dumps(list(texts)) + "\\n")
    if any("poison" in text for text in texts):
        raise ValueError("poison")
    return [[float(text.split().count(word)) for word in {WORDS!r}] for text in texts]


async def embed_async(texts):
    return [[float(text.split().count(word)) for word in {WORDS[::-1]!r}] for text in texts]
"""


class Application:
    """A folder with langgraph.json and the user's embedder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "embed.py").write_text(EMBED)
        self.address = f"unix:{folder}/executor.sock"
        self.index(dims=len(WORDS), embed="./embed.py:embed", fields=["text"])

    def index(self, **section: Any) -> None:
        """Writes `store.index`; without arguments, none."""
        document = {"graphs": {"g": "./g.py:graph"}, "store": {"index": section} if section else {}}
        (self.folder / "langgraph.json").write_text(json.dumps(document))

    def calls(self) -> list[list[str]]:
        """The texts of each call of the embedder so far."""
        file = self.folder / "calls.txt"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @asynccontextmanager
    async def executor(self) -> AsyncIterator[None]:
        """Serves the embedder for the block, as executors do."""
        settings = ExecutorSettings(config=self.folder / "langgraph.json", bind=self.address, shutdown_grace_seconds=0)
        loops = UserLoops()
        try:
            async with serving(settings, settings.bind, [registration(settings, loops)]):
                yield
        finally:
            loops.close()
