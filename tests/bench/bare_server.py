"""Bare server: the least that a server in Python does for JSON over HTTP/1.1 with a model in another process.

    python tests/bench/bare_server.py PORT

A front of uvloop and httptools passes bodies on to one worker over a pair of sockets, without a look at them;
the worker reads JSON with orjson, makes an array and answers with it. Nothing is checked, limited, measured
or cancelled: what a real server takes longer is the price of that.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator

import httptools
import numpy as np
import orjson
import uvloop

HEADER = struct.Struct("<II")
"""Length and number of a message between front and worker."""
HEAD = b"HTTP/1.1 200 OK\r\nserver: bare\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Messages:
    """Takes the messages of a stream of bytes apart."""

    def __init__(self) -> None:
        self._received = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        received, position = self._received + data, 0
        while len(received) - position >= HEADER.size:
            length, number = HEADER.unpack_from(received, position)
            begin = position + HEADER.size
            if len(received) - begin < length:
                break
            position = begin + length
            yield number, received[begin:position]
        self._received = received[position:]


def work(connection: socket.socket) -> None:
    """Answer messages until the connection ends."""
    messages = Messages()
    while data := connection.recv(2**16):
        answers = []
        for number, body in messages.feed(data):
            request = orjson.loads(body)
            [tensor] = request["inputs"]
            array = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
            output = {"name": "y", "shape": array.shape, "datatype": "FP32", "data": array.ravel().tolist()}
            answer = orjson.dumps({"model_name": "m", "id": request.get("id"), "outputs": [output]})
            answers.append(HEADER.pack(len(answer), number) + answer)
        if answers:
            connection.sendall(b"".join(answers))


class Worker(asyncio.Protocol):
    """The front's end of the connection to the worker."""

    def __init__(self) -> None:
        self._messages = Messages()
        self._waiting: dict[int, Callable[[bytes], None]] = {}
        self._count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, body: bytes, answer: Callable[[bytes], None]) -> None:
        self._count += 1
        self._waiting[self._count] = answer
        self.transport.write(HEADER.pack(len(body), self._count) + body)  # type: ignore[attr-defined]  # of a socket

    def data_received(self, data: bytes) -> None:
        for number, body in self._messages.feed(data):
            self._waiting.pop(number)(body)


class Client(asyncio.Protocol):
    """A connection of a client, whose every request is passed on."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        self._worker.ask(body, self._answer)

    def _answer(self, body: bytes) -> None:
        self.transport.write(HEAD % len(body) + body)  # type: ignore[attr-defined]  # of a socket


async def serve(port: int, connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    _, worker = await loop.create_unix_connection(Worker, sock=connection)
    server = await loop.create_server(lambda: Client(worker), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    here, there = socket.socketpair()
    if os.fork() == 0:
        here.close()
        work(there)
        os._exit(0)
    there.close()
    uvloop.run(serve(int(sys.argv[1]), here))


if __name__ == "__main__":
    main()
