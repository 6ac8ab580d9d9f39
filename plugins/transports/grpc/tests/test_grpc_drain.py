"""Drain: while a server stops, calls are refused, finished or aborted with a status that clients retry."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import grpc
import pytest

import mlsrv
import mlsrv_grpc
from mlsrv_grpc.sockets import disconnect
from mlsrv_protocol.grpc import encode_request
from mlsrv_protocol.types import InferenceRequest

SECONDS = 20
BLOCKED = encode_request(InferenceRequest([], model_name="blocking"))
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
CUT = "The server is stopping and did not wait for this request any longer."


class Endless:
    """A plugin with a service whose calls never end by themselves, and are nearly always within a write."""

    @mlsrv.hookimpl
    def mlsrv_grpc_services(self, kernel: Any) -> Any:
        async def count(body: bytes, rpc: Any) -> Any:
            while True:
                yield b""  # so small that no window is full before the test ends
                await asyncio.sleep(0)

        methods = {"Count": grpc.unary_stream_rpc_method_handler(count)}
        return mlsrv_grpc.Service(
            "acme.Endless", grpc.method_handlers_generic_handler("acme.Endless", methods)
        )


def failed(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def until_it_fails(served: Any) -> None:
    try:
        while served.method("ServerLive")(b"", timeout=SECONDS):
            pass
    except grpc.RpcError:
        return


def test_calls_that_come_while_others_finish_are_refused(serve: Any, blocking: Any) -> None:
    served = serve()
    running = served.method("ModelInfer").future(BLOCKED, timeout=SECONDS)
    served.do(blocking.started.acquire())
    served.begin_to_stop()
    refused = grpc.StatusCode.UNAVAILABLE, "The server is stopping."
    until_it_fails(served)
    for method in ("ModelInfer", "ServerReady", "Nonsense"):
        assert failed(lambda method=method: served.method(method)(BLOCKED, timeout=SECONDS)) == refused
    opened = served.channel.stream_stream(STREAM)(iter([BLOCKED]), timeout=SECONDS)
    assert failed(lambda: list(opened)) == refused
    served.loop.call_soon_threadsafe(blocking.go_on.set)
    assert running.code() is grpc.StatusCode.OK
    served.stop()


def test_unfinished_calls_end_with_unavailable(serve: Any, blocking: Any) -> None:
    served = serve(shutdown_timeout=0.3, plugins=[Endless()])
    running = served.method("ModelInfer").future(BLOCKED, timeout=SECONDS)
    counting = served.channel.unary_stream("/acme.Endless/Count")(b"", timeout=SECONDS)
    assert next(counting) == b""
    served.do(blocking.started.acquire())
    streaming = served.channel.stream_stream(STREAM)(iter([BLOCKED]), timeout=SECONDS)
    served.do(blocking.started.acquire())
    served.stop()
    assert blocking.cancelled.is_set()
    for call in (running.result, lambda: list(counting), lambda: list(streaming)):
        assert failed(call) == (grpc.StatusCode.UNAVAILABLE, CUT)


def accepted(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection: the client's, the server's."""
    client = socket.create_connection(listener.getsockname()[:2], timeout=SECONDS)
    return client, listener.accept()[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not list descriptors")
def test_connections_to_a_port_end_and_no_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, socket.create_server(("127.0.0.1", 0)) as theirs:
        client, server = accepted(ours)
        other_client, other_server = accepted(theirs)
        with client, server, other_client, other_server:
            server.sendall(b"written before")
            disconnect(ours.getsockname()[1])
            assert client.recv(100) == b"written before"
            assert client.recv(100) == b""
            other_server.sendall(b"still there")
            assert other_client.recv(100) == b"still there"
            with pytest.raises(TimeoutError):
                socket.create_connection(ours.getsockname()[:2], timeout=0.2)
