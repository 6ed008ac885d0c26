"""Running a graph for the thread-streaming protocol: LangGraph's own protocol stream, on its way to the outbox."""

import asyncio
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core._api.beta_decorator import LangChainBetaWarning
from langgraph.stream import AsyncGraphRunStream

from threadmill_runs.executor.graphs.registry import AnyPregel, StreamTransformerFactory
from threadmill_runs.executor.running.outbox import Outbox
from threadmill_runs.executor.running.protocol_events import ProtocolEncoder

# Hears the values of the root graph, with the interrupts in them as `__interrupt__`.
Listener = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class ProtocolRun:
    """One run of `graph`; `transformers` come after those that it was compiled with."""

    graph: AnyPregel
    transformers: Sequence[StreamTransformerFactory]
    outbox: Outbox
    on_values: Listener

    async def run(self, graph_input: Any, config: Any, arguments: Mapping[str, Any]) -> None:
        """Streams the graph to its end. Raises what it raises."""
        encoder = ProtocolEncoder()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LangChainBetaWarning)  # of interest to us, who pin the version
            stream = await self.graph.astream_events(
                graph_input, config, version="v3", transformers=self.transformers, **arguments
            )
        failure: Exception | None = None
        try:
            await self._consume(stream, encoder)
        except Exception as error:
            failure = error
            raise
        finally:
            for emitted in encoder.failed(failure):
                self.outbox.put(*emitted)

    async def _consume(self, stream: AsyncGraphRunStream, encoder: ProtocolEncoder) -> None:
        """Until the graph has ended, or, when this task is cancelled, until the graph has stopped."""
        consumer = asyncio.ensure_future(self._forward(stream, encoder))
        try:
            await asyncio.wait({consumer})
        except asyncio.CancelledError:
            # Not the consumer: LangGraph would leave the graph's task behind, and it must not outlive the attempt.
            await stream.abort()
            await asyncio.wait({consumer})
            raise
        await consumer

    async def _forward(self, stream: AsyncGraphRunStream, encoder: ProtocolEncoder) -> None:
        async for event in stream:
            params = event["params"]
            if event["method"] == "values" and not params["namespace"] and isinstance(params["data"], dict):
                self.on_values(params["data"] | _asked(params.get("interrupts", ())))
            for emitted in encoder.encode(event):
                self.outbox.put(*emitted)
            await self.outbox.room()


def _asked(interrupts: Sequence[Any]) -> dict[str, Any]:
    return {"__interrupt__": interrupts} if interrupts else {}
