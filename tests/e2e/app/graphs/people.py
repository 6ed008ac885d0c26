"""Graphs that stop for people in the ways that LangGraph's documentation teaches."""

import operator
from typing import Annotated, TypedDict

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def ask_twice(state: State) -> State:
    name = interrupt("name?")
    age = interrupt(f"age of {name}?")
    return {"log": [f"{name} is {age}"]}


twice = StateGraph(State).add_node("ask", ask_twice).add_edge(START, "ask").add_edge("ask", END).compile()


@tool
def book(hotel: str) -> str:
    """Books a hotel, once somebody approves."""
    answer = interrupt({"action": "book", "hotel": hotel})
    return f"booked {answer.get('hotel', hotel)}" if answer["type"] != "reject" else "not booked"


def call(state: MessagesState) -> dict[str, object]:
    request = {"name": "book", "args": {"hotel": "Ritz"}, "id": "call-1"}
    return {"messages": [AIMessage("", tool_calls=[request])]}


tools = (
    StateGraph(MessagesState)
    .add_node("call", call)
    .add_node("tools", ToolNode([book]))
    .add_edge(START, "call")
    .add_edge("call", "tools")
    .add_edge("tools", END)
    .compile()
)


def review(state: State) -> Command[str]:
    return Command(goto="accepted" if interrupt("good?") == "yes" else "refused", update={"log": ["reviewed"]})


approval = (
    StateGraph(State)
    .add_node("review", review, destinations=("accepted", "refused"))
    .add_node("accepted", lambda state: {"log": ["accepted"]})
    .add_node("refused", lambda state: {"log": ["refused"]})
    .add_edge(START, "review")
    .compile()
)


def step(name: str) -> State:
    return {"log": [name]}


breakpoints = (
    StateGraph(State)
    .add_node("one", lambda state: step("one"))
    .add_node("two", lambda state: step("two"))
    .add_node("three", lambda state: step("three"))
    .add_edge(START, "one")
    .add_edge("one", "two")
    .add_edge("two", "three")
    .add_edge("three", END)
    .compile(interrupt_before=["two"], interrupt_after=["two"])
)
