"""The Graphs service: gRPC in, the user's graphs asked on their own loop, JSON out."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import grpc
import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph.types import StateSnapshot, StateUpdate
from threadmill_chassis.errors import DomainError, InvalidArgument
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import assistants_pb2, graphs_pb2, graphs_pb2_grpc
from threadmill_protos.threads.v1 import threads_pb2

from threadmill_runs.executor.checkpoints.update_saver import UpdateSaver
from threadmill_runs.executor.encoding import decode, encode
from threadmill_runs.executor.graphs.errors import StateContended, UserError
from threadmill_runs.executor.graphs.introspection import AnyProtocol, Schema, drawing, schemas, subgraphs
from threadmill_runs.executor.graphs.registry import AnyPregel, GraphRegistry
from threadmill_runs.executor.graphs.state import SaverFactory, Subject, ThreadStates
from threadmill_runs.executor.graphs.state_view import interrupts_by_task, thread_state
from threadmill_runs.executor.graphs.updates import supersteps
from threadmill_runs.executor.handover import Put, ReaderGone, handed_over

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
# Updates of one thread take turns here. Against those of other executors, and runs that begin and end, the losers
# repeat; each round has a winner.
_UPDATE_ATTEMPTS = 20
# Of an update that builds on what is not the state any more, or not stored any more.
_OVERTAKEN = frozenset(("STATE_CHANGED", "CHECKPOINT_GONE"))
log = structlog.get_logger(__name__)


class UserLoop(Protocol):
    """Where user code runs: event loops apart from the one that serves gRPC."""

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Executes `coroutine` on a user loop; awaited on the gRPC loop."""
        ...


