"""A conversation with a model that streams its words; synchronous store access, as most user code does."""

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.store.base import BaseStore


def answer(state: MessagesState, config: RunnableConfig, store: BaseStore) -> dict[str, object]:
    said = state["messages"][-1].text
    count = sum(1 for message in state["messages"] if message.type == "human")
    get_stream_writer()({"heard": said})
    store.put(("heard", config["configurable"].get("user_id") or "nobody"), f"{count}", {"text": said})
    model = GenericFakeChatModel(messages=iter([AIMessage(f"you said {said} as message {count}")]))
    return {"messages": [model.invoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").add_edge("answer", END).compile()
