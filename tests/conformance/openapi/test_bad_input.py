"""Input that no schema describes, through the whole system: JSON that is none, or is hard to keep; URLs likewise.

Whatever a client sends is its own mistake (4xx) or taken, never the server's failure.
"""

from collections.abc import AsyncIterator

import httpx
import orjson
import pytest
from threadmill_cli.stack import Stack

from .conftest import make_known

# Each takes a document of the client's own, so that any JSON may stand in it: path, body with %s in its place.
DOCUMENTS = {
    "thread metadata": ("POST", "/threads", '{"metadata":{"a":%s}}'),
    "thread search": ("POST", "/threads/search", '{"metadata":{"a":%s}}'),
    "thread values search": ("POST", "/threads/search", '{"values":{"a":%s}}'),
    "thread count": ("POST", "/threads/count", '{"metadata":{"a":%s}}'),
    "thread patch": ("PATCH", "/threads/{thread_id}", '{"metadata":{"a":%s}}'),
    "thread state": ("POST", "/threads/{thread_id}/state", '{"values":{"question":%s}}'),
    "thread history": ("POST", "/threads/{thread_id}/history", '{"metadata":{"a":%s}}'),
    "supersteps": (
        "POST",
        "/threads",
        '{"metadata":{"graph_id":"echo"},"supersteps":[{"updates":[{"as_node":"reply","values":{"text":%s}}]}]}',
    ),
    "assistant": ("POST", "/assistants", '{"graph_id":"echo","metadata":{"a":%s}}'),
    "assistant context": ("POST", "/assistants", '{"graph_id":"echo","context":{"a":%s}}'),
    "assistant patch": ("PATCH", "/assistants/{assistant_id}", '{"metadata":{"a":%s}}'),
    "assistant search": ("POST", "/assistants/search", '{"metadata":{"a":%s}}'),
    "assistant versions": ("POST", "/assistants/{assistant_id}/versions", '{"metadata":{"a":%s}}'),
    "run input": ("POST", "/threads/{thread_id}/runs/wait", '{"assistant_id":"echo","input":{"text":%s}}'),
    "run config": (
        "POST",
        "/runs/wait",
        '{"assistant_id":"echo","input":{"text":"a"},"config":{"configurable":{"a":%s}}}',
    ),
    "run metadata": ("POST", "/runs", '{"assistant_id":"echo","input":{"text":"a"},"metadata":{"a":%s}}'),
    "run resume": ("POST", "/threads/{thread_id}/runs/wait", '{"assistant_id":"ask","command":{"resume":%s}}'),
    "run stream": ("POST", "/runs/stream", '{"assistant_id":"echo","input":{"text":%s}}'),
    "run batch": ("POST", "/runs/batch", '[{"assistant_id":"echo","input":{"text":%s}}]'),
    "cron": ("POST", "/runs/crons", '{"assistant_id":"echo","schedule":"0 0 1 1 *","input":{"text":%s}}'),
    "cron search": ("POST", "/runs/crons/search", '{"metadata":{"a":%s}}'),
    "item": ("PUT", "/store/items", '{"namespace":["a"],"key":"k","value":{"a":%s}}'),
    "item search": ("POST", "/store/items/search", '{"namespace_prefix":["a"],"filter":{"a":%s}}'),
    "agent run": ("POST", "/runs/wait", '{"agent_id":"echo","input":{"text":%s}}'),
    "agent search": ("POST", "/agents/search", '{"metadata":{"a":%s}}'),
    "agent run search": ("POST", "/runs/search", '{"metadata":{"a":%s}}'),
    "agent patch": ("PATCH", "/threads/{thread_id}", '{"values":{"question":%s}}'),
}
# Whose errors have the Agent Protocol's shape. On shared paths a body that cannot be read is the LangGraph API's.
OF_THE_PROTOCOL = ("/agents/search", "/runs/search")
# What is JSON, though few expect it. It is taken, or refused as too much.
UNUSUAL = {
    "nul": r'"a\u0000b"',
    "nul in a key": r'{"a\u0000b":1}',
    "escaped backslash before a nul's digits": r'"\\u0000"',
    "integer of 30 digits": "1" * 30,
    "integer of 400 digits": "1" * 400,
    "tiny": "1e-400",
    "minus zero": "-0.0",
    "separators": r'"\u2028\u2029\ufeff\uffff"',
    "emoji": r'"\ud83d\ude00"',
    "long": '"' + "x" * 1_000_000 + '"',
    "200 levels": "[" * 200 + "]" * 200,
    "300 levels": "[" * 300 + "]" * 300,
    "2000 levels": "[" * 2000 + "]" * 2000,
}
# What is no JSON.
BROKEN = {
    "nan": "NaN",
    "infinity": "-Infinity",
    "lone surrogate": r'"\ud800"',
    "raw nul": '"\x00"',
    "comment": "1 /* one */",
    "trailing comma": "[1,]",
    "single quotes": "'a'",
}


