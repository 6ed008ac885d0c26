"""What is wrong with a langgraph.json is said in one sentence, before anything starts."""

import json
from pathlib import Path
from typing import Any

import pytest
from threadmill_cli.project import load_project
from threadmill_cli.refusal import CannotRun

GRAPHS = {"agent": "./agent.py:graph"}


def write(folder: Path, document: Any) -> Path:
    (folder / "agent.py").write_text("graph = None\n")
    config = folder / "langgraph.json"
    config.write_text(document if isinstance(document, str) else json.dumps(document))
    return config


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "is not valid JSON"),
        ([], "does not hold a JSON object"),
        ({}, "names no graphs"),
        ({"graphs": {"agent": {}}}, "graph 'agent' .* has no path"),
        ({"graphs": {"agent": "./agent.py"}}, "does not name a variable"),
        ({"graphs": {"agent": "./gone.py:graph"}}, "names ./gone.py, but .*gone.py does not exist"),
        ({"graphs": {"agent": "./agent.ts:graph"}}, "is not written in Python"),
        ({"graphs": GRAPHS, "env": ".env"}, "names .env, but .* does not exist"),
        ({"graphs": GRAPHS, "env": {"A": True}}, '"env.A" in .* is not a string'),
        ({"graphs": GRAPHS, "env": 3}, "neither an object nor the path"),
        ({"graphs": GRAPHS, "dependencies": ["./gone"]}, "depends on ./gone"),
        ({"graphs": GRAPHS, "dependencies": "."}, "is not a list"),
    ],
)
def test_refusals(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(CannotRun, match=message):
        load_project(write(tmp_path, document))


def test_missing_config(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"langgraph\.json does not exist: name your langgraph\.json with --config"):
        load_project(tmp_path / "langgraph.json")


def test_every_form_of_graph(tmp_path: Path) -> None:
    graphs = {"file": "./agent.py:graph", "module": "pkg.agent:graph", "object": {"path": "agent.py:graph"}}
    project = load_project(write(tmp_path, {"graphs": graphs, "dependencies": [".", "langchain"]}))
    assert project.graphs == ("file", "module", "object")
    assert project.folder == tmp_path
    assert project.source_folders == (tmp_path,)


def test_a_graph_whose_file_is_missing_does_not_stop_the_others(tmp_path: Path) -> None:
    for others in (GRAPHS, {"module": "pkg.agent:graph"}):
        project = load_project(write(tmp_path, {"graphs": {"gone": "./gone.py:graph", **others}}))
        assert project.graphs == ("gone", *others)


def test_env_from_object_and_from_file(tmp_path: Path) -> None:
    assert load_project(write(tmp_path, {"graphs": GRAPHS, "env": {"A": 1}})).env == {"A": "1"}
    (tmp_path / "keys.env").write_text("OPENAI_API_KEY=sk\n")
    project = load_project(write(tmp_path, {"graphs": GRAPHS, "env": "keys.env"}))
    assert (project.env, project.env_file) == ({"OPENAI_API_KEY": "sk"}, tmp_path / "keys.env")
