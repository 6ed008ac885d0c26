"""Registry: every form of graph and factory opens; a broken one stays listed and harms nobody else."""

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from threadmill_runs.executor.graphs.errors import GraphFailed, GraphNotFound
from threadmill_runs.executor.graphs.factory import Access
from threadmill_runs.executor.graphs.registry import GraphRegistry

LoadApp = Callable[..., GraphRegistry]

BASE = """
from typing import TypedDict
from langgraph.graph import StateGraph, START, END

class State(TypedDict):
    n: int

def add(state: State):
    return {"n": state["n"] + 1}

def make_builder(node=add):
    builder = StateGraph(State)
    builder.add_node("add", node)
    builder.add_edge(START, "add")
    builder.add_edge("add", END)
    return builder
"""

FORMS = """
import contextlib
from langchain_core.runnables import RunnableConfig
from langgraph_sdk.runtime import ServerRuntime
from base import make_builder

compiled = make_builder().compile()
named = make_builder().compile(name="My graph")
builder = make_builder()
calls = []

def plain():
    return make_builder().compile()

async def asynchronous():
    return make_builder()

def by_annotation(first: ServerRuntime, second: RunnableConfig):
    calls.append(("by_annotation", first.access_context, second["configurable"]))
    return make_builder()

def by_name(config, runtime):
    calls.append(("by_name", runtime.access_context, config["configurable"]))
    return make_builder()

def lone(c):
    calls.append(("lone", c["configurable"]))
    return make_builder()

def defaults(config, flag=True, *args, **kwargs):
    calls.append(("defaults", flag))
    return make_builder()

def generic(rt: "ServerRuntime[dict]"):
    execution = rt.execution_runtime
    calls.append(("generic", execution.context if execution else None, rt.user))
    return make_builder()

@contextlib.asynccontextmanager
async def async_manager(config: RunnableConfig):
    calls.append("enter")
    try:
        yield make_builder().compile()
    finally:
        calls.append("exit")

@contextlib.contextmanager
def manager():
    calls.append("enter")
    yield make_builder()
    calls.append("exit")

async def bare_generator():
    yield make_builder()

class Maker:
    def __call__(self, config):
        return make_builder()

instance = Maker()
not_a_graph = 42

def makes_no_graph():
    return "nothing"

def wants_too_much(config, database):
    return make_builder()

def raises():
    raise LookupError("no key")
"""

NAMES = [
    "compiled", "named", "builder", "plain", "asynchronous", "by_annotation", "by_name", "lone", "defaults", "generic",
    "async_manager", "manager", "bare_generator", "instance",
]  # fmt: skip
BROKEN = ["not_a_graph", "makes_no_graph", "wants_too_much", "raises", "absent"]


@pytest.fixture
def app(load_app: LoadApp) -> GraphRegistry:
    return load_app(
        {"base.py": BASE, "forms.py": FORMS},
        dependencies=["."],
        graphs={name: f"./forms.py:{name}" for name in [*NAMES, *BROKEN]},
    )


def calls_of_app() -> list[Any]:
    import sys

    return list(sys.modules["forms"].calls)


async def use(app: GraphRegistry, graph_id: str, access: Access = "threads.create_run") -> Any:
    opened = app.open(
        graph_id,
        config={"configurable": {"thread_id": "t", "k": "v"}},
        access=access,
        context={"who": "me"},
        checkpointer=InMemorySaver(),
        store=InMemoryStore(),
    )
    async with opened as graph:
        return await graph.ainvoke({"n": 1}, {"configurable": {"thread_id": "t"}})


@pytest.mark.parametrize("graph_id", NAMES)
async def test_every_form_runs(app: GraphRegistry, graph_id: str) -> None:
    assert await use(app, graph_id) == {"n": 2}


async def test_parameters_by_annotation_and_by_name(app: GraphRegistry) -> None:
    for graph_id in ("by_annotation", "by_name", "lone", "defaults", "generic"):
        await use(app, graph_id)
    await use(app, "generic", "threads.read")
    configurable = {"thread_id": "t", "k": "v"}
    assert calls_of_app() == [
        ("by_annotation", "threads.create_run", configurable),
        ("by_name", "threads.create_run", configurable),
        ("lone", configurable),
        ("defaults", True),
        ("generic", {"who": "me"}, None),
        ("generic", None, None),
    ]