@pytest.fixture(scope="module")
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as opened:
        yield opened


@pytest.fixture(scope="module")
async def known(stack: Stack) -> dict[str, str]:
    """Ids of things that exist."""
    return await make_known(stack.url)


@pytest.mark.parametrize("place", DOCUMENTS)
async def test_unusual_json_is_taken_or_refused(http: httpx.AsyncClient, known: dict[str, str], place: str) -> None:
    method, path, body = DOCUMENTS[place]
    for name, value in UNUSUAL.items():
        response = await http.request(method, path.format(**known), content=(body % value).encode())
        assert response.status_code < 500, (name, response.text)
        assert "internal error" not in response.text.lower(), (name, response.text[:500])


@pytest.mark.parametrize("place", DOCUMENTS)
async def test_what_is_no_json_is_422(http: httpx.AsyncClient, known: dict[str, str], place: str) -> None:
    method, path, body = DOCUMENTS[place]
    for name, value in BROKEN.items():
        response = await http.request(method, path.format(**known), content=(body % value).encode())
        assert response.status_code == 422, name
        text = response.json()["message" if path in OF_THE_PROTOCOL else "detail"]
        assert text == "Invalid JSON in request body", name


NAMES = {
    "assistant name": ("POST", "/assistants", {"graph_id": "echo", "name": "a\0"}),
    "assistant description": ("POST", "/assistants", {"graph_id": "echo", "description": "\0"}),
    "graph": ("POST", "/assistants", {"graph_id": "e\0"}),
    "assistant search": ("POST", "/assistants/search", {"name": "\0"}),
    "assistant count": ("POST", "/assistants/count", {"graph_id": "\0"}),
    "run": ("POST", "/runs", {"assistant_id": "e\0"}),
    "webhook": ("POST", "/runs", {"assistant_id": "echo", "webhook": "http://example.com/\0"}),
    "schedule": ("POST", "/runs/crons", {"assistant_id": "echo", "schedule": "\0"}),
    "timezone": ("POST", "/runs/crons", {"assistant_id": "echo", "schedule": "* * * * *", "timezone": "\0"}),
    "as_node": ("POST", "/threads/{thread_id}/state", {"values": {}, "as_node": "\0"}),
    "extract": ("POST", "/threads/search", {"extract": {"a": "values.\0"}}),
    "agent": ("POST", "/runs", {"agent_id": "\0"}),
    "agent search": ("POST", "/agents/search", {"name": "\0"}),
}


@pytest.mark.parametrize("place", NAMES)
async def test_names_with_a_nul_are_422(http: httpx.AsyncClient, known: dict[str, str], place: str) -> None:
    method, path, body = NAMES[place]
    response = await http.request(method, path.format(**known), content=orjson.dumps(body))
    assert response.status_code == 422, response.text
    assert "NUL" in response.text


@pytest.mark.parametrize(
    "path",
    [
        "/assistants/a%00/graph",
        "/agents/a%00",
        "/assistants/{assistant_id}/subgraphs/a%00",
        "/threads/{thread_id}/runs?status=%00",
        "/store/items?namespace=a%00&key=k",
        "/store/items?namespace=a&key=%00",
        "/threads/{thread_id}/state/%00",
    ],
)
async def test_urls_with_a_nul_are_422(http: httpx.AsyncClient, known: dict[str, str], path: str) -> None:
    assert (await http.get(path.format(**known))).status_code == 422
