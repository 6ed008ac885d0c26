"""Plain answers, all of them made from the text that was sent."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from threadmill_cli.offline_model.conversation import Conversation, ToolCall
from threadmill_cli.offline_model.rules.intents import memory_kinds
from threadmill_cli.offline_model.rules.lists import answer_about_todos, deadline_of, say_date
from threadmill_cli.offline_model.rules.memory import Memory, read_memory
from threadmill_cli.offline_model.rules.preferences import find_preferences, merge_preferences
from threadmill_cli.offline_model.rules.profile import find_facts
from threadmill_cli.offline_model.rules.text import join_list, sentences, stems, to_second_person, words
from threadmill_cli.offline_model.rules.todos import find_changes, find_tasks, same_task, title_of
from threadmill_cli.offline_model.rules.unknown_tools import describe_result

CANNOT = "I am a small offline model that works by rules, and I find nothing in our conversation that answers this."
_REWRITE = re.compile(
    r"\b(?:update|revise|rewrite|write|create|refine)\b.*\b(?:instructions?|preferences?|guidelines?)\b", re.IGNORECASE
)  # fmt: skip


def answer(conversation: Conversation, now: datetime) -> str:
    """The answer in words to the last message."""
    memory, text = read_memory(conversation.system_text), conversation.last_user_text
    if conversation.turn_results:
        return after_tools(conversation, memory, now)
    if not conversation.tools and _REWRITE.search(text) and len(conversation.user_texts) > 1:
        return rewritten_instructions(conversation, memory)
    return reply_to(text, conversation, memory, now)


def rewritten_instructions(conversation: Conversation, memory: Memory) -> str:
    """The complete list of the user's wishes: those on record, and those in the conversation."""
    wishes = [wish for text in conversation.user_texts[:-1] for wish in find_preferences(text)]
    return "\n".join(f"- {wish}" for wish in merge_preferences(memory.instructions, wishes))


# --- after tools ---


def after_tools(conversation: Conversation, memory: Memory, now: datetime) -> str:
    """Say what the tools of this turn brought about."""
    parts = []
    for call, result in conversation.turn_results:
        kind = _memory_kind(call, conversation)
        if kind is None or re.match(r"\W*(?:error|unknown|failed)\b", result, re.IGNORECASE):
            parts.append(describe_result(call.name if call else "the tool", call.arguments if call else {}, result))
        else:
            parts.append(_CONFIRM[kind](conversation.turn_text, memory, now, result))
    question = [s for s in sentences(conversation.turn_text) if s.endswith("?")]
    about = answer_about_todos(question[-1], memory, now) if question else None
    return "\n".join(dict.fromkeys([*parts, about or ""])).strip()


def _memory_kind(call: ToolCall | None, conversation: Conversation) -> str | None:
    tool = next((tool for tool in conversation.tools if call and tool.name == call.name), None)
    found = memory_kinds(tool) if tool else None
    if call is None or found is None:
        return None
    parameter, options = found
    return next((kind for kind, option in options.items() if call.arguments.get(parameter) == option), None)


def _confirm_profile(text: str, memory: Memory, now: datetime, result: str) -> str:
    facts = find_facts(text)
    said = [
        f"your name is {facts.name}" if facts.name else "",
        f"you live in {facts.location}" if facts.location else "",
        f"you work as {facts.job}" if facts.job and not facts.job.startswith("works") else "",
        f"you like {join_list(facts.interests)}" if facts.interests else "",
        f"the people close to you include {join_list(facts.connections)}" if facts.connections else "",
    ]
    known = join_list(part for part in said if part)
    return f"Nice to know: {known}. I'll remember that." if known else "I've updated what I know about you."


def _confirm_todos(text: str, memory: Memory, now: datetime, result: str) -> str:
    today, lines = now.date(), []
    changed = {change.index: change for change in find_changes(text, memory.todos, today)}
    for task in find_tasks(text, today):
        index = same_task(task, memory.todos)
        todo = memory.todos[index] if index is not None else {"task": task.text}
        deadline = deadline_of(todo) or task.deadline
        due = f", due {say_date(deadline, now)}" if deadline else ""
        lines.append(f'"{title_of(todo)}" is on your ToDo list{due}.')
        changed.pop(index if index is not None else -1, None)
    for index, change in changed.items():
        todo, news = memory.todos[index], change.status
        due = f"due {say_date(change.deadline, now)}" if change.deadline else ""
        state = " and ".join(part for part in (f'now "{news}"' if news else "", due) if part)
        lines.append(f'"{title_of(todo)}" is {state or "updated"}.')
    return "I've updated your ToDo list: " + " ".join(lines) if lines else f"Your ToDo list: {result.strip()}"


def _confirm_instructions(text: str, memory: Memory, now: datetime, result: str) -> str:
    wishes = find_preferences(text)
    return f"Understood, I'll keep to this: {' '.join(wishes)}" if wishes else "I've updated your instructions."


_CONFIRM: dict[str, Callable[[str, Memory, datetime, str], str]] = {
    "user": _confirm_profile,
    "todo": _confirm_todos,
    "instructions": _confirm_instructions,
}


# --- without tools ---


def reply_to(text: str, conversation: Conversation, memory: Memory, now: datetime) -> str:
    """The first rule that has something to say."""
    if not text.strip():
        return "How can I help you?"
    found = (
        _dictated(text)
        or (answer_about_todos(text, memory, now) if memory.has_todo_list else None)
        or _about_memory(text, memory)
        or _time(text, now)
        or _arithmetic(text)
        or _small_talk(text, memory)
        or _recall(text, conversation)
    )
    return found or (CANNOT if _is_question(text) else _acknowledge(text))


