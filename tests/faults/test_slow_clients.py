"""Clients that send large bodies and never come to their end: the server's memory stays what it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psutil
import pytest

pytestmark = pytest.mark.timeout(90)

MIB = 2**20
BODY, ALL = 4 * MIB, 16 * MIB
CLIENTS = 100
SENT = 3 * MIB
OVERHEAD = 64 * MIB
"""What connections, and a heap in pieces, may take beside the bodies; the clients want to send 300 MiB."""


async def one(server: Any, began: "asyncio.Queue[None]") -> str:
    """Send most of a body, and return what comes back, until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(
            f"POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {BODY}\r\n\r\n".encode()
        )
        for _ in range(SENT // MIB):
            writer.write(b" " * MIB)
            await writer.drain()
        began.put_nowait(None)
        return (await reader.read()).decode()
    except ConnectionError as error:
        began.put_nowait(None)
        return type(error).__name__
    finally:
        writer.close()


@asynccontextmanager
async def parked(server: Any) -> AsyncIterator[list["asyncio.Task[str]"]]:
    """While there are as many as the server takes; the others were refused."""
    began: asyncio.Queue[None] = asyncio.Queue()
    clients = [asyncio.create_task(one(server, began)) for _ in range(CLIENTS)]
    try:
        for _ in clients:
            await began.get()
        yield clients
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


@pytest.mark.parametrize(
    "server",
    [
        {
            "implementation": "models.Held",
            "parallel_workers": 0,
            "http_server": http_server,
            "http_max_body_size": BODY,
            "http_max_total_body_size": ALL,
        }
        for http_server in ("hypercorn", "uvicorn")
    ],
    indirect=True,
    ids=["hypercorn", "uvicorn"],
)
async def test_slow_clients_take_no_more_memory_than_they_may(server: Any, eventually: Any) -> None:
    url, process = f"{server.url}/v2/models/model/infer", psutil.Process(server.process.pid)
    large = b" " * (BODY - 1000)
    async with httpx.AsyncClient(timeout=30) as client:
        assert (await client.post(url, json=server.body(0.0))).status_code == 200
        before = process.memory_info().rss
        async with parked(server) as clients:
            assert process.memory_info().rss < before + ALL + OVERHEAD
            for _ in range(10):
                assert (await client.post(url, json=server.body(0.0))).status_code == 200
            most = ALL // (SENT - 2**16)
            await eventually(lambda: sum(not each.done() for each in clients) <= most)
            refused = [each.result() for each in clients if each.done()]
            assert all(" 503 " in text or text.endswith("Error") for text in refused)
            assert any(" 503 " in text for text in refused)
        # The clients are gone: there is room again.
        async with asyncio.timeout(20):
            while (await client.post(url, content=large)).status_code != 400:
                await asyncio.sleep(0.05)
        assert {(await client.post(url, content=large)).status_code for _ in range(4)} == {400}
    assert "Traceback" not in server.log.read_text()
