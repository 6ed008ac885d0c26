"""langgraph.json: the forms that are read, and every form that is refused with the name of the key."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from threadmill_runs.executor.graphs.config_file import read_config
from threadmill_runs.executor.graphs.errors import ConfigError

WriteApp = Callable[..., Path]
GRAPHS = {"a": "./a.py:graph"}


def test_graph_forms_in_declaration_order(write_app: WriteApp, tmp_path: Path) -> None:
    config = read_config(
        write_app({}, graphs={"z": "./z.py:g", "m": "pkg.mod:g", "d": {"path": "./sub/d.py:g", "description": "D"}})
    )
    assert [(g.graph_id, g.module, g.is_file, g.attribute, g.description) for g in config.graphs] == [
        ("z", str(tmp_path / "z.py"), True, "g", ""),
        ("m", "pkg.mod", False, "g", ""),
        ("d", str(tmp_path / "sub" / "d.py"), True, "g", "D"),
    ]


@pytest.mark.usefixtures("pristine_process")
def test_env_object_and_import_path_take_effect_and_existing_variables_win(write_app: WriteApp, tmp_path: Path) -> None:
    os.environ["SAMPLE_SET"] = "outside"
    config = read_config(
        write_app({}, graphs=GRAPHS, env={"SAMPLE_SET": "x", "SAMPLE_NEW": "y"}, dependencies=[".", "langchain"])
    )
    config.prepare_process()
    assert (os.environ["SAMPLE_SET"], os.environ["SAMPLE_NEW"]) == ("outside", "y")
    assert sys.path[0] == str(tmp_path)


def test_env_file(write_app: WriteApp) -> None:
    config = read_config(write_app({".env": "# c\nA=1\nexport B='two words'\nC=\n"}, graphs=GRAPHS, env=".env"))
    assert config.env == {"A": "1", "B": "two words", "C": ""}


def test_build_time_and_empty_sections_are_passed_over(write_app: WriteApp) -> None:
    config = read_config(write_app({}, graphs=GRAPHS, python_version="3.12", store={}, auth=None, env=None))
    assert (len(config.graphs), config.env, config.import_paths) == (1, {}, ())


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"auth": {"path": "./auth.py:auth"}}, "auth"),
        ({"http": {"app": "./app.py:app"}}, "http.app"),
        ({"encryption": {"path": "x"}}, "encryption"),
        ({"checkpointer": {"path": "./c.py:make"}}, "checkpointer.path"),
        ({"store": {"path": "./s.py:make"}}, "store.path"),
        ({"checkpointer": {"serde": {"pickle_fallback": True}}}, "checkpointer.serde"),
        ({"http": {"enable_custom_route_auth": True}}, "http.enable_custom_route_auth"),
        ({"http": {"middleware_order": "auth_first"}}, "http.middleware_order"),
        ({"priority": {"path": "./p.py:p"}}, "priority"),
        ({"ui": {"agent": "./ui.tsx"}}, "ui"),
        ({"ui_config": {"shared": ["react"]}}, "ui_config"),
    ],
)
def test_unsupported_sections_are_refused_by_name(write_app: WriteApp, sections: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"`{key}` is not supported yet"):
        read_config(write_app({}, graphs=GRAPHS, **sections))


def test_settings_of_other_processes_are_passed_over(write_app: WriteApp) -> None:
    served = {"http": {"mount_prefix": "/api"}, "webhooks": {"url": {}}, "checkpointer": {"ttl": {}}, "store": None}
    assert len(read_config(write_app({}, graphs=GRAPHS, **served)).graphs) == 1


def test_unknown_key_is_a_warning_that_names_it(write_app: WriteApp) -> None:
    with capture_logs() as logs:
        read_config(write_app({}, graphs=GRAPHS, htpp={"mount_prefix": "/api"}, whatever=1))
    assert [(entry["log_level"], entry["key"], entry["did_you_mean"]) for entry in logs] == [
        ("warning", "htpp", "http"),
        ("warning", "whatever", None),
    ]


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({}, "`graphs` must"),
        ({"graphs": GRAPHS, "http": []}, "`http` must be an object"),
        ({"graphs": {}}, "`graphs` must"),
        ({"graphs": {"a": 1}}, "`graphs.a` must"),
        ({"graphs": {"a": "./a.py"}}, "`graphs.a` must name"),
        ({"graphs": {"a": {"description": "x"}}}, "`graphs.a` must"),
        ({"graphs": GRAPHS, "env": ".missing"}, "`env` names a file"),
        ({"graphs": GRAPHS, "env": {"A": [1]}}, "`env.A` must"),
        ({"graphs": GRAPHS, "dependencies": "."}, "`dependencies` must"),
        ({"graphs": GRAPHS, "dependencies": ["./nowhere"]}, "does not exist: ./nowhere"),
    ],
)
def test_malformed_sections(write_app: WriteApp, sections: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        read_config(write_app({}, **sections))


def test_missing_file_and_invalid_json(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        read_config(tmp_path / "langgraph.json")
    (tmp_path / "langgraph.json").write_text("{nope")
    with pytest.raises(ConfigError, match="invalid JSON"):
        read_config(tmp_path / "langgraph.json")
