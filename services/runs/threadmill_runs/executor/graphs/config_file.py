"""langgraph.json: what a user's application declares. Paths in it are relative to the file."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from dotenv import dotenv_values

from threadmill_runs.executor.graphs.errors import ConfigError

# Sections that tell how to build an image; nothing at run time depends on them.
_BUILD_TIME = frozenset(
    {
        "$schema", "api_version", "base_image", "dockerfile_lines", "image_distro", "keep_pkg_tools", "node_version",
        "pip_config_file", "pip_installer", "python_version",
    }
)  # fmt: skip
_READ_HERE = frozenset({"graphs", "env", "dependencies"})
# Objects of independent settings, whose refusal names the setting. A section is served once some part of the server
# reads it: one that is accepted and then ignored would be worse than one that is refused.
_OF_SETTINGS = frozenset({"checkpointer", "http", "store", "webhooks"})


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One entry of `graphs`: `module` is a file's path if `is_file`, else a dotted name; `attribute` is within it."""

    graph_id: str
    module: str
    is_file: bool
    attribute: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class AppConfig:
    """A langgraph.json that was read and checked."""

    path: Path
    graphs: tuple[GraphSpec, ...]
    env: Mapping[str, str]
    import_paths: tuple[Path, ...]

    def prepare_process(self) -> None:
        """Puts `env` into os.environ, where existing variables win, and the dependencies on the import path."""
        for name, value in self.env.items():
            os.environ.setdefault(name, value)
        for path in reversed(self.import_paths):
            if str(path) not in sys.path:
                sys.path.insert(0, str(path))


def read_config(path: Path) -> AppConfig:
    """Reads and checks the file. Raises ConfigError that names the file and the key at fault."""
    document = _read_document(path)
    _refuse_unsupported(path, document)
    base = path.resolve().parent
    return AppConfig(
        path=path.resolve(),
        graphs=_graphs(path, base, document.get("graphs")),
        env=_env(path, base, document.get("env") or {}),
        import_paths=_import_paths(path, base, document.get("dependencies") or []),
    )


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path}: invalid JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold a JSON object")
    return document


def _refuse_unsupported(path: Path, document: Mapping[str, Any]) -> None:
    for name, value in document.items():
        if name in _BUILD_TIME or name in _READ_HERE or value is None or value == {}:
            continue
        key = f"{name}.{next(iter(value))}" if name in _OF_SETTINGS and isinstance(value, dict) else name
        raise ConfigError(f"{path}: `{key}` is not supported yet")


def _graphs(path: Path, base: Path, section: object) -> tuple[GraphSpec, ...]:
    if not isinstance(section, dict) or not section:
        raise ConfigError(f"{path}: `graphs` must be an object that names at least one graph")
    return tuple(_graph(path, base, graph_id, entry) for graph_id, entry in section.items())


def _graph(path: Path, base: Path, graph_id: str, entry: object) -> GraphSpec:
    source, description = entry, None
    if isinstance(entry, dict):
        source, description = entry.get("path"), entry.get("description")
    if not isinstance(source, str) or not isinstance(description, str | None):
        raise ConfigError(f'{path}: `graphs.{graph_id}` must be "module:variable" or {{"path", "description"}}')
    module, separator, attribute = source.rpartition(":")
    if not graph_id or not separator or not module or not attribute:
        raise ConfigError(f"{path}: `graphs.{graph_id}` must name a file or module and a variable: {source!r}")
    is_file = module.endswith(".py") or "/" in module or os.sep in module
    return GraphSpec(
        graph_id=graph_id,
        module=str((base / module).resolve()) if is_file else module,
        is_file=is_file,
        attribute=attribute,
        description=description or "",
    )


def _env(path: Path, base: Path, section: object) -> Mapping[str, str]:
    if isinstance(section, dict):
        return {name: _env_value(path, name, value) for name, value in section.items()}
    if not isinstance(section, str):
        raise ConfigError(f"{path}: `env` must be an object or the path of a dotenv file")
    file = base / section
    if not file.is_file():
        raise ConfigError(f"{path}: `env` names a file that does not exist: {file}")
    return {name: value for name, value in dotenv_values(file).items() if value is not None}


def _env_value(path: Path, name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"{path}: `env.{name}` must be a string")
    return str(value)


def _import_paths(path: Path, base: Path, section: object) -> tuple[Path, ...]:
    """The local folders among the dependencies; the others are packages, which are installed, not imported from."""
    if not isinstance(section, list) or not all(isinstance(item, str) for item in section):
        raise ConfigError(f"{path}: `dependencies` must be a list of strings")
    folders = []
    for item in section:
        if not item.startswith((".", "/")):
            continue
        folder = (base / item).resolve()
        if not folder.is_dir():
            raise ConfigError(f"{path}: `dependencies` names a folder that does not exist: {item}")
        folders.append(folder)
    return tuple(folders)
