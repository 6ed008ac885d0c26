"""Which webhook URLs are accepted."""

from dataclasses import replace

import pytest
from starlette.exceptions import HTTPException
from threadmill_gateway.webhooks import WebhookPolicy, check_webhook

from .gateway_script import resolve_public


@pytest.mark.parametrize(
    "url", ["http://example.com/hook", "https://example.com:8443/hook?x=1", "http://10.0.0.1/hook"]
)
async def test_accepted(url: str) -> None:
    await check_webhook(url, resolve_public, WebhookPolicy())


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
        await check_webhook(url, resolve_public, WebhookPolicy())
    assert caught.value.status_code == 422


@pytest.mark.parametrize("url", ["/relative", "http://localhost:5000", "http://127.0.0.1/x"])
async def test_loopback_can_be_allowed(url: str) -> None:
    await check_webhook(url, resolve_public, WebhookPolicy(allow_loopback=True))


async def test_allowing_loopback_allows_no_other_scheme() -> None:
    with pytest.raises(HTTPException):
        await check_webhook("file:///etc/passwd", resolve_public, WebhookPolicy(allow_loopback=True))


async def test_two_slashes_name_a_host_and_are_no_path() -> None:
    with pytest.raises(HTTPException):
        await check_webhook("//example.com/x", resolve_public, WebhookPolicy(allow_loopback=True))


STRICT = WebhookPolicy(
    require_https=True,
    allowed_domains=("example.com", "*.Example.com", "*.corp.example"),
    allowed_ports=(443, 8443),
    max_url_length=40,
)


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("http://example.com/hook", "Webhook must use https"),
        ("https://corp.example/hook", "Webhook domain not allowed"),
        ("https://notexample.com/hook", "Webhook domain not allowed"),
        ("https://example.com:9443/hook", "Webhook port 9443 not allowed"),
        ("https://example.com/" + "x" * 21, "Webhook URL too long"),
    ],
)
async def test_policy_refuses(url: str, detail: str) -> None:
    with pytest.raises(HTTPException) as caught:
        await check_webhook(url, resolve_public, STRICT)
    assert (caught.value.status_code, caught.value.detail) == (422, detail)


@pytest.mark.parametrize("url", ["https://example.com/" + "x" * 20, "https://EXAMPLE.com.:8443/"])
async def test_policy_permits(url: str) -> None:
    await check_webhook(url, resolve_public, STRICT)


async def test_policy_does_not_concern_paths_of_the_server_itself() -> None:
    await check_webhook("/hook", resolve_public, replace(STRICT, allow_loopback=True))
