"""Changes of a project are noticed; changes of data and environments are not."""

import asyncio
from contextlib import aclosing
from pathlib import Path

from threadmill_cli.project import Project
from threadmill_cli.reload import changes, watched_folders


def make_project(folder: Path) -> Project:
    for name in ("package", ".threadmill/postgres", ".venv/lib", "environment", "package/__pycache__"):
        (folder / name).mkdir(parents=True)
    (folder / "environment" / "pyvenv.cfg").touch()
    (folder / "agent.py").write_text("graph = 1\n")
    return Project(folder / "langgraph.json", ("agent",), {}, folder / "keys.txt", (folder,))


def test_data_environments_and_caches_are_not_watched(tmp_path: Path) -> None:
    assert watched_folders(make_project(tmp_path)) == [tmp_path, tmp_path / "package"]


async def test_sources_config_and_environment_count(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    found: asyncio.Queue[set[Path]] = asyncio.Queue()

    async def watch() -> None:
        async with aclosing(changes(project)) as bursts:
            async for burst in bursts:
                found.put_nowait(burst)

    async def change(*paths: Path) -> set[Path]:
        """Writes until the watcher, which says nowhere when it began, has seen it."""
        while True:
            for path in paths:
                path.write_text("changed\n")
            try:
                return await asyncio.wait_for(found.get(), 1)
            except TimeoutError:
                continue

    watcher = asyncio.create_task(watch())
    try:
        for name in ("agent.py", "package/nodes.py", "langgraph.json", "keys.txt", ".env"):
            assert tmp_path / name in await change(tmp_path / "notes.md", tmp_path / name)
        (tmp_path / "later").mkdir()
        assert tmp_path / "later" / "tools.py" in await change(tmp_path / "later" / "tools.py")
    finally:
        watcher.cancel()
        await asyncio.wait({watcher})
    while not found.empty():
        assert tmp_path / "notes.md" not in found.get_nowait()
