"""Reflection: the services grpc.reflection v1 and v1alpha, which describe services and messages to tools.

Source: "gRPC Server Reflection Protocol", grpc.github.io.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

import grpc

from mlsrv.authorization import requires
from mlsrv_grpc.status import Rpc, refuse
from mlsrv_grpc.stream_reader import StreamReader
from mlsrv_protocol.grpc import Descriptors, message_class, parse

_NOT_FOUND = grpc.StatusCode.NOT_FOUND.value[0]
_INVALID = grpc.StatusCode.INVALID_ARGUMENT.value[0]


class Reflection:
    """One version of the service.

    Args:
        service: its full name, which determines the version of the messages.
        services: the names of all services of the server.
        descriptors: gives the files of these services.
        reader: reads the requests until the server stops.
    """

    def __init__(
        self,
        service: str,
        services: Iterable[str],
        descriptors: Callable[[], Descriptors],
        reader: StreamReader,
    ) -> None:
        package = service.rpartition(".")[0]
        self._request = f"{package}.ServerReflectionRequest"
        self._response = f"{package}.ServerReflectionResponse"
        self._services = sorted(services)
        self._descriptors = descriptors
        self._reader = reader

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """Return handlers by the name of the call."""
        return {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(self._info)}

    @requires("docs")
    async def _info(self, requests: AsyncIterable[bytes], rpc: Rpc) -> None:
        try:
            async for body in self._reader.read(requests):
                request = parse(message_class(self._request), body)
                answer = self._answer(request)
                response = message_class(self._response)(
                    valid_host=request.host, original_request=request, **answer
                )
                await rpc.write(response.SerializeToString())
        except Exception as error:
            problem = error
        else:
            return
        await refuse(rpc, problem)

    def _answer(self, request: Any) -> dict[str, Any]:
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            return {"list_services_response": {"service": [{"name": name} for name in self._services]}}
        try:
            if kind == "file_by_filename":
                files = self._descriptors().by_name(request.file_by_filename)
            elif kind == "file_containing_symbol":
                files = self._descriptors().by_symbol(request.file_containing_symbol)
            elif kind is None:
                return _error(_INVALID, "The request asks nothing.")
            else:
                return _error(_NOT_FOUND, "No message here has extensions.")
        except KeyError:
            return _error(_NOT_FOUND, "No file of this server has or defines that.")
        return {"file_descriptor_response": {"file_descriptor_proto": files}}


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error_response": {"error_code": code, "error_message": message}}
