"""Which webhook URLs are accepted."""

import pytest
from starlette.exceptions import HTTPException
from threadmill_gateway.webhooks import check_webhook

from .gateway_script import resolve_public


@pytest.mark.parametrize(
    "url", ["http://example.com/hook", "https://example.com:8443/hook?x=1", "http://10.0.0.1/hook"]
)
async def test_accepted(url: str) -> None:
    await check_webhook(url, resolve_public, allow_loopback=False)


@pytest.mark.parametrize(
    "url",
    [
        "/relative",
        "example.com/hook",
        "ftp://example.com",
        "http://",
        "http://localhost:5000",
        "http://LOCALHOST./x",
        "http://a.localhost/x",
        "http://127.0.0.1/x",
        "http://127.8.8.8/x",
        "http://[::1]/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://0.0.0.0/x",
        "http://sneaky.example.com/x",
        "http://does.not.resolve/x",
        "http://example.com:99999/x",
        "http://[bad/x",
    ],
)
async def test_refused(url: str) -> None:
    with pytest.raises(HTTPException) as caught:
        await check_webhook(url, resolve_public, allow_loopback=False)
    assert caught.value.status_code == 422


@pytest.mark.parametrize("url", ["/relative", "http://localhost:5000", "http://127.0.0.1/x"])
async def test_loopback_can_be_allowed(url: str) -> None:
    await check_webhook(url, resolve_public, allow_loopback=True)


async def test_allowing_loopback_allows_no_other_scheme() -> None:
    with pytest.raises(HTTPException):
        await check_webhook("file:///etc/passwd", resolve_public, allow_loopback=True)
