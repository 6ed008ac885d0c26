"""What a long conversation costs: stored bytes and time by turns, with large values cut into chunks and without.

    .venv/bin/python tests/bench/scale/conversation.py [--turns 500] [--shape chat|agent]

A turn of `chat` is a question and an answer; one of `agent` also a call of a tool, to which the whole state is sent, as
LangGraph's prebuilt agent does it.
"""

import argparse
import asyncio
import logging
import sys
from random import Random
from statistics import median
from string import ascii_lowercase
from time import perf_counter
from typing import Any

import structlog
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import MessagesState, StateGraph
from langgraph.types import Send
from service import Service, service
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.threads.v1 import threads_pb2
from threadmill_runs.executor.checkpoints import chunking
from threadmill_runs.executor.checkpoints.saver import GrpcSaver

# Words enough that the database cannot compress them away.
WORDS = ["".join(Random(n).choices(ascii_lowercase, k=3 + n % 8)) for n in range(2_000)]
RANDOM = Random(0)
SIZES = """
SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_stat_user_tables
WHERE relname IN ('checkpoint', 'channel_blob', 'chunk', 'pending_write')
"""


def text(words: int) -> str:
    """Something to say."""
    return " ".join(RANDOM.choices(WORDS, k=words))


def graph(shape: str) -> Any:
    """The builder of a graph that answers at once."""

    def say(state: MessagesState) -> Any:
        return {"messages": [AIMessage(text(80))]}

    def call_tool(state: Any) -> Any:
        return {"messages": [ToolMessage("done", tool_call_id=str(len(state["messages"])))]}

    builder = StateGraph(MessagesState)
    builder.add_node("say", say)
    builder.set_entry_point("say")
    if shape == "agent":
        builder.add_node("tool", call_tool)
        builder.add_node("conclude", say)
        builder.add_conditional_edges("say", lambda state: [Send("tool", dict(state))], ["tool"])
        builder.add_edge("tool", "conclude")
    return builder


async def converse(running: Service, shape: str, turns: int) -> None:
    """Prints a line at each tenth of the conversation."""
    thread_id = (await running.threads.CreateThread(threads_pb2.CreateThreadRequest())).thread_id
    config: Any = {"configurable": {"thread_id": thread_id}}
    builder = graph(shape)
    since = perf_counter()
    for turn in range(1, turns + 1):
        fence = common_pb2.Fence(run_id=f"run {turn}", token=turn)
        saver = GrpcSaver(running.checkpoints, running.control_loop, fence=fence)
        await builder.compile(checkpointer=saver).ainvoke(
            {"messages": [HumanMessage(text(40))]}, config, durability="sync"
        )
        if turn % max(1, turns // 5) == 0:
            took = perf_counter() - since
            size = await running.sql.fetchval(SIZES)
            read = median([await reading(running, config) for _ in range(9)])
            per_turn = took / (turns // 5)
            sys.stdout.write(f"| {turn} | {size / 1e6:.1f} | {per_turn * 1e3:.1f} | {read * 1e3:.1f} |\n")
            sys.stdout.flush()
            since = perf_counter()


async def reading(running: Service, config: Any) -> float:
    """Seconds that reading the latest state takes a client that has nothing yet."""
    began = perf_counter()
    await GrpcSaver(running.checkpoints, running.control_loop).aget_tuple(config)
    return perf_counter() - began


async def main() -> None:
    """Measures both ways, each on a database of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=500)
    parser.add_argument("--shape", choices=["chat", "agent"], default="chat")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    smallest = chunking.MIN_PAYLOAD_BYTES
    for name, threshold in (("whole", 2**62), ("chunks", smallest)):
        chunking.MIN_PAYLOAD_BYTES = threshold
        sys.stdout.write(f"\n{arguments.shape}, {name}\n")
        sys.stdout.write("| turns | stored, MB | a turn, ms | read the state, ms |\n|---|---|---|---|\n")
        async with service() as running:
            await converse(running, arguments.shape, arguments.turns)


if __name__ == "__main__":
    asyncio.run(main())
