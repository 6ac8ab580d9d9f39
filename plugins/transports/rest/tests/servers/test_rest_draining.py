"""Draining: when the server stops, each connection ends with an answer that says so."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'
ECHO, BLOCKING = "/v2/models/echo/infer", "/v2/models/blocking/infer"
HEAD = {":method": "POST", ":path": ECHO, ":scheme": "http", ":authority": "x"}


async def test_clients_that_keep_their_connections_lose_no_request(serve: Any) -> None:
    answers: list[int] = []
    lost: list[str] = []

    async def ask_until_refused(served: Any) -> None:
        wire = None
        while True:
            try:
                wire = wire or await served.wire()
            except OSError:
                return
            try:
                answer = await wire.post(ECHO, BODY)
            except (OSError, EOFError) as error:
                lost.append(repr(error))
                return
            answers.append(answer.status)
            if answer.headers.get("connection") == "close":
                await wire.close()
                wire = None

    async with serve() as served:
        clients = [asyncio.create_task(ask_until_refused(served)) for _ in range(10)]
        while len(answers) < 100:
            await asyncio.sleep(0)
        served.stop.set()
        await asyncio.gather(*clients)
    assert not lost
    assert set(answers) == {200}


async def test_an_idle_connection_may_still_ask_once(serve: Any) -> None:
    async with serve() as served:
        wires = [await served.wire() for _ in range(2)]
        assert "connection" not in (await wires[0].post(ECHO, BODY)).headers
        served.stop.set()
        while not served.kernel.stopping:
            await asyncio.sleep(0)
        for wire in wires:
            answer = await wire.post(ECHO, BODY)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await wire.ended() == b""
            await wire.close()


async def test_a_request_that_comes_while_others_end_is_given_its_time(serve: Any) -> None:
    async with serve() as served:
        model = served.blocking_model()
        wire = await served.wire()
        assert (await wire.post(ECHO, BODY)).status == 200
        served.stop.set()
        while not served.kernel.stopping:
            await asyncio.sleep(0)
        asking = asyncio.create_task(wire.post(BLOCKING, BODY))
        await asyncio.wait_for(model.started.wait(), 20)
        await asyncio.sleep(1.5)  # longer than connections have that serve nothing
        model.go_on.set()
        assert (await asking).status == 200
        await wire.close()


async def test_each_answer_is_the_last_one_as_soon_as_the_kernel_is_stopping(serve: Any) -> None:
    async with serve() as served:
        served.kernel.stopping = True
        for _ in range(2):
            wire = await served.wire()
            answer = await wire.post(ECHO, BODY)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await wire.ended() == b""
            await wire.close()
        served.kernel.stopping = False


class H2Client:
    """One HTTP/2 connection, by hand."""

    def __init__(self, url: str) -> None:
        self.url = url
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.connection = h2.connection.H2Connection(config)
        self.answered: set[int] = set()
        self.last_stream: int | None = None

    async def open(self) -> None:
        parts = urlsplit(self.url)
        self.reader, self.writer = await asyncio.open_connection(parts.hostname, parts.port)
        self.connection.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        self.writer.write(self.connection.data_to_send())
        await self.writer.drain()

    async def ask(self, path: str = ECHO) -> int:
        number: int = self.connection.get_next_available_stream_id()
        self.connection.send_headers(number, list((HEAD | {":path": path}).items()))
        self.connection.send_data(number, BODY, end_stream=True)
        await self.flush()
        return number

    async def read(self) -> bool:
        """Read what has come. Return False at the end of the connection."""
        async with asyncio.timeout(20):
            data = await self.reader.read(2**16)
        for event in self.connection.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                self.answered.add(event.stream_id)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.last_stream = event.last_stream_id
                # This client takes the connection for closed, although answers are still to come.
                self.connection.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        return bool(data)

    async def close(self) -> None:
        self.writer.close()


async def test_an_http2_connection_ends_with_goaway(
    serve_http2: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve_http2() as served:
        model = served.blocking_model()
        busy, idle = H2Client(served.url), H2Client(served.url)
        for client in (busy, idle):
            await client.open()
        slow = await busy.ask(BLOCKING)
        await asyncio.wait_for(model.started.wait(), 20)
        first = await idle.ask()
        while first not in idle.answered:
            await idle.read()
        served.stop.set()
        while not served.kernel.stopping:
            await asyncio.sleep(0)
        quick, second = await busy.ask(), await idle.ask()
        while await idle.read():
            pass
        assert idle.answered == {first, second}
        assert idle.last_stream == second
        model.go_on.set()
        while await busy.read():
            pass
        assert busy.last_stream == quick
        assert busy.answered == {slow, quick}
        for client in (busy, idle):
            await client.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_streams_after_goaway_are_ignored_and_the_others_go_on(serve_http2: Any) -> None:
    async with serve_http2() as served:
        model = served.blocking_model()
        client = H2Client(served.url)
        await client.open()
        slow = await client.ask(BLOCKING)
        await asyncio.wait_for(model.started.wait(), 20)
        server = served.server
        (connection,) = getattr(server, "http2", server)._connections.values()
        await connection.say_goodbye()
        late = await client.ask()  # this client has not read the frame yet
        while client.last_stream is None:
            await client.read()
        assert client.last_stream == slow
        model.go_on.set()
        while slow not in client.answered:
            await client.read()
        assert late not in client.answered
        await client.close()


async def test_http2_clients_of_httpx_lose_no_request(serve_http2: Any) -> None:
    answers: list[int] = []

    async def ask_until_refused(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, http1=False, http2=True, timeout=20) as client:
            while True:
                try:
                    answers.append((await client.post(ECHO, content=BODY)).status_code)
                except httpx.ConnectError:
                    return

    async with serve_http2() as served:
        clients = [asyncio.create_task(ask_until_refused(served.url)) for _ in range(5)]
        while len(answers) < 50:
            await asyncio.sleep(0)
        served.stop.set()
        await asyncio.gather(*clients)
    assert set(answers) == {200}
