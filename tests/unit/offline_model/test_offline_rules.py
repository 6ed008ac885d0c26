"""The rules of extraction, on varied inputs."""
# ruff: noqa: E501 - a table reads best with one case on a line

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from threadmill_cli.offline_model.rules.dates import find_deadline, find_minutes, reference_time, without_dates
from threadmill_cli.offline_model.rules.lists import answer_about_todos
from threadmill_cli.offline_model.rules.memory import parse_object, read_existing, read_memory
from threadmill_cli.offline_model.rules.preferences import find_preferences, merge_preferences
from threadmill_cli.offline_model.rules.profile import find_facts
from threadmill_cli.offline_model.rules.todos import find_changes, find_tasks, same_task
from threadmill_cli.offline_model.rules.verbs import estimate_minutes, suggest_solutions

THURSDAY = date(2025, 11, 20)
NOW = datetime.fromisoformat("2025-11-20T09:00")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("by Friday", "2025-11-21T23:59"),
        ("on Thursday", "2025-11-27T23:59"),
        ("by next Monday at 5pm", "2025-11-24T17:00"),
        ("next Friday", "2025-11-28T23:59"),
        ("tomorrow", "2025-11-21T23:59"),
        ("the day after tomorrow", "2025-11-22T23:59"),
        ("tonight at 20:30", "2025-11-20T20:30"),
        ("by the end of the week", "2025-11-23T23:59"),
        ("by the end of November", "2025-11-30T23:59"),
        ("end of next month", "2025-12-31T23:59"),
        ("end of February", "2026-02-28T23:59"),
        ("in two weeks", "2025-12-04T23:59"),
        ("within 3 days", "2025-11-23T23:59"),
        ("2025-12-01", "2025-12-01T23:59"),
        ("2025-12-01T14:30", "2025-12-01T14:30"),
        ("on May 5th", "2026-05-05T23:59"),
        ("the 3rd of December 2026", "2026-12-03T23:59"),
        ("by 12/24", "2025-12-24T23:59"),
        ("this weekend", "2025-11-23T23:59"),
        ("on the 25th", "2025-11-25T23:59"),
        ("by December", "2025-12-31T23:59"),
    ],
)
def test_dates(text: str, expected: str) -> None:
    found = find_deadline(f"Do the work {text}, please", THURSDAY)
    assert found is not None
    assert found.moment == datetime.fromisoformat(expected)
    assert without_dates(f"Do the work {text}", THURSDAY) == "Do the work"


@pytest.mark.parametrize(
    "text", ["I may come", "every Monday", "we march on", "version 3/77", "Mondays are fine", "2 hours"]
)
def test_no_dates(text: str) -> None:
    assert find_deadline(text, THURSDAY) is None


def test_leap_days_and_impossible_days() -> None:
    assert find_deadline("on 31 February 2026", THURSDAY) is None
    assert find_deadline("in 3 months", date(2025, 11, 30)).moment.date() == date(2026, 2, 28)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("takes 2 hours", 120), ("about half an hour", 30), ("a 45-minute job", 45), ("an hour and a half", 90),
     ("in 2 hours", None), ("nothing", None)],
)  # fmt: skip
def test_durations(text: str, minutes: int | None) -> None:
    assert find_minutes(text) == minutes


def test_the_prompt_tells_the_time() -> None:
    assert reference_time("System Time: 2024-11-19T10:00:00", NOW) == datetime.fromisoformat("2024-11-19T10:00")
    assert reference_time("The current time is 2024-11-19T10:00:00.123+00:00.", NOW) == datetime.fromisoformat(
        "2024-11-19T10:00"
    )
    assert reference_time("no time", NOW) == NOW


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        (
            "My wife asked me to book swim lessons for the baby and I need to fix the door lock by Friday",
            ["Book swim lessons for the baby", "Fix the door lock"],
        ),
        (
            "I need to buy milk and eggs, call mom and pay the rent tomorrow.",
            ["Buy milk and eggs", "Call mom", "Pay the rent"],
        ),
        ("Need to call back City Toyota to schedule car service.", ["Call back City Toyota to schedule car service"]),
        ("Add renew passport to my todo list by end of December", ["Renew passport"]),
        ("Please add a todo: prepare slides, due 2025-12-01", ["Prepare slides"]),
        ("The kitchen sink needs fixing.", ["Fix the kitchen sink"]),
        ("The tax report is due on Monday", ["Finish the tax report"]),
        ("Can you remind me to pick up the dry cleaning on Saturday?", ["Pick up the dry cleaning"]),
        ("My boss wants me to review the budget before Wednesday", ["Review the budget"]),
        ("Hi! I've got to submit the proposal (about 2 hours) by December 3rd. Thanks!", ["Submit the proposal"]),
        ("- buy bread\n- call the plumber by Monday", ["Buy bread", "Call the plumber"]),
        ("I must not forget to return the library books", ["Return the library books"]),
        ("Remember to lock the door", ["Lock the door"]),
        ("What should I focus on first?", []),
        ("How do I fix a bike?", []),
        ("Give me a summary of all ToDos", []),
        ("I am going to the gym", []),
        ("I finished the report", []),
        ("Tell me a joke", []),
        ("I love hiking", []),
        ("When creating todos, always include local business options", []),
    ],
)
def test_tasks(text: str, tasks: list[str]) -> None:
    assert [task.text for task in find_tasks(text, THURSDAY)] == tasks