def _is_question(text: str) -> bool:
    return text.rstrip().endswith("?") or bool(
        re.match(r"\W*(?:what|who|when|where|why|how|which|is|are|do|does|can|could|tell|explain)\b", text, re.I)
    )


def _dictated(text: str) -> str | None:
    """`Say hello`, `Reply with the word pong`, `Count from 1 to 5`."""
    count = re.search(r"\bcount (?:from )?(?:(\d+) )?(?:up )?to (\d+)", text, re.IGNORECASE)
    if count:
        return " ".join(str(n) for n in range(int(count[1] or 1), min(int(count[2]), 1000) + 1))
    match = re.match(
        r"\W*(?:please\s+)?(?:just\s+)?(?:say|repeat(?: after me)?|echo"
        r"|(?:reply|respond|answer) (?:with|by saying)(?: exactly| only)?)"
        r"(?: the (?:word|phrase|text))?\s*:?\s+(?P<v>.+)$",
        text,
        re.IGNORECASE | re.DOTALL,
    )
    return match["v"].strip(" \"'“”") if match else None


def _about_memory(text: str, memory: Memory) -> str | None:
    if re.search(r"\b(?:instructions|preferences)\b", text, re.I) and _is_question(text) and memory.instructions:
        return f"Your preferences for the ToDo list are:\n{memory.instructions}"
    known = {name: value for name, value in memory.profile.items() if value}
    if not known or not _is_question(text):
        return None
    if re.search(r"\b(?:about me|who am i|my profile)\b", text, re.IGNORECASE):
        return "This is what I know about you: " + "; ".join(f"{k}: {_plain(v)}" for k, v in known.items()) + "."
    return _one_fact(text, known)


_FIELD_WORDS = {
    "name": "name called", "location": "live location where city home", "job": "job work occupation living profession",
    "connections": "family wife husband kids children friends connections",
    "interests": "interests hobbies like enjoy fun",
}  # fmt: skip


def _one_fact(text: str, known: dict[str, Any]) -> str | None:
    found = set(words(text))
    if not found & {"i", "my", "me", "i'm", "am"}:
        return None
    for name, value in known.items():
        if found & {name, *_FIELD_WORDS.get(name, "").split()}:
            return f"Your {name}: {_plain(value)}."
    return None


def _plain(value: Any) -> str:
    return join_list(str(item) for item in value) if isinstance(value, list) else str(value)


def _time(text: str, now: datetime) -> str | None:
    if re.search(r"\bwhat(?:'s| is)? (?:the )?(?:current )?(?:time|date|day)\b", text, re.IGNORECASE):
        return f"It is {now:%A}, {now.day} {now:%B %Y}, {now:%H:%M}."
    return None


_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_SPOKEN = (("plus", "+"), ("minus", "-"), ("times", "*"), ("multiplied by", "*"), ("divided by", "/"), ("\u00d7", "*"))


def _arithmetic(text: str) -> str | None:
    for word, sign in _SPOKEN:
        text = re.sub(rf"(?<=\d)\s*{re.escape(word)}\s*(?=[\d(])", sign, text)
    match = re.search(r"[\d(][\d\s.()]*[-+*/][\d\s.+*/()-]*[\d)]", text)
    try:
        value = _evaluate(ast.parse(match[0].strip(), mode="eval").body) if match else None
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return f"{match[0].strip()} = {value:g}" if match and value is not None else None


def _evaluate(node: ast.AST) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return float(_OPERATORS[type(node.op)](_evaluate(node.left), _evaluate(node.right)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand)
    raise ValueError("not arithmetic")


def _small_talk(text: str, memory: Memory) -> str | None:
    name = memory.profile.get("name")
    greeted = f", {name}" if isinstance(name, str) and name else ""
    if re.match(r"\W*(?:hi|hello|hey|good (?:morning|afternoon|evening)|greetings)\b", text, re.IGNORECASE):
        return f"Hello{greeted}! How can I help you today?"
    if re.match(r"\W*(?:thanks|thank you|thx|great|perfect|cool)\b", text, re.IGNORECASE):
        return f"You're welcome{greeted}!"
    if re.match(r"\W*(?:bye|goodbye|see you|good night)\b", text, re.IGNORECASE):
        return f"Goodbye{greeted}!"
    if re.search(r"\b(?:who|what) are you\b|\bwhat can you do\b", text, re.IGNORECASE):
        return "I am a small offline model that works by rules: I can note to-dos, remember facts and use your tools."
    return None


def _recall(text: str, conversation: Conversation) -> str | None:
    """The sentence of the conversation which has most in common with a question."""
    if not _is_question(text):
        return None
    wanted, best = stems(text), (0.0, "")
    for message in conversation.messages:
        if message.role in {"user", "system"} and message.text != text:
            best = max([best, *_scored(message.text, wanted, message.role == "user")])
    return best[1] if best[0] >= 0.5 else None


def _scored(text: str, wanted: frozenset[str], by_user: bool) -> list[tuple[float, str]]:
    plain = text if by_user else re.sub(r"<([\w-]+)>.*?</\1>", "", text, flags=re.DOTALL)
    return [
        (len(stems(s) & wanted) / max(len(wanted), 1), f"You said: {to_second_person(s)}" if by_user else s)
        for s in sentences(plain)
        if not s.endswith(("?", ":"))
    ]


def _acknowledge(text: str) -> str:
    said = to_second_person(sentences(text)[0]).strip(" .!") if sentences(text) else text
    return f"I understand: {said}. Tell me if I should note or look up anything."
