"""What all request models share: strict types, unknown fields ignored, explicit nulls refused unless allowed."""

from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
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
# Names and the like. No NUL: Postgres keeps it in no text. (From JSON documents it is dropped: `encode.dumps`.)
NO_NUL = r"^[^\x00]*$"
Text = Annotated[str, Field(pattern=NO_NUL)]
Name = Annotated[str, Field(pattern=NO_NUL, min_length=1)]


def _integral(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# In JSON, 10.0 is the integer 10.
Integer = Annotated[int, BeforeValidator(_integral)]
Limit = Annotated[Integer, Field(ge=1, le=1000)]
Offset = Annotated[Integer, Field(ge=0, le=INT32_MAX)]
# As on the reference server: an order without a column is no order.
OrderOfColumn = Annotated[
    Literal["asc", "desc"], Field(description="Of the column `sort_by`; without that one, newest first in any case")
]


def fail(text: str) -> NoReturn:
    """Refuses a field with a text of our own, which becomes the whole detail."""
    raise PydanticCustomError("threadmill", "{text}", {"text": text})


def _uuid(kind: str, text: str) -> str:
    return canonical_uuid(text) or fail(f"Invalid {kind} ID: must be a UUID")


_UUID = Field(json_schema_extra={"format": "uuid"})
ThreadId = Annotated[str, AfterValidator(lambda text: _uuid("thread", text)), _UUID]
AssistantId = Annotated[str, AfterValidator(lambda text: _uuid("assistant", text)), _UUID]
RunId = Annotated[str, AfterValidator(lambda text: _uuid("run", text)), _UUID]
# One that is no UUID names nothing: it is kept as it is, where reads answer for what does not exist.
NamedCheckpoint = Annotated[str, AfterValidator(lambda text: canonical_uuid(text) or text)]
CheckpointId = Annotated[str, AfterValidator(lambda text: canonical_uuid(text) or fail("Invalid checkpoint ID")), _UUID]
