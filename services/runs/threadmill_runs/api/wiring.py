"""Builds the runs api from its settings; everything opened here is closed in reverse."""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from threadmill_chassis.grpc_client import open_channel
from threadmill_chassis.grpc_server import Registration
from threadmill_chassis.postgres import load_queries, open_pool
from threadmill_protos.runs.v1 import assistants_pb2_grpc, crons_pb2_grpc, executors_pb2_grpc, runs_pb2_grpc
from threadmill_protos.threads.v1 import threads_pb2_grpc

from threadmill_runs.api.assistants_servicer import AssistantsServicer
from threadmill_runs.api.crons_servicer import CronsServicer
from threadmill_runs.api.executors_servicer import ExecutorsServicer
from threadmill_runs.api.runs_servicer import RunsServicer
from threadmill_runs.api.settings import RunsSettings
from threadmill_runs.api.watching import Watching
from threadmill_runs.assistants.cache import AssistantCache
from threadmill_runs.assistants.repo import AssistantRepo
from threadmill_runs.crons.repo import CronRepo
from threadmill_runs.crons.scheduler import Scheduler
from threadmill_runs.events.active_runs import ActiveRuns
from threadmill_runs.events.hub import Hub
from threadmill_runs.events.log import OPEN_MARGIN_SECONDS, Bounds, EventLog
from threadmill_runs.events.protocol_stream import ProtocolStreams
from threadmill_runs.events.thread_stream import ThreadStreams
from threadmill_runs.queue.accepting import Acceptor
from threadmill_runs.queue.cancelling import Canceller
from threadmill_runs.queue.dispatcher import Dispatcher, Timing
from threadmill_runs.queue.ending import RunEnder
from threadmill_runs.queue.reaper import Limits, Reaper, Reconciler
from threadmill_runs.queue.repo import QueueRepo
from threadmill_runs.queue.retention import Retention
from threadmill_runs.queue.retention_repo import RetentionRepo
from threadmill_runs.queue.signals import Signals
from threadmill_runs.schema import QUERIES
from threadmill_runs.webhooks.addresses import AddressRule, resolve
from threadmill_runs.webhooks.deliverer import Deliverer, Patience
from threadmill_runs.webhooks.recorder import WebhookRecorder
from threadmill_runs.webhooks.repo import WebhookRepo
from threadmill_runs.webhooks.sending import SenderOnDemand, SendOptions

CLIENT_PATIENCE_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class RunsApi:
    """What the process serves and what it does on the side."""

    registrations: list[Registration]
    # Called when the process is told to stop, before its streams are cut.
    stop: Callable[[], Coroutine[Any, Any, None]]
    duties: dict[str, Coroutine[Any, Any, None]]


def open_redis(settings: RunsSettings) -> Redis:
    """A client that rides out a short outage. It has no time-out for answers: EventLog says why, and has its own.

    Who finds all connections in use waits for one; redis-py's own default is an error beyond a hundred.
    """
    return Redis.from_pool(
        BlockingConnectionPool.from_url(
            settings.redis_uri.get_secret_value(),
            max_connections=settings.redis_pool_max,
            timeout=settings.redis_timeout_seconds,
            socket_timeout=None,
            socket_connect_timeout=settings.redis_timeout_seconds,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
            health_check_interval=0,
        )
    )


def log_bounds(settings: RunsSettings) -> Bounds:
    """What event logs may take."""
    return Bounds(
        max_batches=settings.event_log_max_batches,
        max_bytes=settings.event_log_max_bytes,
        keep_seconds=settings.event_keep_seconds,
        open_seconds=int(settings.run_timeout_seconds) + settings.event_keep_seconds + OPEN_MARGIN_SECONDS,
        timeout_seconds=settings.redis_timeout_seconds,
    )


def impatient(settings: RunsSettings) -> RunsSettings:
    """For what a client waits for: it hears of a database that is down soon, while duties wait for its return."""
    seconds = min(settings.postgres_acquire_timeout_seconds, CLIENT_PATIENCE_SECONDS)
    return settings.model_copy(update={"postgres_acquire_timeout_seconds": seconds})


def open_deliverer(settings: RunsSettings, stack: AsyncExitStack, outbox: WebhookRepo) -> Deliverer:
    """Webhooks' way out: the only HTTP that this process speaks."""
    options = SendOptions(
        timeout_seconds=settings.webhook_timeout_seconds,
        headers={name: value.get_secret_value() for name, value in settings.webhook_headers.items()},
        secret=settings.webhook_secret.get_secret_value() if settings.webhook_secret else "",
        base_url=settings.webhook_base_url,
        rule=AddressRule(settings.webhook_allow_loopback, settings.webhook_allow_private),
    )
    patience = Patience(
        settings.webhook_max_attempts,
        settings.webhook_give_up_seconds,
        settings.webhook_backoff_seconds,
        settings.webhook_backoff_max_seconds,
    )
    return Deliverer(
        outbox,
        SenderOnDemand(stack, options, resolve),
        patience,
        settings.webhook_timeout_seconds,
        settings.webhook_concurrency,
        settings.webhook_poll_seconds,
    )


