"""What handlers read from a request: JSON bodies, ids in paths, query parameters. Failures are 4xx with a detail."""

import re
from typing import Any, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request

from threadmill_gateway.errors import refuse

Parsed = TypeVar("Parsed", bound=BaseModel)

TRUE = frozenset({"1", "true", "yes", "on"})
INT32_MAX = 2**31 - 1
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


async def read_json(request: Request, limit_bytes: int) -> Any:
    """The body as JSON, whatever its content type. 413 above the limit, 422 when it is no JSON.

    Read once: two APIs may look at the same body.
    """
    if "threadmill.json" in request.scope:
        return request.scope["threadmill.json"]
    request.scope["threadmill.json"] = found = await _read_json(request, limit_bytes)
    return found


async def _read_json(request: Request, limit_bytes: int) -> Any:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large()
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large()
        chunks.append(chunk)
    try:
        return orjson.loads(chunks[0] if len(chunks) == 1 else b"".join(chunks))
    except orjson.JSONDecodeError as error:
        raise refuse(422, "Invalid JSON in request body") from error


def _too_large() -> HTTPException:
    return HTTPException(413, "Request Entity Too Large", headers={"connection": "close"})


async def read(request: Request, model: type[Parsed], limit_bytes: int) -> Parsed:
    """The body as `model`. Raises ValidationError, which is answered with 422."""
    return model.model_validate(await read_json(request, limit_bytes))


def canonical_uuid(text: str) -> str | None:
    """The id as every service spells it (lower case, with dashes); None when it is no UUID."""
    return str(UUID(text)) if _UUID.fullmatch(text) else None


def path_id(request: Request, kind: str, *, status: int = 422, detail: str | None = None) -> str:
    """The id `{kind}_id` of the path, such as kind `thread`; 422 unless it is a UUID."""
    found = canonical_uuid(request.path_params[f"{kind}_id"])
    if found is None:
        raise refuse(status, detail or f"Invalid {kind} ID: must be a UUID")
    return found


def query_flag(request: Request, name: str) -> bool:
    """A boolean parameter: `true`, `1`, `yes` or `on` in any case; anything else, or absence, is false."""
    return request.query_params.get(name, "").lower() in TRUE


def query_count(request: Request, name: str, default: int) -> int:
    """How many rows, as a parameter; a negative number counts as 0. 400 when it is no integer."""
    return min(max(query_integer(request, name, default), 0), INT32_MAX)


def query_integer(request: Request, name: str, default: int) -> int:
    """An integer as a parameter. 400 when it is none."""
    text = request.query_params.get(name)
    try:
        return default if text is None else int(text)
    except ValueError as error:
        raise refuse(400, f"Invalid {name} {text}") from error


def query_list(request: Request, name: str, *, commas: bool = True) -> list[str]:
    """A list parameter in each form that clients use: repeated, one JSON array, or (with `commas`) comma-separated."""
    found: list[str] = []
    for text in request.query_params.getlist(name):
        if text.startswith("["):
            try:
                parsed = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise refuse(422, f"Invalid {name}: not a JSON array") from error
            found.extend(str(part) for part in parsed)
        elif commas:
            found.extend(part.strip() for part in text.split(",") if part.strip())
        else:
            found.append(text)
    return found
