"""`env` of langgraph.json in a real executor process: also what libraries read as they are imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Says what the libraries took from the environment, and ends the process before it serves anything.
APP = """
import json, os, sys
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, StateGraph
from langsmith.utils import get_tracer_project
from pydantic import BaseModel

class Custom(BaseModel):
    n: int

loop = StateGraph(dict).add_node("a", lambda state: {}).add_edge(START, "a").add_edge("a", "a").compile()
try:
    loop.invoke({})
except GraphRecursionError as error:
    limit = str(error).split(" without")[0]
serializer = JsonPlusSerializer()
revived = serializer.loads_typed(serializer.dumps_typed(Custom(n=1)))
print(json.dumps([limit, type(revived).__name__, get_tracer_project(), os.environ["SAMPLE"]]), flush=True)
os._exit(0)
"""
ENV = {
    "LANGGRAPH_DEFAULT_RECURSION_LIMIT": "7",
    "LANGGRAPH_STRICT_MSGPACK": "true",
    "LANGSMITH_PROJECT": "mine",
    "SAMPLE": "from the file",
}


def facts(folder: Path, env: object, **shell: str) -> list[str]:
    (folder / "app.py").write_text(APP)
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"g": "./app.py:graph"}, "env": env}))
    environment = {"PATH": os.environ["PATH"], "THREADMILL_CONFIG": str(folder / "langgraph.json"), **shell}
    command = [sys.executable, "-P", "-m", "threadmill_runs.executor"]
    ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    found: list[str] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("as_file", [False, True], ids=["object", "dotenv file"])
def test_libraries_see_what_the_application_sets(tmp_path: Path, as_file: bool) -> None:
    (tmp_path / ".env").write_text("".join(f'{name}="{value}"\n' for name, value in ENV.items()))
    found = facts(tmp_path, ".env" if as_file else ENV)
    assert found == ["Recursion limit of 7 reached", "dict", "mine", "from the file"]


def test_the_shell_wins(tmp_path: Path) -> None:
    found = facts(tmp_path, ENV, LANGGRAPH_DEFAULT_RECURSION_LIMIT="5", LANGGRAPH_STRICT_MSGPACK="false", SAMPLE="x")
    assert found == ["Recursion limit of 5 reached", "Custom", "mine", "x"]


def test_a_file_of_the_application_is_no_library_of_ours(tmp_path: Path) -> None:
    (tmp_path / "tenacity.py").write_text("raise ImportError('not this one')")
    (tmp_path / "orjson.py").write_text("raise ImportError('not this one')")
    (tmp_path / "langgraph.json").write_text("{}")
    assert facts(tmp_path, ENV)[0] == "Recursion limit of 7 reached"
