"""Services and interceptors of plugins."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

import mlsrv
from mlsrv.errors import ConfigurationError
from mlsrv_grpc import Service
from mlsrv_protocol.grpc import HEALTH, INFERENCE, REFLECTION, message_class

FILE = FileDescriptorProto(name="acme.proto", package="acme", syntax="proto3")
FILE.message_type.add(name="Anything")
FILE.service.add(name="Counter").method.add(
    name="Count", input_type=".acme.Anything", output_type=".acme.Anything"
)
SECONDS = 20


async def count(body: bytes, context: Any) -> bytes:
    return str(len(body)).encode()


def handler(name: str) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(name, {"Count": grpc.unary_unary_rpc_method_handler(count)})


class Plugin:
    def __init__(self, *services: Any) -> None:
        self.services = services
        self.__name__ = "plugin"

    @mlsrv.hookimpl
    def mlsrv_grpc_services(self, kernel: mlsrv.Kernel) -> Any:
        return self.services


class Other(Plugin):
    def __init__(self, *services: Any) -> None:
        super().__init__(*services)
        self.__name__ = "other"


COUNTER = Service("acme.Counter", handler("acme.Counter"), [FILE.SerializeToString()])


def test_a_service_is_served_healthy_and_reflected(serve: Any) -> None:
    served = serve([], plugins=(Plugin(COUNTER),))
    assert served.method("Count", "acme.Counter")(b"abc", timeout=SECONDS) == b"3"

    body = message_class("grpc.health.v1.HealthCheckRequest")(service="acme.Counter").SerializeToString()
    served.method("Check", HEALTH)(body, timeout=SECONDS)

    asked = message_class("grpc.reflection.v1.ServerReflectionRequest")
    given = message_class("grpc.reflection.v1.ServerReflectionResponse")
    bodies = [asked(list_services=""), asked(file_containing_symbol="acme.Counter")]
    method = served.channel.stream_stream(f"/{REFLECTION[0]}/ServerReflectionInfo")
    listed, found = map(
        given.FromString, method(iter([body.SerializeToString() for body in bodies]), timeout=SECONDS)
    )
    assert "acme.Counter" in [service.name for service in listed.list_services_response.service]
    assert list(found.file_descriptor_response.file_descriptor_proto) == [FILE.SerializeToString()]


def test_a_service_without_files_is_served(serve: Any) -> None:
    served = serve([], plugins=(Plugin(Service("acme.Counter", handler("acme.Counter"))),))
    assert served.method("Count", "acme.Counter")(b"abc", timeout=SECONDS) == b"3"


LONELY = FileDescriptorProto(name="x", dependency=["y"]).SerializeToString()


@pytest.mark.parametrize(
    ("plugins", "says"),
    [
        ([Plugin(COUNTER), Other(COUNTER)], "acme.Counter comes from both other and plugin"),
        ([Plugin(COUNTER, COUNTER)], "acme.Counter comes from both plugin and plugin"),
        ([Plugin(Service(INFERENCE, handler(INFERENCE)))], "comes from both mlsrv-grpc and plugin"),
        ([Plugin(handler("acme.Counter"))], "returned a .* not a mlsrv_grpc.Service"),
        ([Plugin(Service("a.B", handler("a.B"), [b"\xff"]))], "files for a.B that do not fit"),
        ([Plugin(Service("a.B", handler("a.B"), [LONELY]))], "x import files that are not there"),
    ],
)
def test_invalid_services_stop_the_start(serve: Any, plugins: list[object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        serve([], plugins=plugins)


class Noting(grpc.aio.ServerInterceptor):
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        self.notes.append(f"{self.name} {handler_call_details.method}")
        return await continuation(handler_call_details)


class Intercepting:
    def __init__(self, name: str, interceptors: Any) -> None:
        self.__name__ = name
        self.interceptors = interceptors

    @mlsrv.hookimpl
    def mlsrv_grpc_interceptors(self, kernel: mlsrv.Kernel) -> Any:
        return self.interceptors


def test_interceptors_are_nested_by_name(serve: Any) -> None:
    notes: list[str] = []
    plugins = (Intercepting("b", Noting("b", notes)), Intercepting("a", [Noting("a", notes)]))
    served = serve([], plugins=(*plugins, Intercepting("c", None)))
    served.method("ServerLive")(b"", timeout=SECONDS)
    assert notes == [f"{name} /{INFERENCE}/ServerLive" for name in "ab"]


def test_an_interceptor_must_be_one(serve: Any) -> None:
    with pytest.raises(ConfigurationError, match="returned a int for mlsrv_grpc_interceptors"):
        serve([], plugins=(Intercepting("a", 1),))
