"""The same bad input to every endpoint: bodies that are no JSON or no object, ids that are none, wrong methods."""

from uuid import uuid4

from .recording import Recorder
from .scripts import script

BODIES = (
    b"",
    b"nonsense",
    b"[]",
    b"null",
    b"5",
    b'"x"',
    b"\xff",
    b'{"a":',
    b'{"metadata":"\\u0000","limit":"x","offset":"x"}',
)
WITH_BODY = (
    "POST /assistants", "POST /assistants/search", "POST /assistants/count", "PATCH /assistants/{a}",
    "POST /assistants/{a}/versions", "POST /assistants/{a}/latest", "POST /threads", "POST /threads/search",
    "POST /threads/count", "POST /threads/prune", "PATCH /threads/{t}", "POST /threads/{t}/state",
    "POST /threads/{t}/state/checkpoint", "POST /threads/{t}/history", "POST /runs/batch", "POST /runs/cancel",
    "POST /runs/crons", "POST /runs/crons/search", "POST /runs/crons/count", "PATCH /runs/crons/{c}",
    "POST /threads/{t}/runs/crons", "PUT /store/items", "DELETE /store/items", "POST /store/items/search",
    "POST /store/namespaces",
)  # fmt: skip
WITH_IDS = (
    "GET /assistants/{a}", "DELETE /assistants/{a}", "GET /assistants/{a}/schemas", "GET /assistants/{a}/subgraphs",
    "GET /assistants/{a}/subgraphs/x", "GET /threads/{t}", "DELETE /threads/{t}", "GET /threads/{t}/state",
    "GET /threads/{t}/history", "POST /threads/{t}/copy", "GET /threads/{t}/storage", "GET /threads/{t}/runs",
    "GET /threads/{t}/runs/{r}", "GET /threads/{t}/runs/{r}/join", "POST /threads/{t}/runs/{r}/cancel",
    "DELETE /threads/{t}/runs/{r}", "GET /runs/crons/{c}", "DELETE /runs/crons/{c}",
)  # fmt: skip
ODD_IDS = ("bad", "00000000-0000-0000-0000-000000000000", "0" * 32, "%00", "a" * 300, "..%2f..")
ODD_IDS += ("01A20214-0000-7000-8000-000000000000",)
WRONG = (
    *(f"{method} {path}" for method in ("GET", "PUT", "DELETE") for path in ("/assistants/count", "/threads/count")),
    *(f"{method} /store/items" for method in ("POST", "PATCH")),
    *(f"{method} /store/namespaces" for method in ("GET", "PUT", "PATCH", "DELETE")),
    *(f"{method} /runs/crons" for method in ("PUT", "PATCH", "DELETE")),
    *(f"{method} {path}" for method in ("POST", "PUT", "DELETE") for path in ("/ok", "/metrics", "/openapi.json")),
)


async def _places(server: Recorder) -> dict[str, str]:
    """Rows for the placeholders of the tables."""
    assistant = await server.post("/assistants", {"graph_id": "echo"})
    cron = await server.post("/runs/crons", {"assistant_id": "echo", "schedule": "59 23 31 12 *"})
    return {"a": assistant["assistant_id"], "t": await server.thread(), "c": cron["cron_id"], "r": str(uuid4())}


@script
async def bad_bodies(server: Recorder) -> None:
    for endpoint in WITH_BODY:
        method, path = endpoint.split()
        places = await _places(server) if "{" in path else {}
        for content in BODIES:
            await server.raw(method, path.format(**places), content)


@script
async def bad_ids(server: Recorder) -> None:
    thread = await server.thread()
    for endpoint in WITH_IDS:
        method, path = endpoint.split()
        for odd in ODD_IDS:
            places = {"a": odd, "t": odd, "c": odd, "r": odd}
            await server.call(method, path.format(**places))
            if "{r}" in path:
                await server.call(method, path.format(**{**places, "t": thread}))


@script
async def bad_methods(server: Recorder) -> None:
    for endpoint in WRONG:
        await server.raw(*endpoint.split(), b"{}")
