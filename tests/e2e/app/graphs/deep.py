"""Two levels of graphs; the innermost streams tokens and says something of its own."""

import operator
from typing import Annotated

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph


class State(MessagesState):
    log: Annotated[list[str], operator.add]


def speak(state: State) -> dict[str, object]:
    get_stream_writer()({"from": "speak"})
    model = GenericFakeChatModel(messages=iter([AIMessage("deep words here")]))
    return {"messages": [model.invoke(state["messages"])], "log": ["speak"]}


def step(state: State) -> dict[str, object]:
    return {"log": ["step"]}


inner = StateGraph(State).add_node("speak", speak).add_edge(START, "speak").add_edge("speak", END).compile()
middle = (
    StateGraph(State)
    .add_node("step", step)
    .add_node("inner", inner)
    .add_edge(START, "step")
    .add_edge("step", "inner")
    .add_edge("inner", END)
    .compile()
)
graph = StateGraph(State).add_node("middle", middle).add_edge(START, "middle").add_edge("middle", END).compile()
