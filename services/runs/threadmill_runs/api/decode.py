"""What requests hold, checked and in one spelling; everything else is refused here and not deeper inside."""

from uuid import UUID

import orjson
from threadmill_chassis.errors import InvalidArgument

from threadmill_runs.assistants.repo import is_uuid

DEFAULT_LIMIT = 10
LONGEST_PAGE = 1001  # a caller may ask for one row more than its client did


def uuid_of(text: str, kind: str) -> str:
    """The canonical form of an id; raises InvalidArgument."""
    if not is_uuid(text):
        raise InvalidArgument(f"Invalid {kind} ID: must be a UUID")
    return str(UUID(text))


def optional_uuid(text: str, kind: str) -> str | None:
    """As `uuid_of`; None for an empty text."""
    return uuid_of(text, kind) if text else None


def page_of(limit: int, offset: int) -> tuple[int, int]:
    """Limit (0 means 10) and offset; raises InvalidArgument."""
    if not 0 <= limit <= LONGEST_PAGE or offset < 0:
        raise InvalidArgument("limit must be from 1 to 1000, offset at least 0")
    return limit or DEFAULT_LIMIT, offset


def object_of(json: bytes, name: str) -> bytes:
    """A JSON object, or nothing; raises InvalidArgument for anything else."""
    if json:
        try:
            document = orjson.loads(json)
        except orjson.JSONDecodeError as error:
            raise InvalidArgument(f"{name}: must be JSON") from error
        if not isinstance(document, dict):
            raise InvalidArgument(f"{name}: must be a JSON object")
    return json
