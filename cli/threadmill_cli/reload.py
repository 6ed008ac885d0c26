"""Notices changes of a project's Python files, its langgraph.json and its dotenv files."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from pathlib import Path

from watchfiles import Change, awatch

from threadmill_cli.project import Project

IGNORED = frozenset({"__pycache__", "node_modules", "site-packages", "dist", "build"})
QUIET_MILLISECONDS = 300


def is_source(path: Path, project: Project) -> bool:
    """Whether the executor must be restarted when this file changes."""
    return path.suffix == ".py" or path.name == ".env" or path in (project.config, project.env_file)


def watched_folders(project: Project) -> list[Path]:
    """The folders to watch, without descending into data, environments and caches.

    Those are left out here rather than filtered later: a database writes all the time, and every write would wake us.
    """
    folders: list[Path] = []
    pending = list(project.source_folders)
    while pending:
        folder = pending.pop()
        folders.append(folder)
        pending += [child for child in _children(folder) if _worth_watching(child)]
    return sorted(set(folders))


def _children(folder: Path) -> Iterable[Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir() and not child.is_symlink()]
    except OSError:
        return []


def _worth_watching(folder: Path) -> bool:
    return not (folder.name in IGNORED or folder.name.startswith(".") or (folder / "pyvenv.cfg").exists())


async def changes(project: Project) -> AsyncGenerator[set[Path], None]:
    """Yields the source files of each burst of changes, for as long as it is iterated."""
    while True:
        folders = watched_folders(project)
        watch = awatch(*folders, recursive=False, watch_filter=None, debounce=QUIET_MILLISECONDS)
        async with aclosing(watch):
            async for burst in watch:
                sources = {Path(path) for _, path in burst if is_source(Path(path), project)}
                if sources:
                    yield sources
                if _new_folder(burst, folders):
                    break  # and watch that one too


def _new_folder(burst: set[tuple[Change, str]], known: list[Path]) -> bool:
    added = (Path(path) for change, path in burst if change is Change.added)
    return any(path not in known and path.is_dir() and _worth_watching(path) for path in added)
