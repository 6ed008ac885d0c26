"""A service that is away: a restart is bridged, anything longer is a 503 soon, streams that have begun wait on."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGSTOP
from socket import AF_UNIX, socket
from time import monotonic

import httpx
import pytest
from threadmill_gateway import hanging
from threadmill_gateway.hanging import PROBE_SECONDS, SUSPECT_SECONDS
from threadmill_gateway.settings import GatewaySettings
from threadmill_protos.runs.v1 import runs_pb2

from .gateway_script import RUN_ID, THREAD_ID, Script, live_client, open_gateway, run_row, scripted_services, thread_row

THREAD = f"/threads/{THREAD_ID}"
RUN = f"{THREAD}/runs/{RUN_ID}"
# What `open_channel` promises, and a little for this machine.
BOUND_SECONDS = 9


@asynccontextmanager
async def lonely(settings: GatewaySettings, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway as deployed, whose services are not there yet."""
    deployed = settings.model_copy(update={"call_timeout_seconds": 60})
    async with open_gateway(deployed) as gateway, live_client(gateway, folder) as client:
        client.timeout = httpx.Timeout(30)
        yield client


async def test_a_service_that_stays_away_is_503_soon(settings: GatewaySettings, tmp_path: Path) -> None:
    async with lonely(settings, tmp_path) as client:
        began = monotonic()
        answers = await asyncio.gather(
            client.get(THREAD),
            client.post(f"{THREAD}/runs/stream", json={"assistant_id": "a"}),
            client.get(f"/runs/{RUN_ID}"),
        )
    assert monotonic() - began < BOUND_SECONDS
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(503, "5")] * 3
    assert answers[0].json() == answers[1].json() == {"detail": "Service Unavailable"}
    assert answers[2].json() == {"code": "unavailable", "message": "Service Unavailable", "metadata": {}}


async def test_a_service_that_hangs_is_503_soon(settings: GatewaySettings, tmp_path: Path) -> None:
    """It takes connections, as a stopped process does, and says nothing."""
    with socket(AF_UNIX) as silent:
        silent.bind(settings.threads_address.removeprefix("unix:"))
        silent.listen()
        async with lonely(settings, tmp_path) as client:
            began = monotonic()
            response = await client.get(THREAD)
    assert response.status_code == 503
    assert monotonic() - began < 2 * BOUND_SECONDS


# A process with a service's address and health, and nothing else.
LIVING = """
import asyncio, sys
from threadmill_chassis.grpc_server import serving
from threadmill_chassis.settings import ProcessSettings

async def main():
    async with serving(ProcessSettings(), sys.argv[1], []):
        print("serves", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_service_that_is_stopped_in_the_middle_is_503_soon(settings: GatewaySettings, tmp_path: Path) -> None:
    address = settings.threads_address
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LIVING, address, stdout=PIPE, stderr=DEVNULL)
    assert process.stdout is not None
    try:
        while b"serves" not in await process.stdout.readline():
            assert process.returncode is None
        async with lonely(settings.model_copy(update={"store_address": address}), tmp_path) as client:
            assert (await client.get(THREAD)).status_code == 501  # it lives
            process.send_signal(SIGSTOP)
            began = monotonic()
            answers = await asyncio.gather(
                client.get(THREAD),
                client.post(f"{THREAD}/runs/wait", json={"assistant_id": "a"}),
                client.get("/store/items", params={"key": "k", "namespace": "n"}),
                client.get("/store/items", params={"key": "l", "namespace": "n"}),
            )
        assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(503, "5")] * 4
        assert monotonic() - began < SUSPECT_SECONDS + PROBE_SECONDS + 2
    finally:
        process.kill()
        await process.communicate()


async def test_a_service_that_takes_its_time_is_waited_for(
    settings: GatewaySettings, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hanging, "SUSPECT_SECONDS", 0.1)

    async def stream(_: object) -> AsyncIterator[runs_pb2.StreamRunResponse]:
        await asyncio.sleep(0.5)  # far beyond suspicion
        yield runs_pb2.StreamRunResponse(run=run_row())

    script.on(StreamRun=stream)
    async with scripted_services(settings, script), lonely(settings, tmp_path) as client:
        assert (await client.get(f"{RUN}/stream")).status_code == 200


async def test_a_restart_is_bridged(settings: GatewaySettings, script: Script, tmp_path: Path) -> None:
    script.on(GetThread=thread_row())
    async with lonely(settings, tmp_path) as client:
        asking = asyncio.create_task(client.get(THREAD))
        await asyncio.wait({asking}, timeout=1)
        async with scripted_services(settings, script):
            assert (await asking).status_code == 200
        again = asyncio.create_task(client.get(THREAD))
        await asyncio.wait({again}, timeout=1)
        async with scripted_services(settings, script):
            assert (await again).status_code == 200


async def test_a_stream_that_has_begun_waits_for_its_service(
    settings: GatewaySettings, script: Script, tmp_path: Path
) -> None:
    """Longer than a new call would."""
    event = runs_pb2.Event(id="1-0", name="values", data_json=b"{}")
    begun = [runs_pb2.StreamRunResponse(run=run_row()), runs_pb2.StreamRunResponse(batch={"events": [event]})]
    async with lonely(settings, tmp_path) as client:
        async with scripted_services(settings, Script({"StreamRun": _until_gone(begun)})):
            request = client.build_request("GET", f"{RUN}/stream")
            response = await client.send(request, stream=True)
            parts = response.aiter_bytes()
            assert b"event: values" in await anext(parts)
        rest = asyncio.create_task(_all(parts))
        await asyncio.wait({rest}, timeout=BOUND_SECONDS)
        assert not rest.done()
        last = runs_pb2.Event(id="2-0", name="updates", data_json=b"{}")
        script.on(StreamRun=[begun[0], runs_pb2.StreamRunResponse(batch={"events": [last]})])
        async with scripted_services(settings, script):
            assert b"event: updates" in await rest
        assert script.last("StreamRun").continue_after == "1-0"
        await response.aclose()


def _until_gone(messages: list[runs_pb2.StreamRunResponse]) -> object:
    async def stream(_: object) -> AsyncIterator[runs_pb2.StreamRunResponse]:
        for message in messages:
            yield message
        await asyncio.Event().wait()

    return stream


async def _all(parts: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in parts])
