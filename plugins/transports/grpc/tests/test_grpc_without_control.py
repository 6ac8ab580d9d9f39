"""Without control: beside an admin port, gRPC takes no calls that load, unload, or need the right admin."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from named_authorizer import NamedAuthorizer

import mlsrv
from mlsrv.authorization import ACTIONS, requires
from mlsrv.testing import tensor_request
from mlsrv_grpc import Service
from mlsrv_protocol.grpc import INFERENCE, decode_response, encode_request

SECONDS = 20
KEY = (("authorization", "Bearer all"),)


class Acme:
    @mlsrv.hookimpl
    def mlsrv_grpc_services(self) -> Service:
        @requires("metadata")
        async def harmless(body: bytes, rpc: Any) -> bytes:
            return body

        async def unmarked(body: bytes, rpc: Any) -> bytes:
            return body

        methods = {
            "Harmless": grpc.unary_unary_rpc_method_handler(harmless),
            "Unmarked": grpc.unary_unary_rpc_method_handler(unmarked),
        }
        return Service("acme.Acme", grpc.method_handlers_generic_handler("acme.Acme", methods))


@pytest.mark.parametrize("guarded", [False, True])
def test_control_calls_are_refused(serve: Any, guarded: bool) -> None:
    authorizer = NamedAuthorizer({"all": {action: ["*"] for action in ACTIONS}})
    served = serve(plugins=(Acme(), authorizer) if guarded else (Acme(),), admin_port=0)

    def ask(method: str, body: bytes = b"") -> bytes:
        found: bytes = served.channel.unary_unary(method)(body, metadata=KEY, timeout=SECONDS)
        return found

    for method in (
        f"/{INFERENCE}/RepositoryIndex",
        f"/{INFERENCE}/RepositoryModelLoad",
        f"/{INFERENCE}/RepositoryModelUnload",
        "/acme.Acme/Unmarked",
    ):
        with pytest.raises(grpc.RpcError, match="at the admin address of this server only") as caught:
            ask(method)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert ask("/acme.Acme/Harmless", b"a") == b"a"
    assert ask(f"/{INFERENCE}/ServerLive")
    answer = ask(f"/{INFERENCE}/ModelInfer", encode_request(tensor_request("echo", [1.0])))
    assert decode_response(answer).model_name == "echo"
    with pytest.raises(grpc.RpcError) as caught:
        ask("/acme.Acme/Unknown")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