async def test_context_managers_are_entered_and_exited_around_each_use(app: GraphRegistry) -> None:
    assert calls_of_app() == []
    await use(app, "async_manager")
    await use(app, "manager")
    assert calls_of_app() == ["enter", "exit", "enter", "exit"]


async def test_the_users_graph_is_never_changed(app: GraphRegistry) -> None:
    import sys

    saver, store = InMemorySaver(), InMemoryStore()
    opened = app.open("compiled", config={}, access="assistants.read", context=None, checkpointer=saver, store=store)
    async with opened as graph:
        assert (graph.checkpointer, graph.store, graph.name) == (saver, store, "compiled")
    original = sys.modules["forms"].compiled
    assert (original.checkpointer, original.store, original.name) == (None, None, "LangGraph")


def test_names_order_and_errors(app: GraphRegistry) -> None:
    infos = app.describe()
    assert [info.graph_id for info in infos] == [
        *NAMES,
        "not_a_graph",
        "makes_no_graph",
        "wants_too_much",
        "raises",
        "absent",
    ]
    names = {info.graph_id: info.name for info in infos}
    assert (names["named"], names["compiled"], names["builder"]) == ("My graph", "compiled", "builder")
    errors = {info.graph_id: info.error for info in infos if info.error}
    assert errors.keys() == {"not_a_graph", "wants_too_much", "absent"}
    assert "is an object of type int, not a LangGraph graph" in errors["not_a_graph"]
    assert "factory parameter 'database'" in errors["wants_too_much"]
    assert "has no variable 'absent'" in errors["absent"]


async def test_unknown_and_failed_graphs(app: GraphRegistry) -> None:
    with pytest.raises(GraphNotFound, match=r"Graph 'gone' not found. Expected one of: \['absent', 'async_manager'"):
        await use(app, "gone")
    with pytest.raises(GraphFailed, match="has no variable 'absent'"):
        await use(app, "absent")
    with pytest.raises(GraphFailed, match="'makes_no_graph' is an object of type str"):
        await use(app, "makes_no_graph")
    with pytest.raises(LookupError, match="no key"):
        await use(app, "raises")


async def test_a_failing_import_tells_where_and_spares_the_others(load_app: LoadApp) -> None:
    app = load_app(
        {
            "good.py": BASE + "\ngraph = make_builder()",
            "bad.py": "import os\n\nraise RuntimeError('missing key')\n",
            "syntax.py": "def broken(:\n",
            "leaves.py": "import sys\nsys.exit(3)\n",
            "interrupts.py": "raise KeyboardInterrupt\n",
        },
        graphs={"bad": "./bad.py:g", "syntax": "./syntax.py:g", "gone": "./gone.py:g", "pkg": "no_such_pkg.x:g",
                "leaves": "./leaves.py:g", "interrupts": "./interrupts.py:g", "good": "./good.py:graph"},
    )  # fmt: skip
    errors = {info.graph_id: info.error for info in app.describe()}
    assert errors["bad"].startswith("RuntimeError: missing key (")
    assert errors["bad"].endswith("bad.py:3)")
    assert errors["syntax"].startswith("SyntaxError: ")
    assert errors["syntax"].endswith("syntax.py:1)")
    assert errors["gone"].startswith("FileNotFoundError: ")
    assert errors["pkg"].startswith("ModuleNotFoundError: No module named 'no_such_pkg'")
    assert errors["leaves"].startswith("SystemExit: 3")
    assert errors["interrupts"].startswith("KeyboardInterrupt (")
    assert await use(app, "good") == {"n": 2}


async def test_a_file_is_imported_once_and_under_the_name_that_other_modules_use(load_app: LoadApp) -> None:
    app = load_app(
        {
            "pack/__init__.py": "",
            "pack/state.py": "imports = []\n",
            "pack/one.py": "from pack.state import imports\nimports.append(__name__)\n"
            + BASE
            + "\na = b = make_builder()\n",
            "two words/three.py": BASE + "\ng = make_builder()\n",
        },
        dependencies=["."],
        graphs={"a": "./pack/one.py:a", "b": "./pack/one.py:b", "c": "pack.one:a", "d": "./two words/three.py:g"},
    )
    import sys

    assert sys.modules["pack.state"].imports == ["pack.one"]
    for graph_id in "abcd":
        assert await use(app, graph_id) == {"n": 2}
