"""When and how to call a tool that the rules know nothing of but its schema."""

from __future__ import annotations

import re
from datetime import datetime

from threadmill_cli.offline_model.conversation import Call, Conversation, Tool
from threadmill_cli.offline_model.rules.schemas import Source, fill, find_numbers, name_stems, places
from threadmill_cli.offline_model.rules.text import stem, stems, word_set

_SYNONYMS = {
    "add": "plus sum total addition +",
    "multiply": "times product multiplied *", "subtract": "minus difference less",
    "divide": "divided quotient over", "search": "look find google lookup",
    "weather": "forecast temperature rain sunny",
    "calculator": "calculate compute plus minus times divided", "calculate": "compute plus minus times divided",
    "send": "email mail message", "time": "clock", "book": "reserve schedule", "create": "make new add",
    "delete": "remove", "list": "show", "convert": "exchange",
}  # fmt: skip
_SYMBOLS = {"+": "plus", "*": "times", "\u00d7": "times", "/": "divided", "-": "minus"}
_GENERIC = {
    stem(word) for word in word_set("get fetch do run call tool function use the current user data info my name")
}


def choose_calls(conversation: Conversation, now: datetime) -> list[Call]:
    """Calls of the tools which the message plausibly asks for; none that this turn has already made."""
    text = conversation.turn_text
    scored = [(_relevance(tool, text), tool) for tool in conversation.tools]
    best = max((score for score, _ in scored), default=0)
    wanted = [tool for score, tool in scored if score >= 2 and score >= best - 1]
    made = {(call.name, str(call.arguments)) for call in conversation.turn_calls}
    calls = [call for tool in wanted for call in calls_of(tool, text, now)]
    return [call for call in calls if (call.name, str(call.arguments)) not in made]


def _relevance(tool: Tool, text: str) -> int:
    """A word of the tool's name counts 2, a word of its description or parameters 1."""
    said = stems(_spell_symbols(text))
    named = name_stems(tool.name) - _GENERIC
    meant = {stem(word) for key, more in _SYNONYMS.items() if stem(key) in named for word in more.split()}
    described = stems(tool.description) - _GENERIC
    score = 2 * len(said & named) + 2 * bool(said & meant) + len(said & described - named)
    return score if _has_evidence(tool, text) else 0


def _spell_symbols(text: str) -> str:
    return re.sub(r"(?<=[\d\s)])[+*\u00d7/-](?=\s*[\d(])", lambda m: f" {_SYMBOLS[m[0]]} ", text)


def _has_evidence(tool: Tool, text: str) -> bool:
    """Every required number has to be said."""
    kinds = [tool.properties.get(name, {}).get("type") for name in tool.required]
    needed = sum(kind in {"integer", "number"} for kind in kinds)
    return len(find_numbers(text)) >= needed


def calls_of(tool: Tool, text: str, now: datetime) -> list[Call]:
    """One call; several if the text names several places for the tool's one required place."""
    first = fill(tool.parameters, Source(text, now))
    key = next((name for name in tool.required if name in {"city", "location", "place", "town"}), None)
    named = places(text) if key else []
    if key is None or first.get(key) not in named:
        return [Call(tool.name, first)]
    return [Call(tool.name, {**first, key: place}) for place in named]


def forced_call(tool: Tool, conversation: Conversation, now: datetime) -> list[Call]:
    """The call of a tool that has to be called, with what the conversation gives for it."""
    calls = calls_of(tool, conversation.turn_text, now)
    return calls if conversation.parallel_calls else calls[:1]


def most_relevant(conversation: Conversation) -> Tool:
    """The tool to use when some tool has to be."""
    return max(conversation.tools, key=lambda tool: _relevance(tool, conversation.turn_text))


def describe_result(name: str, arguments: dict[str, object], result: str) -> str:
    """A sentence with the result of a tool."""
    given = ", ".join(f"{key}: {value}" for key, value in arguments.items())
    source = f"{name} ({given})" if given else name
    return f"According to {source}: {result.strip()}"
