"""langgraph.json: what a user's application declares. Paths in it are relative to the file."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import orjson
import structlog
from dotenv import dotenv_values

from threadmill_runs.executor.graphs.errors import ConfigError

log = structlog.get_logger(__name__)

# Keys that tell how to build an image, or help editors; nothing at run time depends on them.
BUILD_TIME = frozenset(
    {
        "$schema", "_INTERNAL_docker_tag", "api_version", "base_image", "dockerfile_lines", "image_distro",
        "keep_pkg_tools", "node_version", "package", "pip_config_file", "pip_installer", "project_root",
        "python_version", "source",
    }
)  # fmt: skip
READ_HERE = frozenset({"graphs", "env", "dependencies"})
# Settings of all processes, which the `threadmill` command checks and hands to each (`store.index` is read here too),
# and the keys in them that nothing serves yet: a key that is accepted and ignored would be worse than a refused one.
SECTIONS = {
    "checkpointer": frozenset({"path", "serde"}),
    "http": frozenset({"app", "enable_custom_route_auth", "middleware_order"}),
    "store": frozenset({"path"}),
    "webhooks": frozenset[str](),
}
UNSUPPORTED = frozenset({"auth", "encryption", "priority", "ui", "ui_config"})


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

    def apply_env(self) -> None:
        """Puts `env` into os.environ, where existing variables win."""
        for name, value in self.env.items():
            os.environ.setdefault(name, value)

    def prepare_process(self) -> None:
        """Applies `env`, and puts the dependencies on the import path."""
        self.apply_env()
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
        if name in UNSUPPORTED and not _is_empty(value):
            raise ConfigError(f"{path}: `{name}` is not supported yet: remove it")
        if name in SECTIONS:
            _check_section(path, name, value)
        elif name not in BUILD_TIME | READ_HERE | UNSUPPORTED:
            log.warning("unknown_config_key", path=str(path), key=name, did_you_mean=_nearest(name))


def _check_section(path: Path, name: str, section: object) -> None:
    if not isinstance(section, dict | None):
        raise ConfigError(f"{path}: `{name}` must be an object")
    for key, value in (section or {}).items():
        if key in SECTIONS[name] and not _is_empty(value):
            raise ConfigError(f"{path}: `{name}.{key}` is not supported yet: remove it")


def _is_empty(value: object) -> bool:
    return value is None or value is False or value == {}


def _nearest(name: str) -> str | None:
    known = sorted(BUILD_TIME | READ_HERE | SECTIONS.keys() | UNSUPPORTED)
    return next(iter(get_close_matches(name, known, n=1)), None)


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
