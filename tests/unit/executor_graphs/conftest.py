"""Sample applications in folders of their own, and a clean interpreter after each."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from threadmill_runs.executor.graphs.config_file import read_config
from threadmill_runs.executor.graphs.registry import GraphRegistry

LoadApp = Callable[..., GraphRegistry]


@pytest.fixture
def pristine_process() -> Iterator[None]:
    """Forgets the modules, import paths and variables that a loaded application leaves behind."""
    modules, path, environment = set(sys.modules), list(sys.path), dict(os.environ)
    yield
    for name in set(sys.modules) - modules:
        if not name.startswith(("langgraph", "langchain", "pydantic")):
            del sys.modules[name]
    sys.path[:] = path
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def write_app(tmp_path: Path) -> Callable[..., Path]:
    """`write_app({"a.py": "code"}, graphs={…}, **sections)` → path of the langgraph.json."""

    def write(files: dict[str, str], **sections: Any) -> Path:
        for name, code in files.items():
            target = tmp_path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(code)
        config = tmp_path / "langgraph.json"
        config.write_text(json.dumps(sections))
        return config

    return write


@pytest.fixture
def load_app(write_app: Callable[..., Path], pristine_process: None) -> LoadApp:
    """As `write_app`, then loads the graphs."""

    def load(files: dict[str, str], **sections: Any) -> GraphRegistry:
        return GraphRegistry.load(read_config(write_app(files, **sections)))

    return load
