"""One webhook call over HTTP: resolved, checked, connected to the address that was checked, signed."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin

import httpx

from threadmill_runs.webhooks.addresses import AddressRefused, Resolver
from threadmill_runs.webhooks.sending import SendFailed, SendOptions

SIGNATURE_HEADER = "X-Threadmill-Signature"
# The same at each repetition of a call.
ID_HEADER = "Webhook-Id"
DEFAULT_PORTS = {"http": 80, "https": 443}
GONE = 410


@asynccontextmanager
async def open_http() -> AsyncIterator[httpx.AsyncClient]:
    """A client for the block. It keeps no connections: one that was opened for a name must not serve another name on
    the same address. Proxies of the environment are not used, since they would resolve names themselves.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    verify = httpx.create_ssl_context()  # honours SSL_CERT_FILE
    async with httpx.AsyncClient(verify=verify, trust_env=False, follow_redirects=False, limits=limits) as client:
        yield client


def signature(secret: str, sent_at: int, body: bytes) -> str:
    """`t=<unix>,v1=<hex>`: HMAC-SHA256 over `<t>.<body>`."""
    digest = hmac.digest(secret.encode(), f"{sent_at}.".encode() + body, "sha256")
    return f"t={sent_at},v1={digest.hex()}"


class Sender:
    """Makes calls."""

    def __init__(self, http: httpx.AsyncClient, options: SendOptions, resolver: Resolver) -> None:
        self._http = http
        self._options = options
        self._resolver = resolver

    async def send(self, url: str, call_id: str, body: bytes) -> int:
        """Posts the body and answers the status, one of 2xx; raises SendFailed. The response's body is not read."""
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                status = await self._send(httpx.URL(urljoin(self._options.base_url, url)), call_id, body)
        except TimeoutError as error:
            raise SendFailed("timeout") from error
        except AddressRefused as error:
            raise SendFailed(str(error), final=True) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise SendFailed(f"invalid URL: {error}", final=True) from error
        except (httpx.HTTPError, OSError) as error:
            raise SendFailed(f"{type(error).__name__}: {error}") from error
        if not 200 <= status < 300:
            raise SendFailed(f"status {status}", final=status == GONE)
        return status

    async def _send(self, url: httpx.URL, call_id: str, body: bytes) -> int:
        if url.scheme not in DEFAULT_PORTS:
            raise httpx.UnsupportedProtocol("neither http nor https")
        port = url.port or DEFAULT_PORTS[url.scheme]
        addresses = self._options.rule.check(await self._resolver(url.host, port))
        for last, address in enumerate(addresses, 1 - len(addresses)):
            try:
                return await self._post(url, address, call_id, body)
            except httpx.ConnectError:
                if last == 0:
                    raise
        raise OSError("the host has no address")

    async def _post(self, url: httpx.URL, address: str, call_id: str, body: bytes) -> int:
        """To the address, in the name of the host: `Host` header, TLS server name and certificate are the host's."""
        headers = httpx.Headers({"User-Agent": "threadmill-webhook", **self._options.headers})
        headers["Content-Type"] = "application/json"
        headers[ID_HEADER] = call_id
        headers["Host"] = url.netloc.decode("ascii")
        if self._options.secret:
            headers[SIGNATURE_HEADER] = signature(self._options.secret, int(time.time()), body)
        request = self._http.build_request(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers=headers,
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
            timeout=self._options.timeout_seconds,
        )
        response = await self._http.send(request, stream=True)
        await response.aclose()
        return response.status_code
