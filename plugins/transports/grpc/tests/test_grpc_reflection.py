"""Server reflection, v1 and v1alpha, as a tool uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from mlsrv_protocol.grpc import HEALTH, INFERENCE, REFLECTION, message_class

SECONDS = 20


@pytest.fixture(params=REFLECTION, ids=["v1", "v1alpha"])
def reflect(request: Any, served: Any) -> Any:
    """Asks one thing: ``reflect(list_services="")``."""
    package = request.param.rpartition(".")[0]
    asked, given = (message_class(f"{package}.ServerReflection{kind}") for kind in ("Request", "Response"))
    method = served.channel.stream_stream(f"/{request.param}/ServerReflectionInfo")

    def ask(**fields: Any) -> Any:
        body = asked(host="h", **fields).SerializeToString()
        (answer,) = method(iter([body]), timeout=SECONDS)
        found = given.FromString(answer)
        assert (found.valid_host, found.original_request.host) == ("h", "h")
        return found

    return ask


def files(answer: Any) -> Iterator[FileDescriptorProto]:
    return map(FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)


def test_the_services_are_listed(reflect: Any) -> None:
    listed = [service.name for service in reflect(list_services="").list_services_response.service]
    assert listed == sorted([INFERENCE, HEALTH, *REFLECTION])


@pytest.mark.parametrize(
    "symbol",
    [
        INFERENCE,
        f"{INFERENCE}.ModelInfer",
        "inference.ModelInferRequest",
        "inference.ModelInferRequest.InferInputTensor",
        HEALTH,
        *REFLECTION,
    ],
)
def test_a_symbol_leads_to_its_file(reflect: Any, symbol: str) -> None:
    (file,) = files(reflect(file_containing_symbol=symbol))
    assert symbol.startswith(f"{file.package}.")
    assert list(files(reflect(file_by_filename=file.name))) == [file]


def test_a_tool_can_call_with_what_it_learned(reflect: Any, served: Any) -> None:
    pool = DescriptorPool()
    for file in files(reflect(file_containing_symbol=INFERENCE)):
        pool.AddSerializedFile(file.SerializeToString())
    method = pool.FindServiceByName(INFERENCE).methods_by_name["ModelReady"]
    asked, given = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    answer = served.method("ModelReady")(asked(name="echo").SerializeToString(), timeout=SECONDS)
    assert given.FromString(answer).ready


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"file_containing_symbol": "no.Such"}, grpc.StatusCode.NOT_FOUND),
        ({"file_by_filename": "nope.proto"}, grpc.StatusCode.NOT_FOUND),
        ({"all_extension_numbers_of_type": "inference.ModelInferRequest"}, grpc.StatusCode.NOT_FOUND),
        ({"file_containing_extension": {"containing_type": "x"}}, grpc.StatusCode.NOT_FOUND),
        ({}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_unknown_files_and_symbols(reflect: Any, fields: Any, code: grpc.StatusCode) -> None:
    assert reflect(**fields).error_response.error_code == code.value[0]


def test_several_questions_in_one_stream(served: Any) -> None:
    asked = message_class("grpc.reflection.v1.ServerReflectionRequest")
    bodies = [asked(list_services="").SerializeToString() for _ in range(3)]
    method = served.channel.stream_stream(f"/{REFLECTION[0]}/ServerReflectionInfo")
    assert len(list(method(iter(bodies), timeout=SECONDS))) == 3


def test_an_invalid_message_is_refused(served: Any) -> None:
    method = served.channel.stream_stream(f"/{REFLECTION[0]}/ServerReflectionInfo")
    with pytest.raises(grpc.RpcError) as caught:
        list(method(iter([b"\xff"]), timeout=SECONDS))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
