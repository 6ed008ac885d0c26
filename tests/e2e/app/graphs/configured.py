"""Pydantic state and a context schema; answers what it was configured with."""

from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel, Field


@dataclass
class Context:
    """What a caller may configure."""

    tone: str = "plain"
    size: int = 1


class State(BaseModel):
    number: int = Field(default=0, ge=0)
    seen: dict[str, Any] = Field(default_factory=dict)


def look(state: State, config: RunnableConfig, runtime: Runtime[Context]) -> dict[str, object]:
    configurable = {key: value for key, value in config["configurable"].items() if not key.startswith("__")}
    context = runtime.context
    return {
        "number": state.number + 1,
        "seen": {
            "context": {"tone": context.tone, "size": context.size} if isinstance(context, Context) else context,
            "configurable": {key: str(value) for key, value in configurable.items()},
            "metadata": {key: str(value) for key, value in (config.get("metadata") or {}).items()},
            "tags": config.get("tags"),
            "recursion_limit": config.get("recursion_limit"),
        },
    }


builder = StateGraph(State, context_schema=Context).add_node("look", look)
graph = builder.add_edge(START, "look").add_edge("look", END).compile(name="Configured")
