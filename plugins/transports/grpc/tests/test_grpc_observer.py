"""One observer reports each call to the metrics and to the access log, those that are refused, too."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest
from named_authorizer import NamedAuthorizer

from mlsrv import MeterOffer
from mlsrv.testing import MemoryMeter, Offering, tensor_request
from mlsrv_protocol.grpc import INFERENCE, encode_request

METHOD = f"/{INFERENCE}/ModelInfer"


def test_a_call_that_the_guard_refuses_is_counted_by_its_own_kind_and_logged(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mlsrv.access")
    meter = Offering(MeterOffer("memory", MemoryMeter), name="memory")
    plugins = (NamedAuthorizer({"all": {"infer": ["*"]}}), meter)
    served = serve(plugins=plugins, access_log=True)
    infer = served.channel.unary_unary(METHOD)
    body = encode_request(tensor_request("echo", [1.0]))
    infer(body, timeout=20, metadata=(("authorization", "Bearer all"),))
    with pytest.raises(grpc.RpcError) as caught:
        infer(body, timeout=20, metadata=(("authorization", "Bearer stranger"),))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    memory = served.kernel.meters["memory"]
    served.stop()
    counts = {labels[1:]: value for labels, value in memory.sums.items() if "handled" in labels[0]}
    ours = "UNARY", INFERENCE, "ModelInfer"
    assert counts == {(*ours, "OK"): 1, (*ours, "UNAUTHENTICATED"): 1}
    assert memory.sums["grpc_server_started", *ours] == 2
    assert not [labels for labels in memory.sums if "msg" in labels[0]]
    lines = [record.getMessage() for record in caplog.records if record.name == "mlsrv.access"]
    assert [METHOD in line for line in lines] == [True, True]
    assert ["UNAUTHENTICATED" in line for line in lines] == [False, True]
