"""A server that has hardly any file descriptors left says so, once, and goes on once there are some."""

import resource
import socket
import sys
from typing import Any

import httpx
import psutil
import pytest

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets limits of another process"),
]

CLIENTS = 40


@pytest.mark.parametrize(
    "server",
    [{"parallel_workers": 0, "http_server": http_server} for http_server in ("hypercorn", "uvicorn")],
    indirect=True,
    ids=["hypercorn", "uvicorn"],
)
async def test_clients_that_cannot_be_accepted_are_logged_and_others_served_later(
    server: Any, eventually: Any
) -> None:
    pid = server.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (psutil.Process(pid).num_fds() + 5, limits[1]))
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(CLIENTS)]
    await eventually(lambda: "file descriptors are open" in server.log.read_text())
    for client in clients:
        client.close()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    async with httpx.AsyncClient(timeout=30) as client:
        assert (await client.get(f"{server.url}/v2/health/live")).status_code == 200
    assert server.log.read_text().count("file descriptors are open") == 1
