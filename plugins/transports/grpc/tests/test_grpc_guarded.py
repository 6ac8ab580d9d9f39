"""Authorization over gRPC: asked before a message is read, for every method."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from named_authorizer import NamedAuthorizer, Who

import mlsrv
from mlsrv import ModelSettings
from mlsrv.authorization import requires
from mlsrv.testing import EchoModel, tensor_request
from mlsrv_grpc import Service
from mlsrv_protocol.grpc import (
    HEALTH,
    INFERENCE,
    REFLECTION,
    decode_response,
    encode_request,
    message_class,
)

SECONDS = 20
RIGHTS: dict[str, Any] = {
    "all": {action: ["*"] for action in ("infer", "metadata", "health", "repository", "docs", "admin")},
    "one": {"infer": ["echo"], "metadata": ["echo"], "repository": ["echo"], "health": ["echo"]},
    "none": {},
}
Status = grpc.StatusCode


class Plugin(NamedAuthorizer):
    @mlsrv.hookimpl
    def mlsrv_grpc_services(self) -> Service:
        @requires("docs")
        async def marked(body: bytes, rpc: Any) -> bytes:
            return b"marked"

        async def unmarked(body: bytes, rpc: Any) -> bytes:
            return b"secret"

        @requires("docs")
        async def several(bodies: AsyncIterator[bytes], rpc: Any) -> AsyncIterator[bytes]:
            async for body in bodies:
                yield body

        @requires("docs")
        def threaded(body: bytes, rpc: Any) -> bytes:
            return b"threaded"

        methods = {
            "Marked": grpc.unary_unary_rpc_method_handler(marked),
            "Unmarked": grpc.unary_unary_rpc_method_handler(unmarked),
            "Several": grpc.stream_stream_rpc_method_handler(several),
            "Threaded": grpc.unary_unary_rpc_method_handler(threaded),
        }
        return Service("acme.Guarded", grpc.method_handlers_generic_handler("acme.Guarded", methods))


MODELS = [ModelSettings(name="echo", implementation=EchoModel), ModelSettings(name="who", implementation=Who)]


@pytest.fixture(scope="module")
def plugin() -> Plugin:
    return Plugin(RIGHTS)


@pytest.fixture(scope="module")
def served(serve: Any, plugin: Plugin) -> Any:
    return serve(MODELS, plugins=(plugin,))


def key(name: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {name}"),)


def body_of(method: str, model: str) -> bytes:
    if method == "ModelInfer":
        return encode_request(tensor_request(model, [1.0, 2.0]))
    if method.startswith("Cuda"):
        return b""
    kind: Any = message_class(f"inference.{method}Request")
    name = "model_name" if method.startswith("RepositoryModel") else "name"
    fields = {name: model} if name in kind.DESCRIPTOR.fields_by_name else {}
    return bytes(kind(**fields).SerializeToString())


@pytest.mark.parametrize(
    ("method", "model", "name", "status"),
    [
        ("ServerLive", "", "all", Status.OK),
        ("ServerLive", "", "stranger", Status.UNAUTHENTICATED),
        ("ServerLive", "", "none", Status.PERMISSION_DENIED),
        ("ServerLive", "", "fast", Status.RESOURCE_EXHAUSTED),
        ("ServerLive", "", "broken", Status.INTERNAL),
        ("ModelReady", "echo", "one", Status.OK),
        ("ModelReady", "who", "one", Status.PERMISSION_DENIED),
        ("ModelMetadata", "echo", "one", Status.OK),
        ("ModelMetadata", "who", "one", Status.PERMISSION_DENIED),
        ("ModelMetadata", "unknown", "one", Status.PERMISSION_DENIED),
        ("ModelMetadata", "unknown", "all", Status.NOT_FOUND),
        ("ModelConfig", "who", "one", Status.PERMISSION_DENIED),
        ("ModelStatistics", "who", "one", Status.PERMISSION_DENIED),
        ("ModelInfer", "echo", "one", Status.OK),
        ("ModelInfer", "who", "one", Status.PERMISSION_DENIED),
        ("ModelInfer", "who", "none", Status.PERMISSION_DENIED),
        ("ModelInfer", "who", "stranger", Status.UNAUTHENTICATED),
        ("RepositoryModelLoad", "echo", "one", Status.OK),
        ("RepositoryModelLoad", "who", "one", Status.PERMISSION_DENIED),
        ("RepositoryModelUnload", "who", "one", Status.PERMISSION_DENIED),
        ("CudaSharedMemoryStatus", "", "none", Status.UNIMPLEMENTED),
        ("CudaSharedMemoryStatus", "", "stranger", Status.UNAUTHENTICATED),
    ],
)
def test_each_method_needs_its_right(
    served: Any, method: str, model: str, name: str, status: grpc.StatusCode
) -> None:
    assert status_of(served, f"/{INFERENCE}/{method}", body_of(method, model), name) == status


@pytest.mark.parametrize(
    ("method", "name", "status"),
    [
        (f"/{HEALTH}/Check", "all", Status.OK),
        (f"/{HEALTH}/Check", "none", Status.PERMISSION_DENIED),
        ("/acme.Guarded/Marked", "all", Status.OK),
        ("/acme.Guarded/Marked", "one", Status.PERMISSION_DENIED),
        ("/acme.Guarded/Unmarked", "one", Status.PERMISSION_DENIED),
        ("/acme.Guarded/Threaded", "one", Status.PERMISSION_DENIED),
        ("/acme.Guarded/Threaded", "all", Status.UNIMPLEMENTED),
        ("/acme.Guarded/Unknown", "stranger", Status.UNAUTHENTICATED),
        ("/acme.Guarded/Unknown", "none", Status.UNIMPLEMENTED),
    ],
)
def test_methods_of_other_services(served: Any, method: str, name: str, status: grpc.StatusCode) -> None:
    assert status_of(served, method, b"", name) == status


@pytest.mark.parametrize("method", [f"/{REFLECTION[0]}/ServerReflectionInfo", "/acme.Guarded/Several"])
def test_streams_need_their_right(served: Any, method: str) -> None:
    asked = message_class("grpc.reflection.v1.ServerReflectionRequest")(list_services="").SerializeToString()
    call = served.channel.stream_stream(method)
    assert len(list(call(iter([asked]), metadata=key("all"), timeout=SECONDS))) == 1
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter([asked]), metadata=key("one"), timeout=SECONDS))
    assert caught.value.code() == Status.PERMISSION_DENIED


def test_the_models_of_a_stream_are_checked_one_by_one(served: Any) -> None:
    call = served.channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")
    bodies = [body_of("ModelInfer", name) for name in ("who", "unknown", "echo")]
    answers = list(call(iter(bodies), metadata=key("one"), timeout=SECONDS))
    # The model streams, so that its answer may come before those of the others.
    refused = [answer for answer in answers if b"no right" in answer]
    assert b"one has no right infer for model who." in refused[0]
    assert b"one has no right infer for model unknown." in refused[1]
    assert len(refused) == len(answers) - 1


def test_lists_show_the_models_of_the_key_alone(served: Any) -> None:
    def names(method: str, field: str) -> set[str]:
        body = served.method(method)(body_of(method, ""), metadata=key("one"), timeout=SECONDS)
        answer = message_class(f"inference.{method}Response").FromString(body)
        return {item.name for item in getattr(answer, field)}

    assert names("RepositoryIndex", "models") == {"echo"}
    assert names("ModelStatistics", "model_stats") == {"echo"}


def test_what_an_authorizer_is_asked_and_the_model_sees(served: Any, plugin: Plugin) -> None:
    plugin.asked.clear()
    body = served.method("ModelInfer")(body_of("ModelInfer", "who"), metadata=key("all"), timeout=SECONDS)
    parameters = decode_response(body).parameters
    assert parameters is not None
    assert parameters.extra["principal"] == "all"
    (access,) = plugin.asked
    assert (access.action, access.model, access.transport) == ("infer", None, "grpc")
    assert (access.operation, access.peer) == (f"/{INFERENCE}/ModelInfer", "127.0.0.1")
    assert access.headers["authorization"] == "Bearer all"


def test_a_refused_call_is_answered_before_its_message_comes(served: Any) -> None:
    refused = threading.Event()

    def wait() -> Iterator[bytes]:
        refused.wait(SECONDS)
        yield b""

    call = served.channel.stream_stream(f"/{INFERENCE}/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        list(call(wait(), metadata=key("stranger"), timeout=SECONDS / 2))
    refused.set()
    assert caught.value.code() == Status.UNAUTHENTICATED


def status_of(served: Any, method: str, body: bytes, name: str) -> grpc.StatusCode:
    try:
        served.channel.unary_unary(method)(body, metadata=key(name), timeout=SECONDS)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return Status.OK
