"""Creates the runs of crons that are due.

    due ──fire_due──► firing, leased ──accept──► run (the statement that inserts it deletes the firing)
                          ▲     │
                          └─────┘ lease ends: this replica died, or could not reach threads

Every replica has a scheduler; row locks share the crons out among them. The loop sleeps until the next tick is due,
so runs come within milliseconds of it; crons that other replicas create meanwhile are those replicas' first.
"""

import asyncio

import grpc
import structlog
from threadmill_chassis.errors import DomainError, Unavailable
from threadmill_chassis.grpc_errors import reason_of

from threadmill_runs.claim_loop import ClaimLoop
from threadmill_runs.crons.repo import CronRepo, Firing
from threadmill_runs.crons.run_request import run_request
from threadmill_runs.errors import AssistantNotFound, InvalidAssistant
from threadmill_runs.queue.accepting import Acceptor

log = structlog.get_logger(__name__)

CAPACITY = 32
TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)


class Scheduler:
    """One replica's part in firing crons."""

    def __init__(self, repo: CronRepo, acceptor: Acceptor, poll_seconds: float, lease_seconds: float) -> None:
        self._repo = repo
        self._acceptor = acceptor
        self._lease_seconds = lease_seconds
        self._loop: ClaimLoop[Firing] = ClaimLoop(
            "cron", self._claim, self.fire, repo.seconds_to_next, CAPACITY, poll_seconds
        )

    def wake(self) -> None:
        """A cron was created or changed here."""
        self._loop.wake()

    async def run(self) -> None:
        """Fires for ever."""
        await self._loop.run()

    async def _claim(self, limit: int) -> list[Firing]:
        firings = await self._repo.take_over(limit, self._lease_seconds)
        if len(firings) < limit:
            firings += await self._repo.fire_due(limit - len(firings), self._lease_seconds)
        return firings

    async def fire(self, firing: Firing) -> None:
        """Creates the run of a tick, or decides that there will be none."""
        cron = firing.cron
        noted = log.bind(cron_id=cron.cron_id, run_id=firing.run_id, due_at=firing.due_at.isoformat())
        try:
            # Well before the lease ends, so that no two replicas work on one tick.
            async with asyncio.timeout(self._lease_seconds / 2):
                await self._acceptor.accept(run_request(cron, firing.run_id))
            noted.info("cron_fired")
        except (AssistantNotFound, InvalidAssistant) as error:
            noted.warning("cron_disabled", cause=error.message)
            await self._repo.disable(cron.cron_id)
        except (Unavailable, TimeoutError) as error:
            noted.warning("cron_postponed", cause=repr(error))
        except DomainError as error:  # strategy `reject` and a busy thread, or a payload that no run can have
            noted.warning("cron_tick_skipped", cause=error.message)
            await self._repo.drop(cron.cron_id)
        except grpc.aio.AioRpcError as error:
            await self._refused_by_threads(firing, error)
        except Exception:  # noqa: BLE001 - logged; a tick that breaks the acceptor must not be tried for ever
            noted.exception("cron_tick_failed")
            await self._repo.drop(cron.cron_id)

    async def _refused_by_threads(self, firing: Firing, error: grpc.aio.AioRpcError) -> None:
        cron_id, reason = firing.cron.cron_id, reason_of(error)
        if reason == "THREAD_NOT_FOUND":  # it went behind our back: its time to live was over
            log.warning("cron_deleted", cron_id=cron_id, thread_id=firing.cron.thread_id, cause="its thread is gone")
            await self._repo.delete_of_thread(firing.cron.thread_id or "")
        elif error.code() in TRANSIENT:
            log.warning("cron_postponed", cron_id=cron_id, cause=reason)
        else:
            log.warning("cron_tick_skipped", cron_id=cron_id, cause=f"{reason}: {error.details()}")
            await self._repo.drop(cron_id)
