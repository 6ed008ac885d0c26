"""Running the graph of one attempt on a user loop: stream it, send its events, and see how it ends."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph.types import StateSnapshot
from langsmith.utils import LangSmithConnectionError
from threadmill_protos.runs.v1 import executors_pb2

from threadmill_runs.executor.checkpoints.errors import LeaseLost, SaverClosed
from threadmill_runs.executor.checkpoints.saver import GrpcSaver
from threadmill_runs.executor.encoding import encode
from threadmill_runs.executor.graphs.registry import AnyPregel, GraphRegistry
from threadmill_runs.executor.graphs.state_view import interrupts_by_task
from threadmill_runs.executor.running.failures import describe, log_failure
from threadmill_runs.executor.running.kwargs import RunKwargs
from threadmill_runs.executor.running.outbox import Outbox
from threadmill_runs.executor.running.protocol_run import ProtocolRun
from threadmill_runs.executor.running.stream_events import EventEncoder, langgraph_modes, message_channels
from threadmill_runs.executor.running.tap import listen

log = structlog.get_logger(__name__)

# LangChain's tag of steps that are of no interest to anybody but LangGraph.
HIDDEN = "langsmith:hidden"

Outcome = executors_pb2.Outcome
CANCELLED_ITSELF = "the graph cancelled itself"


@dataclass(frozen=True, slots=True)
class Execution:
    """All that one attempt needs. `run` is for the user loop, and may be cancelled there at any time."""

    assignment: executors_pb2.AttachResponse.Assignment
    kwargs: RunKwargs
    registry: GraphRegistry
    saver: GrpcSaver | None
    store: BaseStore
    outbox: Outbox
    seen: dict[str, Any] = field(default_factory=dict)

    def with_saver(self, saver: GrpcSaver | None) -> "Execution":
        """The same attempt with another checkpointer, to read its state after it was stopped."""
        return replace(self, saver=saver)

    async def run(self) -> Outcome:
        """Runs the graph to its end. What the graph raises is an outcome; LeaseLost and cancels are raised."""
        structlog.contextvars.bind_contextvars(
            run_id=self.assignment.fence.run_id,
            thread_id=self.assignment.thread_id,
            request_id=self.assignment.request_id,
        )
        try:
            return await self._run_graph()
        except (LeaseLost, SaverClosed):
            raise
        except asyncio.CancelledError:
            if not self._cancelled_by_user_code():
                raise
            return await self._failed(RuntimeError(CANCELLED_ITSELF))
        except Exception as error:  # noqa: BLE001  # the top of user code: whatever it raises is the run's outcome
            return await self._failed(error)

    def _cancelled_by_user_code(self) -> bool:
        """Of a CancelledError: whether user code cancelled itself, or every task that it found; we did not."""
        if self.outbox.closed:  # the attempt is to stop
            return False
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        return True

    async def _run_graph(self) -> Outcome:
        async with self._open() as graph:
            config = await self._start_config(graph)
            if self.saver is not None and self.saver.run_settled:
                log.info("run_had_ended")  # by an attempt that could not report it
                return await self._resting(graph, Outcome.RESULT_SUCCESS, thread_settled=True)
            await (self._run_protocol if self.kwargs.event_streaming else self._run_modes)(graph, config)
            if self.kwargs.feedback_keys:
                raise LangSmithConnectionError("feedback_keys ask for addresses of LangSmith, which is not connected")
            if self.saver is not None:
                self.saver.graph_ended()
            return await self._resting(graph, Outcome.RESULT_SUCCESS)

    async def _run_modes(self, graph: AnyPregel, start: tuple[RunnableConfig, Any]) -> None:
        """Runs the graph, its events as the requested stream modes show them."""
        encoder = EventEncoder(
            self.kwargs.stream_modes,
            subgraphs=self.kwargs.subgraphs,
            message_channels=message_channels(graph.channels),
        )

        def emit(namespace: tuple[str, ...], mode: str, data: Any) -> None:
            self._note(namespace, mode, data)
            for name, data_json in encoder.encode(namespace, mode, data):
                self.outbox.put(name, data_json)

        listen(emit)
        async for event in self._stream(graph, start):
            if event is not None:
                emit((), "events", event)
            await self.outbox.room()

    async def _run_protocol(self, graph: AnyPregel, start: tuple[RunnableConfig, Any]) -> None:
        """Runs the graph, its events as the thread-streaming protocol shows them."""
        config, graph_input = start
        transformers = self.registry.stream_transformers(self.assignment.graph_id)
        protocol = ProtocolRun(graph, transformers, self.outbox, lambda values: self._note((), "values", values))
        await protocol.run(graph_input, config, self._arguments(graph))

    def _open(self) -> Any:
        schema_context = self.kwargs.context or None
        return self.registry.open(
            self.assignment.graph_id,
            config=self._config(),
            access="threads.create_run",
            context=schema_context,
            checkpointer=self.saver,
            store=self.store,
        )

    def _config(self) -> RunnableConfig:
        return self.kwargs.config  # type: ignore[return-value]  # a JSON object in the shape of RunnableConfig

    async def _start_config(self, graph: AnyPregel) -> tuple[RunnableConfig, Any]:
        """Config and input to start with: a resumed run goes on from its own last checkpoint, if it made one."""
        config: RunnableConfig = self.kwargs.config_for(graph.context_schema)  # type: ignore[assignment]  # as _config
        if self.saver is None or not self.assignment.resuming:
            return config, self.kwargs.input
        latest = self._latest()
        saved = await self.saver.aget_tuple(latest)
        if saved is not None and saved.metadata.get("run_id") == self.assignment.fence.run_id:
            log.info("run_resumed", step=saved.metadata.get("step"))
            forked_from = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")
            own = {key: value for key, value in config["configurable"].items() if key not in forked_from}
            return {**config, "configurable": own}, None
        return config, self.kwargs.input

    def _latest(self) -> RunnableConfig:
        """The newest checkpoint of the root graph, wherever the run was forked from."""
        return {"configurable": {"thread_id": self.assignment.thread_id, "checkpoint_ns": ""}}

    async def _stream(
        self, graph: AnyPregel, start: tuple[RunnableConfig, Any]
    ) -> AsyncIterator[Mapping[str, Any] | None]:
        """Runs the graph. Gives LangChain's events if they are asked for; what else it streams, the listener hears."""
        config, graph_input = start
        arguments = self._arguments(graph) | {
            "stream_mode": langgraph_modes(self.kwargs.stream_modes),
            "subgraphs": self.kwargs.subgraphs,
        }
        if "events" not in self.kwargs.stream_modes:
            # As `ainvoke` does: what the graph keeps to itself is for those who read its state.
            arguments["output_keys"] = graph.output_channels
            async for _ in graph.astream(graph_input, config, **arguments):
                yield None
            return
        async for event in graph.astream_events(graph_input, config, version="v2", **arguments):
            is_chunk = event["event"] == "on_chain_stream" and event["run_id"] == self.assignment.fence.run_id
            yield None if is_chunk or HIDDEN in event.get("tags", ()) else event

    def _arguments(self, graph: AnyPregel) -> dict[str, Any]:
        """What LangGraph is told besides input and config, however the run is streamed."""
        arguments: dict[str, Any] = {
            "interrupt_before": self.kwargs.interrupt_before,
            "interrupt_after": self.kwargs.interrupt_after,
            "context": self.kwargs.context_for(graph.context_schema),
        }
        if self.saver is not None:
            arguments["durability"] = self.kwargs.durability
        return arguments

    def _note(self, namespace: tuple[str, ...], mode: str, data: Any) -> None:
        """Remembers the last root values, which a run without checkpoints rests in, and the last step's interrupts."""
        if mode != "values" or namespace:
            return
        self.seen["values"] = data
        interrupts = data.get("__interrupt__", ()) if isinstance(data, dict) else ()
        self.seen["interrupts"] = [*self.seen.get("interrupts", ()), *interrupts]

    async def _failed(self, error: Exception) -> Outcome:
        log_failure(error)
        shown = encode(describe(error))
        if not self.outbox.closed:
            self.outbox.put("error", shown)
        outcome = await self.rest(Outcome.RESULT_ERROR)
        outcome.error_json = shown
        return outcome

    async def rest(self, result: "Outcome.Result.ValueType") -> Outcome:
        """The outcome of a run that did not end by itself, with the state that its checkpoints hold."""
        try:
            async with self._open() as graph:
                return await self._resting(graph, result)
        except (LeaseLost, SaverClosed):
            raise
        except asyncio.CancelledError:
            if not self._cancelled_by_user_code():
                raise
            return Outcome(result=result)
        except Exception as error:  # noqa: BLE001  # the user's factory, or a state that cannot be read
            log_failure(error)
            return Outcome(result=result)

    async def _resting(
        self, graph: AnyPregel, result: "Outcome.Result.ValueType", *, thread_settled: bool = False
    ) -> Outcome:
        several = self.seen.get("interrupts", ())
        several_json = encode(several) if len(several) > 1 else b""
        if self.saver is None:
            values = encode(self.seen["values"]) if "values" in self.seen else b""
            return Outcome(result=result, values_json=values, several_interrupts_json=several_json)
        snapshot: StateSnapshot = await graph.aget_state(self._latest())
        return Outcome(
            result=result,
            values_json=encode(snapshot.values),
            has_next=bool(snapshot.next),
            interrupts_json=encode(interrupts_by_task(snapshot)),
            several_interrupts_json=several_json,
            thread_settled=thread_settled,
        )
