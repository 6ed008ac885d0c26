"""Every form in which langgraph.json may name a graph, in a real executor; one that does not import harms none."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import StackOptions, open_stack

from .conftest import ENVIRONMENT
from .test_assistants import system_id

GRAPHS = """
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph_sdk.runtime import ServerRuntime

NOTES = Path(__file__).parent / "notes"


class State(TypedDict, total=False):
    told: Any


def note(**what):
    with NOTES.open("a") as file:
        file.write(json.dumps(what) + "\\n")


def builder(told=None):
    def node(state: State) -> State:
        return {"told": told}

    return StateGraph(State).add_node("node", node).add_edge(START, "node").add_edge("node", END)


compiled = builder("compiled").compile()
uncompiled = builder("uncompiled")


def no_parameters():
    return builder("none").compile()


def with_config(config: RunnableConfig):
    return builder(config["configurable"].get("word", "absent"))


async def with_runtime(runtime: ServerRuntime):
    execution = runtime.execution_runtime
    note(access=runtime.access_context, executes=execution is not None, store=runtime.store is not None)
    return builder(execution.context if execution else None).compile()


@asynccontextmanager
async def with_both(config: RunnableConfig, runtime: ServerRuntime):
    note(entered=runtime.access_context)
    try:
        yield builder(config["configurable"].get("word", "absent")).compile()
    finally:
        note(exited=runtime.access_context)
"""
NAMES = ["compiled", "uncompiled", "no_parameters", "with_config", "with_runtime", "with_both"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application; two of its graphs cannot be imported."""
    made = tmp_path_factory.mktemp("forms")
    (made / "forms.py").write_text(GRAPHS)
    (made / "broken.py").write_text('raise LookupError("SOME_KEY is not set")\n')
    graphs: dict[str, Any] = {name: f"./forms.py:{name}" for name in NAMES}
    graphs |= {"by_module": "forms:compiled", "described": {"path": "./forms.py:compiled", "description": "Says so"}}
    graphs |= {"broken": "./broken.py:graph", "absent": "./forms.py:nothing_of_the_kind"}
    (made / "langgraph.json").write_text(json.dumps({"dependencies": ["."], "graphs": graphs}))
    return made


@pytest.fixture(scope="module")
async def forms(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LangGraphClient]:
    options = StackOptions(
        configs=(folder / "langgraph.json",), data=tmp_path_factory.mktemp("forms-data"), environment=ENVIRONMENT
    )
    async with open_stack(options) as stack, get_client(url=stack.url) as client:
        yield client


@pytest.fixture
def notes(folder: Path) -> Path:
    """What the factories note of their calls, from now on."""
    path = folder / "notes"
    path.write_text("")
    return path


def noted(notes: Path) -> list[dict[str, Any]]:
    """What was noted since the last look."""
    lines = notes.read_text().splitlines()
    notes.write_text("")
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        ("compiled", "compiled"),
        ("by_module", "compiled"),
        ("described", "compiled"),
        ("uncompiled", "uncompiled"),
        ("no_parameters", "none"),
        ("with_config", "said"),
        ("with_runtime", {"word": "said"}),
        ("with_both", "said"),
    ],
)
async def test_form_runs_with_what_the_caller_configured(forms: LangGraphClient, graph: str, told: object) -> None:
    thread_id = (await forms.threads.create())["thread_id"]
    result: Any = await forms.runs.wait(thread_id, graph, input={}, context={"word": "said"})
    assert result["told"] == told


async def test_factory_learns_what_it_is_called_for(forms: LangGraphClient, notes: Path) -> None:
    thread_id = (await forms.threads.create())["thread_id"]
    await forms.runs.wait(thread_id, "with_runtime", input={})
    assert noted(notes)[0] == {"access": "threads.create_run", "executes": True, "store": True}
    reads = {
        "threads.read": (forms.threads.get_state(thread_id), forms.threads.get_history(thread_id)),
        "assistants.read": (
            forms.assistants.get_graph("with_runtime"),
            forms.assistants.get_schemas(system_id("with_runtime")),
        ),
    }
    for access, operations in reads.items():
        for operation in operations:
            await operation
            assert noted(notes) == [{"access": access, "executes": False, "store": True}]
    await forms.threads.update_state(thread_id, {"told": "new"})
    calls = noted(notes)
    assert calls[0]["access"] == "threads.update"
    assert {call["access"] for call in calls[1:]} == {"threads.read"}
    assert not any(call["executes"] for call in calls)


async def test_context_manager_is_left_after_each_use(forms: LangGraphClient, notes: Path) -> None:
    thread_id = (await forms.threads.create())["thread_id"]
    await forms.runs.wait(thread_id, "with_both", input={})
    calls = [call for call in noted(notes) if "access" not in call]  # those of other graphs may come late
    assert calls[0] == {"entered": "threads.create_run"}
    assert sum("entered" in call for call in calls) == sum("exited" in call for call in calls)


async def test_graph_that_does_not_import_is_listed_and_says_why(forms: LangGraphClient) -> None:
    found = await forms.assistants.search(limit=100)
    assert {assistant["graph_id"] for assistant in found} >= {*NAMES, "broken", "absent", "described"}
    described = next(assistant for assistant in found if assistant["graph_id"] == "described")
    assert described["description"] == "Says so"
    thread_id = (await forms.threads.create())["thread_id"]
    result: Any = await forms.runs.wait(thread_id, "broken", input={}, raise_error=False)
    assert result["__error__"]["error"] == "GraphFailed"
    assert "SOME_KEY is not set" in result["__error__"]["message"]
    assert (await forms.runs.list(thread_id))[0]["status"] == "error"
    with pytest.raises(Exception, match="SOME_KEY is not set"):
        await forms.assistants.get_graph("broken")
    with pytest.raises(Exception, match="nothing_of_the_kind"):
        await forms.assistants.get_schemas(system_id("absent"))
