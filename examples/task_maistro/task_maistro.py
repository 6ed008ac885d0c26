"""task_mAIstro: a to-do assistant which remembers profile, to-dos and preferences in the store.

The model node reads the memory and answers, or asks by `UpdateMemory` for one or more updates; each kind of
update has a node of its own, and all of them lead back to the model.
"""

import os
import uuid
from datetime import datetime
from functools import cache
from typing import Any

import prompts
from configuration import Configuration
from documents import Profile, ToDo, UpdateMemory
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore, Item
from pydantic import BaseModel
from trustcall import create_extractor

NODES = {
    "user": "update_profile",
    "todo": "update_todos",
    "instructions": "update_instructions",
}
INSTRUCTIONS_KEY = "user_instructions"
MEMORY_LIMIT = 200


@cache
def chat_model(streaming: bool = True) -> ChatOpenAI:
    """Made at first use, so that importing the graph needs no key.

    The model behind an extraction is tagged `nostream`: its tool-call fragments are of no use to a chat window.
    """
    name = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
    return ChatOpenAI(model=name, temperature=0, tags=[] if streaming else ["nostream"])


@cache
def profile_extractor() -> Any:
    return create_extractor(chat_model(False), tools=[Profile], tool_choice="Profile")


@cache
def todo_extractor() -> Any:
    return create_extractor(chat_model(False), tools=[ToDo], tool_choice="ToDo", enable_inserts=True)


def task_mAIstro(  # noqa: N802 - the name under which the assistant is known
    state: MessagesState,
    config: RunnableConfig,
    runtime: Runtime[Configuration],
    store: BaseStore,
) -> dict[str, list[AIMessage]]:
    """Answer, or ask for memory updates, knowing everything that is in memory."""
    settings = Configuration.of(config, runtime.context)
    todos = store.search(settings.namespace("todo"), limit=MEMORY_LIMIT)
    system = prompts.ASSISTANT.format(
        role=settings.task_maistro_role,
        profile=profile_text(store, settings),
        todos="\n".join(str(item.value) for item in todos),
        instructions=instructions_text(store, settings),
        time=now(),
    )
    model = chat_model().bind_tools([UpdateMemory])
    answer = model.invoke([SystemMessage(system), *state["messages"]], config)
    return {"messages": [answer]}


def route(state: MessagesState) -> list[str]:
    """The nodes that answer the tool calls of the last message; END when there are none."""
    calls = pending_calls(state)
    return sorted({NODES.get(kind_of(call), "reject_calls") for call in calls}) or [END]


def update_profile(
    state: MessagesState,
    config: RunnableConfig,
    runtime: Runtime[Configuration],
    store: BaseStore,
) -> dict[str, list[ToolMessage]]:
    """Extract facts about the person into the one profile document."""
    settings = Configuration.of(config, runtime.context)
    namespace = settings.namespace("profile")
    existing = store.search(namespace, limit=1)
    result = extract(
        profile_extractor(), "Profile", existing, state=state, config=config, store=store, settings=settings
    )
    report = [save(store, namespace, key, doc) for key, doc in result]
    return answer_calls(state, "user", report)


def update_todos(
    state: MessagesState,
    config: RunnableConfig,
    runtime: Runtime[Configuration],
    store: BaseStore,
) -> dict[str, list[ToolMessage]]:
    """Insert new to-dos and patch those that are on record."""
    settings = Configuration.of(config, runtime.context)
    namespace = settings.namespace("todo")
    existing = store.search(namespace, limit=MEMORY_LIMIT)
    result = extract(todo_extractor(), "ToDo", existing, state=state, config=config, store=store, settings=settings)
    report = [save(store, namespace, key, doc) for key, doc in result]
    return answer_calls(state, "todo", report)


def update_instructions(
    state: MessagesState,
    config: RunnableConfig,
    runtime: Runtime[Configuration],
    store: BaseStore,
) -> dict[str, list[ToolMessage]]:
    """Rewrite the person's preferences in the light of the conversation."""
    settings = Configuration.of(config, runtime.context)
    system = prompts.INSTRUCTIONS.format(instructions=instructions_text(store, settings))
    request = HumanMessage(prompts.INSTRUCTIONS_REQUEST)
    answer = chat_model(False).invoke([SystemMessage(system), *state["messages"][:-1], request], config)
    store.put(settings.namespace("instructions"), INSTRUCTIONS_KEY, {"memory": answer.text})
    return answer_calls(state, "instructions", [f"The instructions are now:\n{answer.text}"])


