"""gRPC channel: makes the client's calls with grpcio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio

from mlsrv_protocol.client.calls import Call
from mlsrv_protocol.client.errors import ServerError
from mlsrv_protocol.client.trust import Certificate, certificate_bytes, trusted_bytes, unreachable
from mlsrv_protocol.errors import Code
from mlsrv_protocol.grpc.inference import decode_response, encode_request
from mlsrv_protocol.grpc.message_classes import message_class, parse
from mlsrv_protocol.inference import InferenceRequest

T = TypeVar("T")

# A request that was refused for other reasons than these codes name is INVALID_ARGUMENT, as over HTTP.
_STATUS = {
    "INVALID_ARGUMENT": Code.INVALID_ARGUMENT,
    "UNAUTHENTICATED": Code.UNAUTHENTICATED,
    "PERMISSION_DENIED": Code.PERMISSION_DENIED,
    "FAILED_PRECONDITION": Code.INVALID_ARGUMENT,
    "OUT_OF_RANGE": Code.INVALID_ARGUMENT,
    "NOT_FOUND": Code.NOT_FOUND,
    "UNAVAILABLE": Code.NOT_READY,
    "ALREADY_EXISTS": Code.ALREADY_EXISTS,
    "RESOURCE_EXHAUSTED": Code.OVERLOADED,
    "DEADLINE_EXCEEDED": Code.DEADLINE_EXCEEDED,
    "CANCELLED": Code.CANCELLED,
    "UNIMPLEMENTED": Code.UNIMPLEMENTED,
    "ABORTED": Code.INTERNAL,
    "DATA_LOSS": Code.INTERNAL,
    "INTERNAL": Code.INTERNAL,
    "UNKNOWN": Code.INTERNAL,
}


class GrpcChannel:
    """A channel over gRPC.

    Args:
        target: host and port.
        tls: encrypt the connection.
        timeout: seconds for one call.
        headers: sent with each call as metadata.
        verify: for TLS: the path of a PEM file with authorities; True takes gRPC's own.
        cert: for TLS: the client's certificate and key, as for `Client`.
    """

    def __init__(
        self,
        target: str,
        tls: bool,
        timeout: float,
        headers: Mapping[str, str],
        verify: str | bool,
        cert: Certificate | None = None,
    ) -> None:
        self._target = target
        self._timeout = timeout
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())
        self._tls = tls
        self._verify = verify
        self._cert = cert
        self._channel: Any = None

    def run(self, call: Call[T]) -> T:
        """Make a call once and wait for its result."""
        if self._channel is None:
            self._channel = self._open(grpc)
        method = self._channel.unary_unary(f"/inference.GRPCInferenceService/{call.rpc}")
        try:
            body = method(_request_bytes(call), timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            self._raise_error(error)
        return _read_response(call, body)

    async def run_async(self, call: Call[T]) -> T:
        """Make a call once."""
        if self._channel is None:
            self._channel = self._open(grpc.aio)
        method = self._channel.unary_unary(f"/inference.GRPCInferenceService/{call.rpc}")
        try:
            body = await method(_request_bytes(call), timeout=self._timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            self._raise_error(error)
        return _read_response(call, body)

    def close(self) -> None:
        """Close the channel that `run` opened."""
        if self._channel is not None:
            self._channel.close()

    async def close_async(self) -> None:
        """Close the channel that `run_async` opened."""
        if self._channel is not None:
            await self._channel.close()

    def _open(self, module: Any) -> Any:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if not self._tls:
            return module.insecure_channel(self._target, options=options)
        key, chain = (None, None) if self._cert is None else certificate_bytes(self._cert)
        credentials = grpc.ssl_channel_credentials(trusted_bytes(self._verify), key, chain)
        return module.secure_channel(self._target, credentials, options=options)

    def _raise_error(self, error: grpc.RpcError) -> NoReturn:
        name, text = error.code().name, str(error.details())
        if name == "UNAVAILABLE" and "connect" in text.lower():
            raise unreachable(self._target, text) from error
        raise ServerError(text, _STATUS.get(name, Code.INTERNAL), status=name) from error


def _request_bytes(call: Call[Any]) -> bytes:
    if isinstance(call.fields, InferenceRequest):
        return encode_request(call.fields)
    return bytes(message_class(f"inference.{call.rpc}Request")(**call.fields).SerializeToString())


def _read_response(call: Call[T], body: bytes) -> T:
    if isinstance(call.fields, InferenceRequest):
        return call.read_grpc(decode_response(body))
    return call.read_grpc(parse(message_class(f"inference.{call.rpc}Response"), body))
