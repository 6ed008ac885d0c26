"""Asks twice in one node, and once in a tool; says all kinds of things through the stream writer."""

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt


@tool
def book(hotel: str) -> str:
    """Books a hotel, once a person agrees."""
    return f"booked {hotel}: {interrupt({'book': hotel})}"


def call(state: MessagesState) -> dict[str, object]:
    write = get_stream_writer()
    for said in ("text", 5, 2.5, None, True, ["a", 1], {"k": {"n": [1]}}):
        write(said)
    request = {"name": "book", "args": {"hotel": "Ritz"}, "id": "call-1", "type": "tool_call"}
    return {"messages": [AIMessage("", id="a1", tool_calls=[request])]}


def confirm(state: MessagesState) -> dict[str, object]:
    first = interrupt("first?")
    second = interrupt(f"second after {first}?")
    return {"messages": [AIMessage(f"{first} and {second}", id="a2")]}


builder = StateGraph(MessagesState).add_node("call", call).add_node("tools", ToolNode([book]))
builder.add_node("confirm", confirm).add_edge(START, "call").add_edge("call", "tools")
graph = builder.add_edge("tools", "confirm").add_edge("confirm", END).compile()
