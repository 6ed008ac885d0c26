"""All graphs of an application, imported once and opened for each use."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore

from threadmill_runs.executor.graphs.config_file import AppConfig, GraphSpec
from threadmill_runs.executor.graphs.errors import GraphFailed, GraphNotFound
from threadmill_runs.executor.graphs.factory import Access, Factory, as_pregel, inspect_factory, server_runtime
from threadmill_runs.executor.graphs.loader import describe_failure, load_object, stream_transformers_of

AnyPregel = Pregel[Any, Any, Any, Any]
StreamTransformerFactory = Callable[[tuple[str, ...]], Any]
log = structlog.get_logger(__name__)
_UNNAMED = "LangGraph"  # what LangGraph calls a graph that was compiled without a name


@dataclass(frozen=True, slots=True)
class GraphInfo:
    """What the outside may know of a graph; `error` is empty unless its import failed."""

    graph_id: str
    name: str
    description: str
    error: str


@dataclass(frozen=True, slots=True)
class _Loaded:
    spec: GraphSpec
    source: AnyPregel | Factory | None
    error: str = ""
    # Transformers of the thread-streaming protocol that the graph's module declares beside it, or a function of them.
    transformers: Sequence[StreamTransformerFactory] | Callable[[], Sequence[StreamTransformerFactory]] = ()


class GraphRegistry:
    """The graphs of one langgraph.json. A graph whose import fails stays listed, with its error; the others work."""

    def __init__(self, loaded: Mapping[str, _Loaded]) -> None:
        self._loaded = loaded

    @classmethod
    def load(cls, config: AppConfig) -> "GraphRegistry":
        """Prepares the process and imports every graph. Blocking: runs the user's modules."""
        config.prepare_process()
        return cls({spec.graph_id: _load(spec) for spec in config.graphs})

    def describe(self) -> list[GraphInfo]:
        """All graphs, in declaration order."""
        return [
            GraphInfo(graph_id, _name(loaded), loaded.spec.description, loaded.error)
            for graph_id, loaded in self._loaded.items()
        ]

    def require(self, graph_id: str) -> None:
        """Raises GraphNotFound, or GraphFailed for a graph that could not be imported."""
        loaded = self._loaded.get(graph_id)
        if loaded is None:
            raise GraphNotFound(f"Graph '{graph_id}' not found. Expected one of: {sorted(self._loaded)}")
        if loaded.source is None:
            raise GraphFailed(f"Graph '{graph_id}' could not be loaded: {loaded.error}")

    def is_made_anew(self, graph_id: str) -> bool:
        """Whether a factory makes the graph for each use, by its config. Raises as `require`."""
        self.require(graph_id)
        return isinstance(self._loaded[graph_id].source, Factory)

    def stream_transformers(self, graph_id: str) -> list[StreamTransformerFactory]:
        """Makers of transformers that the graph's module declares as `stream_transformers`, besides the graph's own.

        Raises as `require`, and whatever the user's function raises.
        """
        self.require(graph_id)
        declared = self._loaded[graph_id].transformers
        return list(declared() if callable(declared) else declared)

    @asynccontextmanager
    async def open(
        self,
        graph_id: str,
        *,
        config: RunnableConfig,
        access: Access,
        context: Any | None,
        checkpointer: BaseCheckpointSaver[str] | None,
        store: BaseStore | None,
    ) -> AsyncIterator[AnyPregel]:
        """A copy of the graph with the server's checkpointer and store, for one use on the calling (user) loop.

        A factory is called here, and its context manager is exited when the block ends. Subgraphs keep the
        checkpointer setting that they were compiled with. Raises GraphNotFound, GraphFailed, and whatever the
        user's factory raises.
        """
        self.require(graph_id)
        source = self._loaded[graph_id].source
        if isinstance(source, Factory):
            async with source.make(config, server_runtime(access, store, context)) as made:
                yield _attach(graph_id, as_pregel(graph_id, made), checkpointer, store)
        else:
            yield _attach(graph_id, as_pregel(graph_id, source), checkpointer, store)


def _load(spec: GraphSpec) -> _Loaded:
    try:
        source = _resolve(spec.graph_id, load_object(spec))
        return _Loaded(spec, source, transformers=_transformers(spec))
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        text = describe_failure(error)
        log.error("graph_import_failed", graph_id=spec.graph_id, error=text, exc_info=error)
        return _Loaded(spec, None, text)


def _transformers(spec: GraphSpec) -> Any:
    declared = stream_transformers_of(spec)
    if declared is None:
        return ()
    if not callable(declared) and not isinstance(declared, Sequence):
        raise TypeError(f"stream_transformers of {spec.module} is neither a list nor a function that returns one")
    return declared


def _resolve(graph_id: str, loaded: object) -> AnyPregel | Factory:
    if isinstance(loaded, Pregel | StateGraph) or not callable(loaded):
        return as_pregel(graph_id, loaded)
    return inspect_factory(loaded)


def _name(loaded: _Loaded) -> str:
    if isinstance(loaded.source, Pregel) and loaded.source.name != _UNNAMED:
        return loaded.source.name
    return loaded.spec.graph_id


def _attach(
    graph_id: str, graph: AnyPregel, checkpointer: BaseCheckpointSaver[str] | None, store: BaseStore | None
) -> AnyPregel:
    update: dict[str, Any] = {"checkpointer": checkpointer}
    if store is not None:
        update["store"] = store
    if graph.name == _UNNAMED:
        update["name"] = graph_id
    attached = graph.copy(update)
    # `copy` goes through the constructor, which forgets what `compile` set afterwards.
    for late in ("_serde_allowlist", "_output_mapper", "_state_mapper"):
        if late in vars(graph):
            setattr(attached, late, vars(graph)[late])
    return attached
