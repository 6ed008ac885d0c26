"""What all request models share: strict types, unknown fields ignored, explicit nulls refused unless allowed."""

from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError

from threadmill_gateway.requests import INT32_MAX, canonical_uuid

T = TypeVar("T")


class Model(BaseModel):
    """Base of every request model."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class NotNull:
    """Drops the `None` of an optional type from validation: a field may be absent (its default), not null."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        return schema["schema"] if schema["type"] == "nullable" else schema


# A field that may be left out but not be null; None means absent.
Absent = Annotated[T | None, NotNull()]

JsonObject = dict[str, Any]
Limit = Annotated[int, Field(ge=1, le=1000)]
Offset = Annotated[int, Field(ge=0, le=INT32_MAX)]


def fail(text: str) -> NoReturn:
    """Refuses a field with a text of our own, which becomes the whole detail."""
    raise PydanticCustomError("threadmill", "{text}", {"text": text})


def _uuid(kind: str, text: str) -> str:
    return canonical_uuid(text) or fail(f"Invalid {kind} ID: must be a UUID")


ThreadId = Annotated[str, AfterValidator(lambda text: _uuid("thread", text))]
AssistantId = Annotated[str, AfterValidator(lambda text: _uuid("assistant", text))]
RunId = Annotated[str, AfterValidator(lambda text: _uuid("run", text))]
CheckpointId = Annotated[str, AfterValidator(lambda text: canonical_uuid(text) or fail("Invalid checkpoint ID"))]
