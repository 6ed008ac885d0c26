"""A user's project as its langgraph.json describes it, checked before anything is started."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from threadmill_cli.config_sections import Sections, read_sections
from threadmill_cli.refusal import CannotRun

MODULE = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")


@dataclass(frozen=True, slots=True)
class Project:
    """`folder` holds langgraph.json, and every relative path starts there."""

    config: Path
    graphs: tuple[str, ...]
    env: dict[str, str]
    env_file: Path | None
    source_folders: tuple[Path, ...]
    sections: Sections = field(default_factory=Sections)

    @property
    def folder(self) -> Path:
        """The folder of the config file."""
        return self.config.parent


def load_project(config: Path) -> Project:
    """Reads and checks a langgraph.json; CannotRun with one sentence for the first thing that is wrong."""
    config = config.resolve()
    document = _read(config)
    graphs = document.get("graphs")
    if not isinstance(graphs, dict) or not graphs:
        raise CannotRun(f'{config} names no graphs: add "graphs": {{"agent": "./agent.py:graph"}}')
    missing = [problem for graph_id, target in graphs.items() if (problem := _check_graph(config, graph_id, target))]
    if len(missing) == len(graphs):  # the executor, which imports them, lists one that is missing among others
        raise CannotRun(missing[0])
    env, env_file = _environment(config, document.get("env"))
    folders = _source_folders(config, document.get("dependencies") or [])
    return Project(config, tuple(graphs), env, env_file, folders, read_sections(config, document))


def _read(config: Path) -> dict[str, Any]:
    try:
        document = json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CannotRun(f"{config} does not exist: name your langgraph.json with --config") from None
    except OSError as error:
        raise CannotRun(f"{config} cannot be read ({error.strerror}): name a langgraph.json with --config") from None
    except ValueError as error:
        raise CannotRun(f"{config} is not valid JSON ({error}): correct it") from None
    if not isinstance(document, dict):
        raise CannotRun(f'{config} does not hold a JSON object: it must look like {{"graphs": {{…}}}}')
    return document


def _check_graph(config: Path, graph_id: str, target: object) -> str | None:
    """What is wrong with a graph whose file is not there. CannotRun for an entry that can name no graph."""
    spec = target.get("path") if isinstance(target, dict) else target
    example = f'"{graph_id}": "./file.py:variable"'
    if not isinstance(spec, str):
        raise CannotRun(f"graph {graph_id!r} in {config} has no path: write {example}")
    path, separator, variable = spec.rpartition(":")
    if not (separator and path and variable.isidentifier()):
        raise CannotRun(f"graph {graph_id!r} in {config} does not name a variable ({spec!r}): write {example}")
    if MODULE.match(path) and not path.endswith(".py"):
        return None  # a module: only the executor, which imports it, can tell
    file = config.parent / path
    if file.suffix in {".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx"}:
        raise CannotRun(
            f"graph {graph_id!r} in {config} is not written in Python ({path}): only Python graphs run here"
        )
    if file.is_file():
        return None
    return f"graph {graph_id!r} in {config} names {path}, but {file} does not exist: correct the path"


def _environment(config: Path, env: object) -> tuple[dict[str, str], Path | None]:
    if env is None or env == {}:
        return {}, None
    if isinstance(env, dict):
        for name, value in env.items():
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise CannotRun(f'"env.{name}" in {config} is not a string: correct it')
        return {name: str(value) for name, value in env.items()}, None
    if not isinstance(env, str):
        raise CannotRun(f'"env" in {config} is neither an object nor the path of a dotenv file: correct it')
    file = config.parent / env
    if not file.is_file():
        raise CannotRun(f'"env" in {config} names {env}, but {file} does not exist: create it or remove the entry')
    return {name: value for name, value in dotenv_values(file).items() if value is not None}, file


def _source_folders(config: Path, dependencies: object) -> tuple[Path, ...]:
    if not isinstance(dependencies, list):
        raise CannotRun(f'"dependencies" in {config} is not a list: write "dependencies": ["."]')
    folders = [config.parent]
    for dependency in dependencies:
        if isinstance(dependency, str) and dependency.startswith("."):
            folder = (config.parent / dependency).resolve()
            if not folder.exists():
                raise CannotRun(f"{config} depends on {dependency}, but {folder} does not exist: correct the path")
            folders.append(folder)
    return tuple(dict.fromkeys(folders))