def test_each_task_has_its_own_deadline() -> None:
    first, second = find_tasks("I have to finish my thesis by end of November and email my advisor tomorrow.", THURSDAY)
    assert first.deadline == datetime.fromisoformat("2025-11-30T23:59")
    assert second.deadline == datetime.fromisoformat("2025-11-21T23:59")


TODOS: list[dict[str, Any]] = [
    {"task": "Book swim lessons for the baby", "status": "not started", "time_to_complete": 30, "solutions": ["Call the pool"]},
    {"task": "Fix the door lock", "status": "in progress", "deadline": "2025-11-21T23:59:00", "time_to_complete": 90},
    {"task": "Call the dentist", "status": "done", "time_to_complete": 10},
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("I finished the swim lessons", {0: "done"}),
        ("The door lock is fixed", {1: "done"}),
        ("I've booked the swim lessons and fixed the lock", {0: "done", 1: "done"}),
        ("mark the lock as done", {1: "done"}),
        ("I'm working on the swim lessons", {0: "in progress"}),
        ("I haven't finished the door lock", {1: "not started"}),
        ("Forget about the dentist", {2: "archived"}),
        ("I don't need to call the dentist anymore", {2: "archived"}),
        ("I'm done with everything", {0: "done", 1: "done", 2: "done"}),
        ("Can you delete the dentist call?", {2: "archived"}),
        ("Did I finish the swim lessons?", {}),
        ("Have I finished the swim lessons?", {}),
        ("I completed the tax return", {}),
        ("I need to finish the garden fence", {}),
    ],
)
def test_status_news(text: str, changes: dict[int, str]) -> None:
    assert {c.index: c.status for c in find_changes(text, TODOS, THURSDAY)} == changes


@pytest.mark.parametrize(
    ("text", "index", "day"),
    [
        ("For the swim lessons, I need to get that done by end of November.", 0, date(2025, 11, 30)),
        ("Move the dentist call to Monday", 2, date(2025, 11, 24)),
        ("The deadline for the swim lessons is 2025-12-05", 0, date(2025, 12, 5)),
        ("I need to fix the door lock by Saturday", 1, date(2025, 11, 22)),
    ],
)
def test_deadline_news(text: str, index: int, day: date) -> None:
    (change,) = find_changes(text, TODOS, THURSDAY)
    assert change.index == index
    assert change.deadline is not None
    assert change.deadline.date() == day


def test_a_task_said_again_is_recognised() -> None:
    (again,) = find_tasks("I need to book swim lessons for our baby", THURSDAY)
    (other,) = find_tasks("I need to fix the bike", THURSDAY)
    assert same_task(again, TODOS) == 0
    assert same_task(other, TODOS) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "My name is Lance. I live in San Francisco with my wife Anna. I have a 1-year-old daughter.",
            {"name": "Lance", "location": "San Francisco", "connections": ["Anna (wife)", "1-year-old daughter"]},
        ),
        (
            "I'm Bob, a carpenter from Leeds, and I love chess, jazz and hiking.",
            {"name": "Bob", "job": "carpenter", "location": "Leeds", "interests": ["chess", "jazz", "hiking"]},
        ),
        ("I work as a nurse at Guy's Hospital and I moved to London last year", {"job": "nurse at Guy's Hospital", "location": "London"}),
        ("I enjoy biking with friends and I like to bake bread", {"interests": ["biking with friends", "bake bread"]}),
        ("my name is tom", {"name": "Tom"}),
        ("I\u2019m Zoe and my boss is called Jim", {"name": "Zoe", "connections": ["Jim (boss)"]}),
        ("I'm tired. I'd like to buy a car. I'm a big fan of jazz", {"interests": ["jazz"]}),
        ("Do you know where I live in Paris?", {}),
    ],
)  # fmt: skip
def test_profile_facts(text: str, expected: dict[str, Any]) -> None:
    facts = find_facts(text)
    found = {name: getattr(facts, name) for name in ("name", "location", "job", "connections", "interests")}
    assert {name: value for name, value in found.items() if value} == expected
    assert facts.firm is bool(expected)