async def build(settings: RunsSettings, stack: AsyncExitStack) -> RunsApi:
    """Opens Postgres, Redis and the channel to threads, and wires the parts together."""
    pool = await stack.enter_async_context(open_pool(settings, "runs"))
    redis, pubsub = open_redis(settings), open_redis(settings)
    stack.push_async_callback(redis.aclose)
    stack.push_async_callback(pubsub.aclose)
    channel = open_channel(settings, settings.threads_address, patient=False)
    stack.push_async_callback(channel.close)
    threads = threads_pb2_grpc.ThreadsStub(channel)

    queries = load_queries(QUERIES)
    repo = QueueRepo(pool, settings, queries)
    assistants = AssistantRepo(pool, settings, queries)
    events = EventLog(redis, log_bounds(settings))
    hub = Hub(pubsub, events)
    events.on_appended = hub.appended
    signals = Signals(pubsub)
    outbox = WebhookRepo(pool, settings, queries)
    recorder = WebhookRecorder(outbox, threads, enabled=settings.webhook_enabled)
    ender = RunEnder(repo, threads, events, signals, recorder)
    canceller = Canceller(repo, ender, signals)
    timing = Timing(settings.lease_seconds, settings.poll_seconds, settings.run_timeout_seconds)
    dispatcher = Dispatcher(repo, events, timing)
    active_runs = ActiveRuns(repo.still_active)
    hasty = impatient(settings)
    acceptor = Acceptor(
        AssistantCache(AssistantRepo(pool, hasty, queries)),
        QueueRepo(pool, hasty, queries),
        threads,
        canceller,
        ender,
        dispatcher,
        signals,
        active_runs.is_active,
    )
    signals.on_wake = dispatcher.wake
    signals.on_stop = dispatcher.stop_run
    limits = Limits(settings.max_attempts, settings.lease_seconds, settings.unserved_run_seconds)
    reaper = Reaper(repo, ender, signals, limits)

    deliverer = open_deliverer(settings, stack, outbox)
    recorder.on_ended = deliverer.wake
    crons = CronRepo(pool, settings, queries)
    scheduler = Scheduler(crons, acceptor, settings.cron_poll_seconds, settings.cron_lease_seconds)

    watching = Watching(acceptor, hub, dispatcher.reports_here)
    runs = RunsServicer(
        acceptor,
        repo,
        canceller,
        assistants,
        hub,
        ThreadStreams(hub, events, repo.is_resumable),
        ProtocolStreams(hub, events, threads, repo, active_runs.is_active),
        dispatcher,
        threads,
        crons,
        active_runs,
        watching,
    )
    keep_seconds = settings.run_keep_days and settings.run_keep_days * 86_400
    retention = Retention(RetentionRepo(pool, settings, queries), threads, keep_seconds)
    executors = ExecutorsServicer(settings, assistants, repo, events, dispatcher, ender)

    async def stop() -> None:
        dispatcher.stop()
        hub.stop()

    return RunsApi(
        stop=stop,
        registrations=[
            Registration(
                "threadmill.runs.v1.Assistants",
                lambda server: assistants_pb2_grpc.add_AssistantsServicer_to_server(
                    AssistantsServicer(assistants), server
                ),
            ),
            Registration(
                "threadmill.runs.v1.Runs", lambda server: runs_pb2_grpc.add_RunsServicer_to_server(runs, server)
            ),
            Registration(
                "threadmill.runs.v1.Crons",
                lambda server: crons_pb2_grpc.add_CronsServicer_to_server(
                    CronsServicer(crons, assistants, threads, scheduler), server
                ),
            ),
            Registration(
                "threadmill.runs.v1.Executors",
                lambda server: executors_pb2_grpc.add_ExecutorsServicer_to_server(executors, server),
            ),
        ],
        duties={
            "event_hub": hub.listen(),
            "signals": signals.listen(),
            "dispatcher": dispatcher.run(),
            "reaper": reaper.run(settings.reap_seconds),
            "unserved_reaper": reaper.run_unserved(settings.reconcile_seconds),
            "reconciler": Reconciler(repo, threads, ender).run(settings.reconcile_seconds),
            "retention": retention.run(settings.retention_interval_seconds),
            "active_runs": active_runs.run(),
            "crons": scheduler.run(),
            "webhooks": deliverer.run(),
        },
    )
