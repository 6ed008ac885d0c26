"""Health, information, conventions that all endpoints share, CORS."""

from .recording import Recorder
from .scripts import script


@script
async def system_health(server: Recorder) -> None:
    for path in ("/ok", "/", "/ok?check_db=1", "/info"):
        await server.get(path)
    await server.call("HEAD", "/ok")


@script
async def system_conventions(server: Recorder) -> None:
    for path in ("/nowhere", "/threads/", "/threads/search/", "/assistants/x/y/z", "/threads", "/runs/batch"):
        await server.get(path)
    for method, path in (("DELETE", "/threads"), ("PUT", "/threads"), ("POST", "/ok"), ("GET", "/threads/search"),
                         ("PATCH", "/store/items"), ("GET", "/runs/wait"), ("POST", "/info"),
                         ("OPTIONS", "/threads")):  # fmt: skip
        await server.call(method, path)
    await server.call("POST", "/threads", {}, headers={"content-type": "text/plain"})
    await server.call("POST", "/threads", {}, headers={"x-request-id": "my request"})


@script
async def system_request_id(server: Recorder) -> None:
    body = {"assistant_id": "configured", "input": {}}
    headers = {"x-request-id": "my-request", "x-custom": "c", "authorization": "Bearer x", "x-api-key": "k"}
    await server.call("POST", "/runs/wait", body, headers=headers)
    thread = await server.thread()
    await server.call("POST", f"/threads/{thread}/runs", body, headers=headers)


CORS = ("access-control-allow-origin", "access-control-expose-headers", "access-control-max-age", "vary")
CORS += ("access-control-allow-methods", "access-control-allow-headers", "access-control-allow-credentials")


@script
async def system_cors(server: Recorder) -> None:
    origin = {"origin": "https://example.com"}
    asked = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "x-one,content-type"}
    for method, path, headers in (
        ("GET", "/ok", origin),
        ("OPTIONS", "/threads", asked),
        ("OPTIONS", "/threads", origin),
    ):
        await server.call(method, path, headers=headers, keep=CORS)


@script
async def system_metrics(server: Recorder) -> None:
    answer = (await server.http.get("/metrics?format=json")).json()
    await server.call("GET", "/info")
    server.exchanges[-1].body = {"keys": {key: sorted(answer[key]) for key in answer if isinstance(answer[key], dict)}}


@script
async def system_openapi(server: Recorder) -> None:
    """Every operation that the reference's document names must be in ours; ours names more (the Agent Protocol)."""
    document = (await server.http.get("/openapi.json")).json()
    await server.get("/ok")
    methods = ("get", "post", "put", "patch", "delete")
    operations = {
        f"{method} {path}" for path, item in document["paths"].items() for method in item if method in methods
    }
    server.exchanges[-1].body = {
        "version": document["openapi"],
        "operations": dict.fromkeys(sorted(operations), True),
    }


@script
async def system_docs(server: Recorder) -> None:
    for path in ("/docs", "/metrics", "/metrics?format=nonsense"):
        await server.call("GET", path)
        server.exchanges[-1].body = "a page"
    await server.call("HEAD", "/info")
    for value in ("nonsense", "", "true", "1", "0", "2", "-1"):
        await server.call("GET", f"/ok?check_db={value}")
