"""What is checked before anything starts: the port, an external Postgres, an external Redis."""

import errno
import random
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import asyncpg
from redis import asyncio as redis
from redis.exceptions import RedisError

from threadmill_cli.refusal import CannotRun

POSTGRES_MIN = 15
REDIS_MIN = (6, 2)
CONNECT_SECONDS = 5.0
PRIVATE_PORTS = (20_000, 32_000)


def check_port(host: str, port: int) -> None:
    """CannotRun unless the gateway could listen on `host`:`port`."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise CannotRun(f"{host} is not an address of this machine: choose another with --host") from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise CannotRun(_port_message(host, port, error)) from None


def _port_message(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what listens there, or choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs more rights than this user has: choose one above 1023 with --port"
    return f"{host} is not an address of this machine ({error.strerror}): choose another with --host"


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at the moment.

    Below those that systems give to outgoing connections, one of which could take it before it is used.
    """
    while True:
        port = random.randrange(*PRIVATE_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((host, port))
            return port


def place_of(uri: str) -> str:
    """An address without its password, for messages."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the given address"
    return f"{host}{port}{parts.path}" or "the given address"


async def check_postgres(dsn: str, *, create: bool = True) -> int:
    """The major version of an external Postgres; creates its database if it lacks one. CannotRun if it cannot serve."""
    place = place_of(dsn)
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
    except asyncpg.InvalidCatalogNameError:
        if not create:
            raise
        await create_database(dsn)
        return await check_postgres(dsn, create=False)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        reason = str(error) or "no answer in time"
        raise CannotRun(f"Postgres at {place} does not answer ({reason}): start it, or correct DATABASE_URI") from None
    try:
        version = connection.get_server_version()
    finally:
        await connection.close()
    if version.major < POSTGRES_MIN:
        raise CannotRun(f"Postgres at {place} is version {version.major}: {POSTGRES_MIN} or newer is needed")
    return version.major


async def create_database(dsn: str) -> None:
    """Creates the database that a DSN names, through the server's `postgres` database. CannotRun if it may not."""
    parts = urlsplit(dsn)
    name = parts.path.lstrip("/")
    try:
        connection = await asyncpg.connect(parts._replace(path="/postgres").geturl(), timeout=CONNECT_SECONDS)
        try:
            await connection.execute(f'CREATE DATABASE "{name.replace(chr(34), chr(34) * 2)}"')
        finally:
            await connection.close()
    except asyncpg.DuplicateDatabaseError:
        return
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise CannotRun(f"the database {name} does not exist and cannot be created ({error}): create it") from None


async def check_redis(uri: str) -> str:
    """The version of an external Redis. CannotRun if it does not answer or is too old."""
    place = place_of(uri)
    try:
        client = redis.from_url(uri, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS)
        async with client:
            version = str((await client.info("server"))["redis_version"])
    except (OSError, RedisError, ValueError) as error:
        raise CannotRun(f"Redis at {place} does not answer ({error}): start it, or correct REDIS_URI") from None
    if tuple(int(part) for part in version.split(".")[:2]) < REDIS_MIN:
        raise CannotRun(f"Redis at {place} is version {version}: 6.2 or newer is needed")
    return version
