"""Imports what a graph entry names."""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from threadmill_chassis.errors import DomainError

from threadmill_runs.executor.graphs.config_file import GraphSpec

# Frames that tell users nothing about their code.
OURS = str(Path(__file__).parent)


def load_object(spec: GraphSpec) -> object:
    """The object that `spec` names, its module imported at most once. Raises whatever the user's module raises."""
    module = _module_of(spec)
    try:
        return getattr(module, spec.attribute)
    except AttributeError:
        raise AttributeError(f"{spec.module} has no variable {spec.attribute!r}") from None


def stream_transformers_of(spec: GraphSpec) -> object:
    """What the graph's module declares beside it under this name; None for nothing."""
    return getattr(_module_of(spec), "stream_transformers", None)


def _module_of(spec: GraphSpec) -> ModuleType:
    return _load_file(Path(spec.module)) if spec.is_file else importlib.import_module(spec.module)


def describe_failure(error: BaseException) -> str:
    """`Class: message (file:line)`, the place being where the user's code failed last."""
    if isinstance(error, DomainError):
        return error.message
    text = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text} ({error.filename}:{error.lineno})"
    trace = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in trace if "importlib" not in frame.filename and not frame.filename.startswith(OURS)]
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})" if frames else text


def _load_file(path: Path) -> ModuleType:
    """Imports a file under the name by which the user's other modules would import it, so that both see the same
    classes; a file that has no such name gets one of its own, the same in every process, by which stored values
    find their classes again."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no such file: {path}")
    name = _importable_name(path)
    if name is not None:
        return importlib.import_module(name)
    name = f"threadmill_graph_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _importable_name(path: Path) -> str | None:
    """The dotted name under which the import path already reaches this very file, the shortest one."""
    roots = [Path(entry).resolve() for entry in sys.path if entry]
    for root in sorted({root for root in roots if path.is_relative_to(root)}, key=lambda root: -len(root.parts)):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts)
        if all(part.isidentifier() for part in parts) and _reaches(name, path):
            return name
    return None


def _reaches(name: str, path: Path) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # noqa: BLE001 - finding a.b imports a, which is user code; then the file is loaded by its path
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path
