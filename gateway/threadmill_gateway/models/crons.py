"""Bodies of the cron endpoints."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from threadmill_gateway.models.base import Absent, AssistantId, JsonObject, Limit, Model, Name, Offset, Text, ThreadId
from threadmill_gateway.models.runs import Config, Nodes, StreamMode, Webhook

CronColumn = Literal[
    "cron_id",
    "assistant_id",
    "thread_id",
    "user_id",
    "end_time",
    "schedule",
    "timezone",
    "payload",
    "next_run_date",
    "metadata",
    "on_run_completed",
    "enabled",
    "created_at",
    "updated_at",
]
CronSortBy = Literal["cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"]
Input = JsonObject | list[JsonObject]
# ISO 8601; without an offset it is UTC.
Moment = Annotated[datetime, Field(strict=False), AfterValidator(lambda time: time.replace(tzinfo=time.tzinfo or UTC))]


class _RunFields(Model):
    """What the runs of a cron are created with; checked here, kept by the cron as the client sent it."""

    input: Absent[Input] = None
    metadata: Absent[JsonObject] = None
    config: Absent[Config] = None
    context: Absent[JsonObject] = None
    webhook: Absent[Webhook] = None
    interrupt_before: Absent[Nodes] = None
    interrupt_after: Absent[Nodes] = None
    multitask_strategy: Absent[Literal["reject", "rollback", "interrupt", "enqueue"]] = None
    stream_mode: Absent[StreamMode | list[StreamMode]] = None
    stream_subgraphs: Absent[bool] = None
    stream_resumable: Absent[bool] = None
    durability: Absent[Literal["sync", "async", "exit"]] = None
    on_run_completed: Absent[Literal["delete", "keep"]] = None


class CronCreate(_RunFields):
    """Body of POST /runs/crons and POST /threads/{thread_id}/runs/crons (where `on_run_completed` does nothing)."""

    assistant_id: Name
    schedule: Text
    timezone: Absent[Text] = None
    end_time: Absent[Moment] = None
    enabled: bool = True


class CronPatch(_RunFields):
    """Body of PATCH /runs/crons/{cron_id}: what is absent stays, `end_time: null` removes the end."""

    schedule: Absent[Text] = None
    timezone: Absent[Text] = None
    end_time: Moment | None = None
    enabled: Absent[bool] = None


class CronCount(Model):
    """Body of POST /runs/crons/count."""

    assistant_id: Absent[AssistantId] = None
    thread_id: Absent[ThreadId] = None
    metadata: Absent[JsonObject] = None


class CronSearch(CronCount):
    """Body of POST /runs/crons/search."""

    enabled: Absent[bool] = None
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Absent[CronSortBy] = None
    sort_order: Absent[Literal["asc", "desc"]] = None
    select: list[CronColumn] = Field(default_factory=list)
