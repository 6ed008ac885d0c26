"""Functions that make graphs: which parameters they want, and what they give."""

import inspect
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast, get_origin

from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk import runtime as sdk_runtime

from threadmill_runs.executor.graphs.errors import GraphFailed

Access = Literal["threads.create_run", "threads.read", "threads.update", "assistants.read"]
Kind = Literal["config", "runtime"]
_RUNTIME_TYPES = ("ServerRuntime", "_ExecutionRuntime", "_ReadRuntime")


@dataclass(frozen=True, slots=True)
class Factory:
    """A user's function and what each of its parameters is given."""

    function: Callable[..., Any]
    parameters: Mapping[str, Kind]
    positional_only: tuple[str, ...] = ()

    @asynccontextmanager
    async def make(self, config: RunnableConfig, runtime: object) -> AsyncIterator[object]:
        """Calls the function and yields what it makes; a context manager stays entered until the block ends."""
        given: dict[Kind, object] = {"config": config, "runtime": runtime}
        arguments = [given[self.parameters[name]] for name in self.positional_only]
        keywords = {name: given[kind] for name, kind in self.parameters.items() if name not in self.positional_only}
        made = self.function(*arguments, **keywords)
        async with AsyncExitStack() as stack:
            if inspect.isawaitable(made):
                made = await cast("Awaitable[object]", made)
            if hasattr(made, "__aenter__"):
                made = await stack.enter_async_context(made)
            elif hasattr(made, "__enter__"):
                made = stack.enter_context(made)
            yield made


def inspect_factory(function: Callable[..., Any]) -> Factory:
    """Reads a function's parameters, by annotation, then by name. Raises TypeError for one that has no meaning."""
    bare = inspect.unwrap(function)
    if inspect.isasyncgenfunction(bare) and bare is function:
        function = asynccontextmanager(function)
    elif inspect.isgeneratorfunction(bare) and bare is function:
        function = contextmanager(function)
    hints = _hints(bare)
    parameters: dict[str, Kind] = {}
    wanted = [p for p in inspect.signature(bare).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for parameter in wanted:
        kind = _kind(parameter.name, hints.get(parameter.name, parameter.annotation))
        if kind is None and parameter.default is parameter.empty:
            if len(wanted) > 1:
                raise TypeError(f"factory parameter {parameter.name!r} is neither the config nor the runtime")
            kind = "config"  # a lone parameter of any name has always been the config
        if kind is not None:
            parameters[parameter.name] = kind
    positional = [p.name for p in wanted if p.kind is p.POSITIONAL_ONLY and p.name in parameters]
    return Factory(function, parameters, tuple(positional))


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    target = function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__
    try:
        return typing.get_type_hints(target)
    except (NameError, TypeError, AttributeError):  # names imported for type checkers only: the text must do
        return {}


def _kind(name: str, annotation: object) -> Kind | None:
    candidates = [annotation, *typing.get_args(annotation)]
    for candidate in candidates:
        text = candidate if isinstance(candidate, str) else getattr(get_origin(candidate) or candidate, "__name__", "")
        if candidate is RunnableConfig or "RunnableConfig" in text:
            return "config"
        if any(known in text for known in _RUNTIME_TYPES):
            return "runtime"
    return cast("Kind", name) if name in ("config", "runtime") else None


def server_runtime(access: Access, store: BaseStore | None, context: object) -> object:
    """What a factory is given as `runtime`: with the run's context when a run executes, else read-only."""
    if access == "threads.create_run":
        # The SDK offers these two classes only under private names; its ServerRuntime is their union.
        return sdk_runtime._ExecutionRuntime(access_context=access, store=cast("BaseStore", store), context=context)
    return sdk_runtime._ReadRuntime(access_context=access, store=cast("BaseStore", store))


def as_pregel(graph_id: str, made: object) -> "Pregel[Any, Any, Any, Any]":
    """The graph itself, compiled if it is a builder. Raises GraphFailed for anything else."""
    if isinstance(made, StateGraph):
        made = made.compile(name=graph_id)
    if not isinstance(made, Pregel):
        raise GraphFailed(
            f"Graph '{graph_id}' is an object of type {type(made).__name__}, not a LangGraph graph or builder"
        )
    return made