class GraphsServicer(graphs_pb2_grpc.GraphsServicer):
    """Answers about graphs and thread states; DomainErrors become statuses in the chassis' interceptor."""

    def __init__(
        self,
        registry: GraphRegistry,
        loops: UserLoop,
        saver_factory: SaverFactory,
        store: BaseStore | None,
        update_saver_factory: Callable[[], UpdateSaver],
    ) -> None:
        self._registry = registry
        self._loops = loops
        self._states = ThreadStates(registry, saver_factory, store)
        self._store = store
        self._update_saver_factory = update_saver_factory
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # One thread: many that build schemas would take the interpreter away from runs.
        self._builder = ThreadPoolExecutor(1, thread_name_prefix="schemas")
        # Of graphs that no factory makes; there are as many as langgraph.json declares.
        self._schemas: dict[str, bytes] = {}

    async def DescribeGraphs(  # noqa: N802 - gRPC's name
        self, request: graphs_pb2.DescribeGraphsRequest, context: Context
    ) -> graphs_pb2.DescribeGraphsResponse:
        """All graphs, in declaration order."""
        graphs = [
            assistants_pb2.Graph(graph_id=info.graph_id, name=info.name, description=info.description, error=info.error)
            for info in self._registry.describe()
        ]
        return graphs_pb2.DescribeGraphsResponse(graphs=graphs)

    async def GetGraphSchemas(  # noqa: N802 - gRPC's name
        self, request: graphs_pb2.GraphRequest, context: Context
    ) -> graphs_pb2.JsonDocument:
        """Schemas of one graph, built once unless a factory makes it."""
        if request.graph_id in self._schemas:
            return graphs_pb2.JsonDocument(json=self._schemas[request.graph_id], any_config=True)

        async def answer(graph: AnyPregel, config: RunnableConfig) -> object:
            return {"graph_id": request.graph_id, **await self._describe(graph)}

        found = await self._ask(request, answer)
        if not self._registry.is_made_anew(request.graph_id):
            self._schemas[request.graph_id] = found.json
            found.any_config = True
        return found

    async def _describe(self, graph: AnyProtocol) -> dict[str, Schema | None]:
        """Schemas of a graph, built while its user loop goes on."""
        return await asyncio.get_running_loop().run_in_executor(self._builder, schemas, graph)

    async def DrawGraph(  # noqa: N802 - gRPC's name
        self, request: graphs_pb2.DrawGraphRequest, context: Context
    ) -> graphs_pb2.JsonDocument:
        """Drawing of one graph."""

        async def answer(graph: AnyPregel, config: RunnableConfig) -> object:
            return await drawing(graph, config, request.xray_depth)

        return await self._ask(request.graph, answer)

    async def ListSubgraphs(  # noqa: N802 - gRPC's name
        self, request: graphs_pb2.ListSubgraphsRequest, context: Context
    ) -> graphs_pb2.JsonDocument:
        """Schemas of subgraphs."""

        async def answer(graph: AnyPregel, config: RunnableConfig) -> object:
            found = await subgraphs(graph, request.namespace or None, request.recurse)
            return {name: await self._describe(subgraph) for name, subgraph in found.items()}

        return await self._ask(request.graph, answer)

    async def GetState(  # noqa: N802 - gRPC's name
        self, request: graphs_pb2.GetStateRequest, context: Context
    ) -> graphs_pb2.JsonDocument:
        """State of a thread."""
        checkpoint = _object(request.checkpoint_json, "checkpoint")
        saver = None
        if request.HasField("graph"):
            subject = _subject(request.graph, request.thread_id)
        else:
            found, saver = await self._states.look_up(request.thread_id, checkpoint)
            if found is None:
                return graphs_pb2.JsonDocument()
            subject = found

        async def answer() -> bytes:
            state = await self._states.snapshot(subject, checkpoint, saver, subgraphs=request.subgraphs)
            return encode(thread_state(state))

        return graphs_pb2.JsonDocument(json=await self._on_user_loop(subject.graph_id, answer))

    async def GetHistory(  # noqa: N802 - gRPC's name
        self, request: graphs_pb2.GetHistoryRequest, context: Context
    ) -> AsyncGenerator[graphs_pb2.GetHistoryResponse, None]:
        """Past states of a thread: one page in memory, another on its way."""
        subject = _subject(request.graph, request.thread_id)
        checkpoint = _object(request.checkpoint_json, "checkpoint")
        before = _object(request.before_json, "before")
        metadata = _object(request.metadata_json, "metadata")

        async def write(put: Put[list[bytes]]) -> None:
            pages = self._states.history(
                subject, checkpoint=checkpoint, before=before, metadata=metadata, limit=request.limit
            )
            async with aclosing(pages):
                async for page in pages:
                    await put([encode(state) for state in page])

        def run(writing: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
            return self._on_user_loop(subject.graph_id, lambda: writing)

        self._registry.require(subject.graph_id)
        async with aclosing(handed_over(write, run)) as pages:
            async for states in pages:
                yield graphs_pb2.GetHistoryResponse(states_json=states)

    async def UpdateState(  # noqa: N802 - gRPC's name
        self, request: graphs_pb2.UpdateStateRequest, context: Context
    ) -> graphs_pb2.JsonDocument:
        """Applies one update and records what the thread rests in afterwards."""
        values = _json(request.values_json, "values")
        updates = [[StateUpdate(values, request.as_node or None)]]
        checkpoint = _object(request.checkpoint_json, "checkpoint")
        return await self._update(_subject(request.graph, request.thread_id), updates, checkpoint)

    async def BulkUpdateState(  # noqa: N802 - gRPC's name
        self, request: graphs_pb2.BulkUpdateStateRequest, context: Context
    ) -> graphs_pb2.JsonDocument:
        """Applies supersteps, as UpdateState does one."""
        updates = supersteps(_json(request.supersteps_json, "supersteps"))
        return await self._update(_subject(request.graph, request.thread_id), updates, None)

    async def _update(
        self, subject: Subject, updates: list[list[StateUpdate]], checkpoint: dict[str, Any] | None
    ) -> graphs_pb2.JsonDocument:
        """Applies updates, again from the start when another update or a deletion of checkpoints was faster.

        THREAD_BUSY, CHECKPOINT_NOT_FOUND, STATE_CONTENDED.
        """

        async def apply() -> bytes:
            saver = self._update_saver_factory()
            answer, latest = await self._states.update(subject, updates, checkpoint, saver)
            await saver.commit(subject.thread_id, _resting(latest))
            return encode(answer)

        turn = self._turns.setdefault(subject.thread_id, asyncio.Lock())
        async with turn:
            for _ in range(_UPDATE_ATTEMPTS):
                try:
                    return graphs_pb2.JsonDocument(json=await self._on_user_loop(subject.graph_id, apply))
                except grpc.aio.AioRpcError as error:
                    if reason_of(error) not in _OVERTAKEN:
                        raise
        raise StateContended(
            f"Thread {subject.thread_id} changed during each of {_UPDATE_ATTEMPTS} attempts to update it; try again"
        )

    async def _ask(
        self,
        request: graphs_pb2.GraphRequest,
        question: Callable[[AnyPregel, RunnableConfig], Coroutine[Any, Any, object]],
    ) -> graphs_pb2.JsonDocument:
        """Opens a graph without state and answers a question about it."""
        config: RunnableConfig = {"configurable": _object(request.config_json, "config").get("configurable") or {}}

        async def answer() -> bytes:
            opened = self._registry.open(
                request.graph_id,
                config=config,
                access="assistants.read",
                context=None,
                checkpointer=None,
                store=self._store,
            )
            async with opened as graph:
                return encode(await question(graph, config))

        return graphs_pb2.JsonDocument(json=await self._on_user_loop(request.graph_id, answer))

    async def _on_user_loop(self, graph_id: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs `make()` where user code may run; what that code raises becomes USER_ERROR."""
        self._registry.require(graph_id)
        try:
            return await self._loops.run(make())
        except (DomainError, grpc.aio.AioRpcError, ReaderGone):
            raise
        except Exception as error:
            log.info("user_error", graph_id=graph_id, exc_info=error)
            raise UserError(str(error) or type(error).__name__, error=type(error).__name__) from error


def _resting(latest: StateSnapshot) -> threads_pb2.RestingState:
    waiting = bool(latest.next)
    return threads_pb2.RestingState(
        state=threads_pb2.THREAD_STATE_INTERRUPTED if waiting else threads_pb2.THREAD_STATE_IDLE,
        values_json=encode(latest.values),
        interrupts_json=encode(interrupts_by_task(latest)),
        error_json=b"null",
    )


def _subject(graph: graphs_pb2.GraphRequest, thread_id: str) -> Subject:
    return Subject(graph.graph_id, _object(graph.config_json, "config"), thread_id)


def _object(data: bytes, name: str) -> dict[str, Any]:
    document = _json(data, name)
    if document is not None and not isinstance(document, dict):
        raise InvalidArgument(f"{name} must be a JSON object")
    return document or {}


def _json(data: bytes, name: str) -> Any:
    try:
        return decode(data) if data else None
    except ValueError as error:
        raise InvalidArgument(f"{name} is not valid JSON") from error
