"""Client errors: the code and the status of each refusal."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
import pytest

from mlsrv_protocol.client import AsyncClient, Client, ServerError
from mlsrv_protocol.errors import Code

REFUSED = ("FAILED_PRECONDITION", "OUT_OF_RANGE", "INVALID_ARGUMENT")
SAME = ("UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "DEADLINE_EXCEEDED")
FAILED = ("ABORTED", "DATA_LOSS", "INTERNAL", "UNKNOWN")
STATUSES = [status.name for status in grpc.StatusCode if status is not grpc.StatusCode.OK]


class Refusing(grpc.GenericRpcHandler):
    """Answers each call with the status that its metadata names."""

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        wanted = dict(handler_call_details.invocation_metadata)["wanted"]

        def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(grpc.StatusCode[wanted], "refused")
            return b""

        return grpc.unary_unary_rpc_method_handler(refuse)


class RefusingHTTP(BaseHTTPRequestHandler):
    """Answers each request with the status that its header names."""

    def do_GET(self) -> None:
        self.send_response(int(self.headers["wanted"]))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def grpc_url() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Refusing()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}"
    server.stop(None).wait(10)


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_of_grpc_has_a_code_and_is_kept(grpc_url: str, status: str) -> None:
    with (
        Client(grpc_url, headers={"wanted": status}, retries=0) as client,
        pytest.raises(ServerError) as caught,
    ):
        client.metadata()
    assert (str(caught.value), caught.value.status) == ("refused", status)
    if status in REFUSED:
        assert caught.value.code is Code.INVALID_ARGUMENT
    elif status in SAME:
        assert caught.value.code is Code(status)
    else:
        assert (caught.value.code is Code.INTERNAL) is (status in FAILED)


async def test_the_asynchronous_client_keeps_the_status(grpc_url: str) -> None:
    async with AsyncClient(grpc_url, headers={"wanted": "UNAUTHENTICATED"}) as client:
        with pytest.raises(ServerError) as caught:
            await client.metadata()
    assert (caught.value.code, caught.value.status) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")


def test_the_status_of_http_is_kept() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), RefusingHTTP)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with Client(url, headers={"wanted": "401"}) as client, pytest.raises(ServerError) as caught:
            client.metadata()
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
    assert (caught.value.code, caught.value.status) == (Code.UNAUTHENTICATED, 401)


def test_an_error_can_be_pickled_with_its_status() -> None:
    copied = pickle.loads(pickle.dumps(ServerError("no", Code.OVERLOADED, 2.0, 503)))
    assert (str(copied), copied.code, copied.retry_after, copied.status) == ("no", Code.OVERLOADED, 2.0, 503)