def reject_calls(state: MessagesState) -> dict[str, list[ToolMessage]]:
    """Answer calls that no node can serve, so that the model can correct itself."""
    kinds = ", ".join(NODES)
    return {
        "messages": [
            tool_message(call, f"Unknown call. Use UpdateMemory with one of: {kinds}.", status="error")
            for call in pending_calls(state)
            if kind_of(call) not in NODES
        ]
    }


def extract(
    extractor: Any,
    schema: str,
    existing: list[Any],
    *,
    state: MessagesState,
    config: RunnableConfig,
    store: BaseStore,
    settings: Configuration,
) -> list[tuple[str, BaseModel]]:
    """Run trustcall over the conversation; the result pairs store keys with documents."""
    system = prompts.EXTRACTION.format(
        profile=profile_text(store, settings),
        instructions=instructions_text(store, settings),
        time=now(),
    )
    inputs = {
        # The last message is the call for this update: without its answer, it would be invalid history.
        "messages": [SystemMessage(system), *state["messages"][:-1]],
        "existing": [(item.key, schema, item.value) for item in existing] or None,
    }
    result = extractor.invoke(inputs, config)
    pairs = zip(result["responses"], result["response_metadata"], strict=True)
    return [(meta.get("json_doc_id") or str(uuid.uuid4()), doc) for doc, meta in pairs]


def save(store: BaseStore, namespace: tuple[str, ...], key: str, doc: BaseModel) -> str:
    """Store one document and say what changed."""
    before = store.get(namespace, key)
    value = doc.model_dump(mode="json")
    store.put(namespace, key, value)
    return describe_change(before, value)


def describe_change(before: Item | None, value: dict[str, Any]) -> str:
    """One line: `Added: ...`, `Updated <task>: field: old -> new` or `Unchanged: ...`."""
    title = value.get("task") or "the profile"
    if before is None:
        details = "; ".join(f"{k}: {v}" for k, v in value.items() if v and k != "task")
        return f"Added {title} ({details})"
    changes = [f"{k}: {before.value.get(k)} -> {v}" for k, v in value.items() if before.value.get(k) != v]
    return f"Updated {title} ({'; '.join(changes)})" if changes else f"Unchanged: {title}"


def answer_calls(state: MessagesState, kind: str, report: list[str]) -> dict[str, list[ToolMessage]]:
    """Give every call of this kind its tool message; the first one carries the report."""
    first, *others = [call for call in pending_calls(state) if kind_of(call) == kind]
    text = "\n".join(report) or "Nothing had to be changed."
    messages = [tool_message(first, text)]
    messages += [tool_message(call, "Done together with the first call.") for call in others]
    return {"messages": messages}


def tool_message(call: ToolCall, text: str, status: str = "success") -> ToolMessage:
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status=status)


def pending_calls(state: MessagesState) -> list[ToolCall]:
    last = state["messages"][-1]
    return last.tool_calls if isinstance(last, AIMessage) else []


def kind_of(call: ToolCall) -> str:
    return str(call["args"].get("update_type")) if call["name"] == "UpdateMemory" else ""


def profile_text(store: BaseStore, settings: Configuration) -> str:
    items = store.search(settings.namespace("profile"), limit=1)
    return str(items[0].value) if items else ""


def instructions_text(store: BaseStore, settings: Configuration) -> str:
    item = store.get(settings.namespace("instructions"), INSTRUCTIONS_KEY)
    return str(item.value.get("memory", "")) if item else ""


def now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


builder = StateGraph(MessagesState, context_schema=Configuration)
builder.add_node(task_mAIstro)
for node in (update_profile, update_todos, update_instructions, reject_calls):
    builder.add_node(node)
    builder.add_edge(node.__name__, "task_mAIstro")
builder.add_edge(START, "task_mAIstro")
builder.add_conditional_edges("task_mAIstro", route, [*NODES.values(), "reject_calls", END])
graph = builder.compile()
