"""Sends the requests of a script to one server and keeps all that came back."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from .normalise import UUID_TEXT, Normaliser

NAMED = re.compile(rf'"(?:thread|run|assistant)_id":\s*"({UUID_TEXT.pattern})"')
HEADERS = ("content-type", "location", "content-location", "cache-control", "x-accel-buffering", "allow")
HEADERS += ("x-pagination-total", "x-pagination-next")


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; `fields` are its field names in order of arrival."""

    name: str
    data: Any
    id: str | None
    fields: tuple[str, ...]


@dataclass(slots=True)
class Exchange:
    """A request and its answer. A stream has `events`, any other answer a `body`."""

    request: str
    sent: Any
    status: int
    headers: dict[str, str]
    body: Any = None
    events: list[Event] | None = None
    line_ends: set[str] = field(default_factory=set)


class Recorder:
    """One server as a script sees it. Every request is recorded with its answer."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.normaliser = Normaliser()
        self.exchanges: list[Exchange] = []

    async def call(
        self, method: str, path: str, body: Any = None, *, keep: tuple[str, ...] = (), **options: Any
    ) -> Any:
        """The JSON (or text) of the answer, whatever its status; headers in `keep` are compared too."""
        content = None if body is None else orjson.dumps(body)
        response = await self.http.request(method, path, content=content, **options)
        exchange = self._exchange(method, path, body, response)
        exchange.headers |= {name: response.headers[name] for name in keep if name in response.headers}
        self.name_ids(response.text)
        exchange.body = _parsed(response.text)
        return exchange.body

    async def raw(self, method: str, path: str, content: bytes) -> Any:
        """As `call`, with a body that need not be JSON."""
        response = await self.http.request(method, path, content=content)
        exchange = self._exchange(method, path, content.decode(errors="replace"), response)
        exchange.body = _parsed(response.text)
        return exchange.body

    async def get(self, path: str, **options: Any) -> Any:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self.call("POST", path, body, **options)

    async def stream(self, method: str, path: str, body: Any = None, **options: Any) -> list[Event]:
        """All events of a stream that the server closes; an answer that is no stream has none."""
        async with self.open_stream(method, path, body, **options) as events:
            return [event async for event in events]

    @asynccontextmanager
    async def open_stream(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Events as they come; leaving early drops the connection."""
        content = None if body is None else orjson.dumps(body)
        async with self.http.stream(method, path, content=content, **options) as response:
            exchange = self._exchange(method, path, body, response)
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                yield self._events(response, exchange)
            else:
                exchange.body = _parsed((await response.aread()).decode())
                yield _nothing()

    def name(self, value: str) -> str:
        """Names an id for the comparison."""
        self.normaliser.name(value, len(self.exchanges))
        return value

    async def thread(self, **body: Any) -> str:
        """Id of a new thread."""
        return str((await self.post("/threads", body))["thread_id"])

    def _exchange(self, method: str, path: str, body: Any, response: httpx.Response) -> Exchange:
        headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
        query = f"?{response.request.url.query.decode()}" if "?" not in path and response.request.url.query else ""
        exchange = Exchange(f"{method} {path}{query}", body, response.status_code, headers)
        self.exchanges.append(exchange)
        for found in UUID_TEXT.findall(headers.get("content-location", "")):
            self.name(found)
        return exchange

    async def _events(self, response: httpx.Response, exchange: Exchange) -> AsyncIterator[Event]:
        fields: list[tuple[str, str]] = []
        exchange.events = found = []
        async for line in _lines(response, exchange.line_ends):
            if line and not line.startswith(":"):
                name, _, value = line.partition(":")
                fields.append((name, value.removeprefix(" ")))
            elif not line and fields:
                if exchange.request.startswith("POST /runs/"):  # no other place tells a stateless run's thread
                    self.name_ids(dict(fields).get("data", ""))
                found.append(_event(fields))
                fields = []
                yield found[-1]

    def name_ids(self, text: str) -> None:
        """Names the ids of threads, runs and assistants in an answer."""
        for found in NAMED.findall(text):
            self.name(found)


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _event(fields: list[tuple[str, str]]) -> Event:
    given = dict(fields)
    names = tuple(name for name, _ in fields)
    return Event(given.get("event", ""), _parsed(given.get("data", "")), given.get("id"), names)


async def _nothing() -> AsyncIterator[Event]:
    for event in ():
        yield event


async def _lines(response: httpx.Response, line_ends: set[str]) -> AsyncIterator[str]:
    rest = ""
    async for text in response.aiter_text():
        rest += text
        while "\n" in rest:
            line, rest = rest.split("\n", 1)
            line_ends.add("\r\n" if line.endswith("\r") else "\n")
            yield line.removesuffix("\r")
