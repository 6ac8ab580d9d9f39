"""The access log of calls over gRPC."""

from __future__ import annotations

import logging
import time
from typing import Any

import grpc
import pytest

import mlsrv
import mlsrv_grpc
from mlsrv.testing import tensor_request
from mlsrv_grpc.access import host_of
from mlsrv_protocol.grpc import encode_request

INFER = "/inference.GRPCInferenceService/ModelInfer"


class Counted:
    """A plugin with a service whose calls answer with a generator, and in a thread."""

    @mlsrv.hookimpl
    def mlsrv_grpc_services(self, kernel: Any) -> Any:
        async def count(body: bytes, rpc: Any) -> Any:
            yield b"1"
            yield b"2"

        methods = {
            "Count": grpc.unary_stream_rpc_method_handler(count),
            "Plain": grpc.unary_unary_rpc_method_handler(lambda body, rpc: body),
        }
        handler = grpc.method_handlers_generic_handler("acme.Counter", methods)
        return mlsrv_grpc.Service("acme.Counter", handler)


def lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.name == "mlsrv.access"]


def test_each_call_is_a_line(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mlsrv")
    served = serve(plugins=[Counted()], access_log=True)
    served.infer(tensor_request("echo", [[1.0]], id="r1"))
    with pytest.raises(grpc.RpcError):
        served.infer(tensor_request("failing", [[1.0]], id="r2"))
    with pytest.raises(grpc.RpcError):
        served.infer(tensor_request("unknown", [[1.0]]))
    served.ask("ServerMetadata")
    served.ask("ServerReady")
    served.ask("RepositoryModelLoad", model_name="echo")
    served.ask("ModelMetadata", name="failing")
    stream = served.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    bodies = [encode_request(tensor_request("echo", [[1.0]], id=name), typed=False) for name in ("s1", "s2")]
    assert len(list(stream(iter(bodies), timeout=20))) == 2
    assert list(served.channel.unary_stream("/acme.Counter/Count")(b"")) == [b"1", b"2"]
    assert served.channel.unary_unary("/acme.Counter/Plain")(b"x") == b"x"
    with pytest.raises(grpc.RpcError):
        served.channel.unary_unary("/acme.Counter/Nothing")(b"")
    served.stop()
    assert [(one.request, one.status) for one in lines(caplog)] == [
        (INFER, "OK"),
        (INFER, "INTERNAL"),
        (INFER, "NOT_FOUND"),
        ("/inference.GRPCInferenceService/ServerMetadata", "OK"),
        ("/inference.GRPCInferenceService/RepositoryModelLoad", "OK"),
        ("/inference.GRPCInferenceService/ModelMetadata", "OK"),
        ("/inference.GRPCInferenceService/ModelStreamInfer", "OK"),
        ("/acme.Counter/Count", "OK"),
    ]
    first, second, *_, stream_line, _ = lines(caplog)
    assert (first.request_id, first.model, first.client) == ("r1", "echo", "127.0.0.1")
    assert (second.request_id, second.model) == ("r2", "failing")
    assert stream_line.request_id == "s1"
    metadata, load, described = lines(caplog)[3:6]
    assert (load.model, described.model) == ("echo", "failing")
    assert not any(hasattr(one, "request_id") for one in (metadata, load, described))


def test_a_client_that_cancels(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mlsrv")
    served = serve(access_log=True)
    model = served.kernel.handle("blocking").instance.placement._model
    call = served.method("ModelInfer").future(
        encode_request(tensor_request("blocking", [[1.0]]), typed=False)
    )
    served.do(model.started.acquire())
    call.cancel()
    served.do(model.cancelled.wait())
    served.stop()
    assert [(one.request, one.status) for one in lines(caplog)] == [(INFER, "CANCELLED")]


def test_a_deadline_that_passes(serve: Any, open_call: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mlsrv")
    served = serve(access_log=True)
    body = encode_request(tensor_request("blocking", [[1.0]]), typed=False)
    with (
        open_call(served.target, "ModelInfer", body, grpc_timeout="200m"),
        open_call(served.target, "ModelStreamInfer", body, end=False, grpc_timeout="200m"),
    ):
        end = time.monotonic() + 20
        while len(lines(caplog)) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    assert [one.status for one in lines(caplog)] == ["DEADLINE_EXCEEDED"] * 2


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:127.0.0.1:50000", "127.0.0.1"),
        ("ipv6:%5B::1%5D:50000", "::1"),
        ("unix:/tmp/socket", "/tmp/socket"),
    ],
)
def test_hosts(peer: str, host: str) -> None:
    assert host_of(peer) == host
