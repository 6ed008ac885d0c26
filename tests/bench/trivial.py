"""A server that does nothing, to know what the load generator itself can do: `python trivial.py PORT`.

Answers every request with the same JSON, and every stream with the events of one run, from constants.
"""

import asyncio
import sys

import uvloop

ANSWER = b'{"thread_id": "00000000-0000-0000-0000-000000000000", "run_id": "00000000-0000-0000-0000-000000000001"}'
EVENT = b'event: messages\r\ndata: [{"content": "token ", "type": "AIMessageChunk"}, {"langgraph_step": 1}]\r\n\r\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Trivial(asyncio.Protocol):
    """Takes each request to be one packet, which those of the load generator are."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as asyncio's own do
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if b"/stream" in data.split(b"\r\n", 1)[0]:
            chunk = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
            self.transport.write(STREAM)
            for _ in range(200):
                self.transport.write(chunk)
            self.transport.write(b"0\r\n\r\n")
        else:
            self.transport.write(HEAD % len(ANSWER) + ANSWER)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Trivial, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


uvloop.run(main())
