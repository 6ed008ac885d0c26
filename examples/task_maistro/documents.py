"""The documents kept in the store, and the tool by which the model asks to change them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class Profile(BaseModel):
    """What is known about the person who is chatting."""

    name: str | None = Field(default=None, description="The person's name")
    location: str | None = Field(default=None, description="Where the person lives")
    job: str | None = Field(default=None, description="The person's occupation")
    connections: list[str] = Field(
        default_factory=list,
        description="People in the person's life: family, friends, colleagues",
    )
    interests: list[str] = Field(default_factory=list, description="What the person likes and does for fun")


class ToDo(BaseModel):
    """One thing that has to be done."""

    task: str = Field(description="The thing to be done, in a few words")
    time_to_complete: int | None = Field(default=None, description="Estimated time to complete the task, in minutes")
    deadline: datetime | None = Field(default=None, description="When the task has to be finished, if a date applies")
    solutions: list[str] = Field(
        default_factory=list,
        description="Concrete, actionable ways to get it done: steps, providers, options",
    )
    status: Literal["not started", "in progress", "done", "archived"] = Field(
        default="not started", description="How far the task has come"
    )


class UpdateMemory(BaseModel):
    """Decide which kind of long-term memory has to be updated."""

    update_type: Literal["user", "todo", "instructions"] = Field(
        description="user: facts about the person; todo: the to-do list; "
        "instructions: how the person wants the to-do list to be kept"
    )
