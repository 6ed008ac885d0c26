"""The HTTP edge: routes, errors and server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from threadmill_cli.offline_model import embeddings, wire
from threadmill_cli.offline_model.conversation import Json
from threadmill_cli.offline_model.model import respond

MODELS = ("gpt-4o-mini", "gpt-4o", "text-embedding-3-small")
Clock = Callable[[], datetime]


async def _body(request: Request) -> Json:
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise wire.BadRequest("The request body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise wire.BadRequest("The request body must be a JSON object.")
    return body


def _chat(token_delay_seconds: float, clock: Clock) -> Callable[[Request], Awaitable[Response]]:
    async def chat(request: Request) -> Response:
        decoded = wire.parse_chat(await _body(request))
        completion = wire.complete(decoded, respond(decoded.conversation, clock()))
        if not decoded.stream:
            return JSONResponse(completion.body())
        chunks = completion.chunks(decoded.include_usage)
        return StreamingResponse(_events(chunks, token_delay_seconds), media_type="text/event-stream")

    return chat


async def _events(chunks: Iterable[Json], delay_seconds: float) -> AsyncIterator[str]:
    for chunk in chunks:
        yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        # Also without a delay: another request gets its turn between two tokens.
        await asyncio.sleep(delay_seconds)
    yield "data: [DONE]\n\n"


async def _embeddings(request: Request) -> Response:
    decoded = wire.parse_embeddings(await _body(request))
    found = [embeddings.features(item) for item in decoded.inputs]
    dimensions = decoded.dimensions or embeddings.DEFAULT_DIMENSIONS
    vectors = [embeddings.embed(item, dimensions) for item in found]
    packed = [embeddings.to_base64(vector) if decoded.as_base64 else vector for vector in vectors]
    return JSONResponse(wire.embeddings_body(decoded, packed, sum(map(len, found))))


async def _models(request: Request) -> Response:
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "offline"} for name in MODELS]
    return JSONResponse({"object": "list", "data": data})


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, wire.BadRequest)
    return JSONResponse(wire.error_body(error.message, error.param), error.status)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{error.detail}: {request.method} {request.url.path}"
    return JSONResponse(wire.error_body(message), error.status_code)


def create_app(token_delay_seconds: float = 0.0, clock: Clock = datetime.now) -> Starlette:
    """The server. `clock` (local time) stands in for a prompt that does not tell the time."""
    routes = [
        Route("/v1/chat/completions", _chat(token_delay_seconds, clock), methods=["POST"]),
        Route("/v1/embeddings", _embeddings, methods=["POST"]),
        Route("/v1/models", _models),
        Route("/health", _health),
    ]
    handlers = {wire.BadRequest: _bad_request, HTTPException: _http_error}
    return Starlette(routes=routes, exception_handlers=handlers)
