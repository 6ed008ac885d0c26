"""One httpx client on several event loops, as an application's module-level model uses it; with the pinned httpcore."""

import asyncio
import gc
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpcore
import httpx
import pytest
from threadmill_runs.executor.loop_bound import share_clients_between_loops


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass


@contextmanager
def loop_in_a_thread():
    """An event loop that runs in a thread; gives the function that executes a coroutine there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def patched(monkeypatch):
    original = httpcore.AsyncConnectionPool.handle_async_request
    share_clients_between_loops()
    yield
    httpcore.AsyncConnectionPool.handle_async_request = original


async def get(client, url):
    return (await client.get(url)).text


def pool_of(client):
    return client._transport._pool


def test_a_client_works_on_the_loop_that_it_was_used_on_first_and_on_others(patched, url):
    client = httpx.AsyncClient()
    with loop_in_a_thread() as here, loop_in_a_thread() as there:
        for run in (here, there, here, there, there):
            assert run(get(client, url)) == "ok"
        home = pool_of(client)
        [twin] = vars(home)["_threadmill_twins"].values()
        # Each keeps one connection of its own, and uses it again.
        assert [len(pool.connections) for pool in (home, twin)] == [1, 1]
        there(close_own_pool(client))
        here(close_own_pool(client))


def test_many_requests_on_two_loops_at_once(patched, url):
    client = httpx.AsyncClient(limits=httpx.Limits(max_connections=3))

    async def many():
        return await asyncio.gather(*(get(client, url) for _ in range(20)))

    with loop_in_a_thread() as here, loop_in_a_thread() as there:
        answers = []
        threads = [threading.Thread(target=lambda run=run: answers.extend(run(many()))) for run in (here, there)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert answers == ["ok"] * 40
        for run in (here, there):
            run(close_own_pool(client))


async def close_own_pool(client):
    """Closes the connections that the client has on the running loop."""
    home = pool_of(client)
    loop = asyncio.get_running_loop()
    own = home if vars(home)["_threadmill_home"]() is loop else vars(home)["_threadmill_twins"][loop]
    await own.aclose()


def use_on_a_passing_loop(client, url):
    with loop_in_a_thread() as run:
        assert run(get(client, url)) == "ok"
        run(close_own_pool(client))


def test_a_loop_that_has_gone_takes_its_twin_along(patched, url):
    client = httpx.AsyncClient()
    with loop_in_a_thread() as here:
        here(get(client, url))
        for _ in range(3):
            use_on_a_passing_loop(client, url)
        gc.collect()
        assert len(vars(pool_of(client))["_threadmill_twins"]) == 0
        here(close_own_pool(client))


def test_patching_twice_is_patching_once(patched):
    once = httpcore.AsyncConnectionPool.handle_async_request
    share_clients_between_loops()
    assert httpcore.AsyncConnectionPool.handle_async_request is once