def test_a_person_mentioned_in_passing_is_no_news() -> None:
    facts = find_facts("My wife asked me to buy bread")
    assert facts.connections == ["wife"]
    assert not facts.firm


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("When creating or updating ToDo items, always include local business options.", 1),
        ("Remember to include a time estimate with every task. Never use abbreviations in my list.", 2),
        ("Please update your instructions to list two solutions", 1),
        ("Remember to buy milk", 0),
        ("I need to always check the list", 0),
        ("Should I always include deadlines?", 0),
    ],
)
def test_preferences(text: str, count: int) -> None:
    assert len(find_preferences(text)) == count


def test_preferences_are_merged() -> None:
    current = "- Always include local options.\n- Keep task names short."
    merged = merge_preferences(current, ["Always include the local options.", "Never add emojis to tasks."])
    assert merged == ["Keep task names short.", "Always include the local options.", "Never add emojis to tasks."]


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("Give me a summary of all ToDos", ["swim", "lock", "dentist"], []),
        ("What is on my todo list?", ["swim", "lock"], []),
        ("Which tasks are done?", ["dentist"], ["swim"]),
        ("What should I focus on first?", ['"Fix the door lock"', "After that: Book swim lessons"], ["dentist"]),
        ("I have 30 minutes, what tasks can I get done?", ["swim"], ["lock", "dentist"]),
        ("Yes, give me some options to call for swim lessons.", ["Call the pool"], ["lock"]),
        ("Please prioritize my list", ['"Fix the door lock"'], ["dentist"]),
        ("When is the door lock due?", ["Friday, 21 November"], ["swim"]),
    ],
)
def test_answers_about_the_list(text: str, wanted: list[str], unwanted: list[str]) -> None:
    prompt = "<todo>\n" + "\n".join(map(str, TODOS)) + "\n</todo>"
    answer = answer_about_todos(text, read_memory(prompt), NOW) or ""
    assert [word for word in wanted if word not in answer] == []
    assert [word for word in unwanted if word in answer] == []


def test_estimates_and_solutions() -> None:
    assert estimate_minutes("Call mom", "call mom") < estimate_minutes("Fix the roof", "fix the roof")
    assert estimate_minutes("Call mom", "call mom, takes an hour") == 60
    local = suggest_solutions("Book swim lessons", "Include local business options", "Leeds")
    assert any("local businesses in Leeds" in step for step in local)
    assert not any("local" in step for step in suggest_solutions("Book swim lessons", "", "Leeds"))


def test_objects_in_prompts() -> None:
    assert parse_object('{"a": true}') == {"a": True}
    assert parse_object("{'a': None, 'd': datetime.datetime(2025, 1, 2, 3, 4)}") == {
        "a": None,
        "d": "2025-01-02T03:04:00",
    }
    assert parse_object("{'d': datetime.datetime(2025, 1, 2, 3, 4, tzinfo=TzInfo(UTC))}") == {
        "d": "2025-01-02T03:04:00"
    }
    assert parse_object("plain words") is None


def test_existing_documents_in_prompts() -> None:
    prompt = (
        "<existing>\n<instance id=42 schema_type=\"ToDo\">\n{'task': 'x'}\n</instance>\n"
        "<schema id=Profile>\n<instance>\n{'name': 'Kim'}\n</instance>\n"
        "    <json_schema>\n    {'properties': {}}\n    </json_schema>\n</schema>\n</existing>"
    )
    todo, profile = read_existing(prompt)
    assert (todo.id, todo.schema_name, todo.value) == ("42", "ToDo", {"task": "x"})
    assert (profile.id, profile.value, profile.schema) == ("Profile", {"name": "Kim"}, {"properties": {}})
