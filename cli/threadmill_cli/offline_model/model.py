"""The model: one decision per request, by rules, from the text and the schemas in it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

from threadmill_cli.offline_model.conversation import Call, Conversation, Reply, Tool
from threadmill_cli.offline_model.rules import documents, unknown_tools
from threadmill_cli.offline_model.rules.answers import answer
from threadmill_cli.offline_model.rules.dates import reference_time
from threadmill_cli.offline_model.rules.intents import memory_kinds, needed_updates
from threadmill_cli.offline_model.rules.memory import read_memory
from threadmill_cli.offline_model.rules.schemas import is_todo_schema


def respond(conversation: Conversation, clock: datetime) -> Reply:
    """Answer a conversation: calls if tools are wanted, a JSON text if a schema is, else words.

    `clock` is used only when the prompt does not say what time it is.
    """
    now = reference_time(conversation.system_text, clock)
    calls = _calls(conversation, now)
    if calls:
        return Reply(calls=tuple(calls if conversation.parallel_calls else calls[:1]))
    if conversation.response_schema is not None:
        return Reply(_structured(conversation, now))
    return Reply(answer(conversation, now))


def _calls(conversation: Conversation, now: datetime) -> list[Call]:
    if not conversation.tools or conversation.tool_choice == "none":
        return []
    if conversation.tool_choice == "auto":
        return _voluntary(conversation, now)
    if conversation.tool_choice != "required":
        chosen = tuple(tool for tool in conversation.tools if tool.name == conversation.tool_choice)
        conversation = replace(conversation, tools=chosen)
    return _forced(conversation, now)


def _voluntary(conversation: Conversation, now: datetime) -> list[Call]:
    """Memory updates that the turn gives reason for and has not made; documents; tools that are asked for."""
    routers = [tool for tool in conversation.tools if memory_kinds(tool)]
    calls = [call for tool in routers for call in _updates(tool, conversation, now)]
    others = tuple(tool for tool in conversation.tools if tool not in routers)
    if others and any(documents.is_patch_tool(tool) or documents.is_document_tool(tool) for tool in others):
        return calls + ([] if conversation.turn_results else _document_calls(conversation, now, eager=False))
    return calls + unknown_tools.choose_calls(replace(conversation, tools=others), now)


def _updates(tool: Tool, conversation: Conversation, now: datetime) -> list[Call]:
    found = memory_kinds(tool)
    if found is None:
        return []
    parameter, options = found
    made = {call.arguments.get(parameter) for call in conversation.turn_calls if call.name == tool.name}
    # After a first update the prompt shows the new memory: what is needed is judged by the message alone.
    kinds = needed_updates(conversation.turn_text, read_memory(conversation.system_text), now)
    wanted = [options[kind] for kind in kinds if kind in options and options[kind] not in made]
    return [Call(tool.name, {parameter: option}) for option in wanted]


def _forced(conversation: Conversation, now: datetime) -> list[Call]:
    """At least one call, whatever the text says."""
    routers = [call for tool in conversation.tools for call in _updates(tool, conversation, now)]
    if routers:
        return routers
    patchers = [tool for tool in conversation.tools if documents.is_patch_tool(tool)]
    if patchers and (repair := documents.repair_call(patchers[0], conversation, now)):
        return [repair]
    if patchers or any(documents.is_document_tool(t) or documents.is_remove_tool(t) for t in conversation.tools):
        # Rather an answer in words than the removal of a document that nobody wants removed.
        return _document_calls(conversation, now, eager=True)
    wanted = unknown_tools.choose_calls(conversation, now)
    return wanted or unknown_tools.forced_call(unknown_tools.most_relevant(conversation), conversation, now)


def _document_calls(conversation: Conversation, now: datetime, eager: bool) -> list[Call]:
    """Patch what is on record and insert what is new; when eager, do something in any case."""
    patchers = [tool for tool in conversation.tools if documents.is_patch_tool(tool)]
    writers = [tool for tool in conversation.tools if not documents.is_patch_tool(tool)]
    calls = [call for tool in patchers for call in documents.patch_documents(tool, conversation, now)]
    for tool in filter(documents.is_remove_tool, writers):
        calls += documents.remove_documents(tool, conversation)
    for tool in writers:
        # A document of which there is only one is patched when it is on record, and written when it is not.
        if documents.is_remove_tool(tool) or (patchers and not is_todo_schema(tool.parameters)):
            continue
        calls += [call for call in documents.write_documents(tool, conversation, now) if eager or _says(call)]
    return calls or (documents.untouched(patchers[0], conversation) if eager and patchers else [])


def _says(call: Call) -> bool:
    return any(value for value in call.arguments.values())


def _structured(conversation: Conversation, now: datetime) -> str:
    """A JSON text for `response_format`; without a schema, an object holding the answer."""
    schema = conversation.response_schema or {}
    if not schema.get("properties"):
        return json.dumps({"answer": answer(conversation, now)}, ensure_ascii=False)
    tool = Tool("answer", "", schema)
    if documents.is_document_tool(tool):
        document = documents.write_documents(tool, conversation, now)[0].arguments
    else:
        document = unknown_tools.forced_call(tool, conversation, now)[0].arguments
    return json.dumps(document, ensure_ascii=False)
