"""Makes the planned calls, again and again with growing pauses, until they succeed or are given up."""

import random
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from threadmill_runs.claim_loop import ClaimLoop
from threadmill_runs.webhooks.document import body
from threadmill_runs.webhooks.repo import Delivery, WebhookRepo
from threadmill_runs.webhooks.sending import SendFailed, Sending

log = structlog.get_logger(__name__)

# Beyond the time-out of the call itself: for resolving, and for writing down how it went.
LEASE_MARGIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call is repeated: so often, so long after the run's end, with pauses that double up to a bound."""

    max_attempts: int
    give_up_seconds: float
    backoff_seconds: float
    backoff_max_seconds: float

    def pause(self, delivery: Delivery) -> float | None:
        """Seconds until the next attempt, a little at random; None when it is time to give up."""
        seconds = min(self.backoff_max_seconds, self.backoff_seconds * 2.0 ** min(delivery.attempt - 1, 60))
        if delivery.attempt >= self.max_attempts or delivery.age_seconds + seconds > self.give_up_seconds:
            return None
        return seconds * random.uniform(0.8, 1.2)


class Deliverer:
    """One replica's part in delivering webhooks.

    Receivers that are slow to answer, or do not, must not hold up the calls of others: no host gets more calls while it
    has a quarter of all, so it never has half of them.
    """

    def __init__(
        self,
        repo: WebhookRepo,
        sender: Sending,
        patience: Patience,
        timeout_seconds: float,
        concurrency: int,
        poll_seconds: float,
    ) -> None:
        self._repo = repo
        self._sender = sender
        self._patience = patience
        self._lease_seconds = timeout_seconds + LEASE_MARGIN_SECONDS
        self._share = max(1, concurrency // 4)
        self._calls: Counter[str] = Counter()  # under way, by host
        self._loop: ClaimLoop[Delivery] = ClaimLoop(
            "webhook", self._claim, self.deliver, repo.seconds_to_next, concurrency, poll_seconds
        )

    def wake(self) -> None:
        """A call may go out."""
        self._loop.wake()

    async def run(self) -> None:
        """Delivers for ever."""
        await self._loop.run()

    async def _claim(self, limit: int) -> list[Delivery]:
        """Up to so many calls, in portions that leave no host with much more than its share."""
        claimed: list[Delivery] = []
        while wanted := min(limit - len(claimed), self._share):
            full = [host for host, count in self._calls.items() if count >= self._share]
            portion = await self._repo.claim(wanted, self._lease_seconds, full)
            self._calls.update(map(_host, portion))
            claimed += portion
            if len(portion) < wanted:
                break
        return claimed

    async def deliver(self, delivery: Delivery) -> None:
        """Makes one call and writes down how it went."""
        try:
            await self._deliver(delivery)
        finally:
            host = _host(delivery)
            if self._calls[host] == self._share:  # calls to it may have been left to wait
                self._loop.wake()
            self._calls[host] -= 1
            if not self._calls[host]:
                del self._calls[host]

    async def _deliver(self, delivery: Delivery) -> None:
        noted = log.bind(run_id=delivery.run_id, attempt=delivery.attempt)
        try:
            status = await self._sender.send(
                delivery.url, delivery.run_id, body(delivery.document, delivery.updated_at, delivery.ended_at)
            )
        except SendFailed as error:
            pause = None if error.final else self._patience.pause(delivery)
            if pause is not None:
                noted.info("webhook_failed", cause=str(error), retry_in_seconds=round(pause, 1))
                return await self._repo.postpone(delivery, pause)
            noted.warning("webhook_given_up", cause=str(error))
        else:
            noted.info("webhook_delivered", status=status)
        return await self._repo.finish(delivery)


def _host(delivery: Delivery) -> str:
    """Host and port, as claim_deliveries takes them from the URL; empty for a path of this server."""
    return urlsplit(delivery.url).netloc
