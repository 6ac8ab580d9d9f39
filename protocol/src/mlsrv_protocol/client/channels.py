"""How calls travel: over HTTP with httpx, over gRPC with grpcio. Each is imported when a URL asks for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from mlsrv_protocol.client.calls import Call, Reply
from mlsrv_protocol.client.errors import ConnectionFailed, ServerError, code_of
from mlsrv_protocol.errors import Code, InvalidPayload
from mlsrv_protocol.inference import InferenceRequest
from mlsrv_protocol.jsontext import loads

if TYPE_CHECKING:
    import grpc
    import httpx

T = TypeVar("T")

SCHEMES = ("http", "https", "grpc", "grpcs")

_STATUS = {
    "INVALID_ARGUMENT": Code.INVALID_ARGUMENT,
    "NOT_FOUND": Code.NOT_FOUND,
    "UNAVAILABLE": Code.NOT_READY,
    "ALREADY_EXISTS": Code.ALREADY_EXISTS,
    "RESOURCE_EXHAUSTED": Code.OVERLOADED,
    "DEADLINE_EXCEEDED": Code.DEADLINE_EXCEEDED,
    "CANCELLED": Code.CANCELLED,
    "UNIMPLEMENTED": Code.UNIMPLEMENTED,
}


class Patience:
    """How often one call is tried again: when no connection was made, and when the server, which is
    overloaded, has refused a call that may be repeated.

    Args:
        retries: attempts after the first one.
        repeatable: see `Call`.
    """

    def __init__(self, retries: int, repeatable: bool) -> None:
        self._left = retries
        self._pause = 0.1
        self._repeatable = repeatable

    def after(self, error: Exception) -> float | None:
        """Seconds to wait before the next attempt, or None to give up."""
        refused = isinstance(error, ServerError) and error.code is Code.OVERLOADED and self._repeatable
        if not self._left or not (refused or isinstance(error, ConnectionFailed)):
            return None
        self._left -= 1
        pause, self._pause = self._pause, self._pause * 2
        asked = error.retry_after if isinstance(error, ServerError) else None
        return pause if asked is None else min(asked, 5.0)


def check_url(url: str) -> tuple[str, str]:
    """The scheme and the rest of a URL. Raises `InvalidPayload` for one that no channel knows."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise InvalidPayload(f"{url!r} is not the URL of a server; write {', '.join(SCHEMES)}://host:port.")
    return parts.scheme, parts.netloc


class HttpChannel:
    """Calls over HTTP, on connections that are kept."""

    def __init__(self, url: str, timeout: float, headers: Mapping[str, str], verify: Any) -> None:
        self._options: dict[str, Any] = {
            "base_url": url,
            "timeout": timeout,
            "headers": dict(headers),
            "verify": verify,
            # A proxy of the environment would be asked for models on this very machine.
            "trust_env": False,
        }
        self._client: Any = None

    def run(self, call: Call[T]) -> T:
        """Make a call and wait."""
        import httpx

        if self._client is None:
            self._client = httpx.Client(**self._options)
        try:
            return _read(call, self._client.request(call.method, call.path, **_content(call)))
        except httpx.TransportError as error:
            raise _broken(error, call) from error

    async def run_async(self, call: Call[T]) -> T:
        """Make a call."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(**self._options)
        try:
            return _read(call, await self._client.request(call.method, call.path, **_content(call)))
        except httpx.TransportError as error:
            raise _broken(error, call) from error

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    async def close_async(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


class GrpcChannel:
    """Calls over gRPC."""

    def __init__(
        self, target: str, tls: bool, timeout: float, headers: Mapping[str, str], verify: Any
    ) -> None:
        self._target = target
        self._timeout = timeout
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())
        self._tls = tls
        self._verify = verify
        self._channel: Any = None

    def run(self, call: Call[T]) -> T:
        """Make a call and wait."""
        import grpc

        if self._channel is None:
            self._channel = self._open(grpc)
        method = self._channel.unary_unary(f"/inference.GRPCInferenceService/{call.rpc}")
        try:
            body = method(_message(call), timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            return _refused(call, error)
        return _understood(call, body)

    async def run_async(self, call: Call[T]) -> T:
        """Make a call."""
        import grpc.aio

        if self._channel is None:
            self._channel = self._open(grpc.aio)
        method = self._channel.unary_unary(f"/inference.GRPCInferenceService/{call.rpc}")
        try:
            body = await method(_message(call), timeout=self._timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            return _refused(call, error)
        return _understood(call, body)

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()

    async def close_async(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close()

    def _open(self, module: Any) -> Any:
        import grpc

        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if not self._tls:
            return module.insecure_channel(self._target, options=options)
        authorities = None
        if isinstance(self._verify, str):
            with open(self._verify, "rb") as file:
                authorities = file.read()
        return module.secure_channel(self._target, grpc.ssl_channel_credentials(authorities), options=options)


def make_channel(
    url: str, timeout: float, headers: Mapping[str, str], verify: Any
) -> HttpChannel | GrpcChannel:
    """The channel that a URL asks for."""
    scheme, target = check_url(url)
    if scheme.startswith("http"):
        return HttpChannel(url, timeout, headers, verify)
    return GrpcChannel(target, scheme == "grpcs", timeout, headers, verify)


def run(channel: HttpChannel | GrpcChannel, call: Call[T], retries: int) -> T:
    """Make a call, again where that is safe."""
    patience = Patience(retries, call.repeatable)
    while True:
        try:
            return channel.run(call)
        except (ServerError, ConnectionFailed) as error:
            pause = patience.after(error)
            if pause is None:
                raise
        time.sleep(pause)


async def run_async(channel: HttpChannel | GrpcChannel, call: Call[T], retries: int) -> T:
    """Make a call, again where that is safe."""
    patience = Patience(retries, call.repeatable)
    while True:
        try:
            return await channel.run_async(call)
        except (ServerError, ConnectionFailed) as error:
            pause = patience.after(error)
            if pause is None:
                raise
        await asyncio.sleep(pause)


def _content(call: Call[Any]) -> dict[str, Any]:
    return {"content": call.body, "headers": dict(call.headers)} if call.method == "POST" else {}


def _read(call: Call[T], response: httpx.Response) -> T:
    reply = Reply(response.status_code, {k.lower(): v for k, v in response.headers.items()}, response.content)
    if reply.status == 200 or (call.asks and reply.status in (400, 503)):
        return call.read_reply(reply)
    retry_after = reply.headers.get("retry-after", "")
    seconds = float(retry_after) if retry_after.isdecimal() else None
    raise ServerError(_sentence(reply), code_of(reply.status, seconds), seconds)


def _sentence(reply: Reply) -> str:
    try:
        found = loads(reply.body)
    except InvalidPayload:
        found = None
    if isinstance(found, dict) and isinstance(found.get("error"), str):
        return str(found["error"])
    return f"The server answered with status {reply.status}."


def _broken(error: httpx.TransportError, call: Call[Any]) -> Exception:
    import httpx

    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout) or call.repeatable:
        return ConnectionFailed(f"The server cannot be reached ({text}).")
    # It may have been received: whether it may be sent again only the caller knows.
    return ServerError(f"The connection broke before the answer came ({text}).", Code.INTERNAL)


def _message(call: Call[Any]) -> bytes:
    from mlsrv_protocol.grpc import encode_request, message_class

    if isinstance(call.fields, InferenceRequest):
        return encode_request(call.fields)
    return bytes(message_class(f"inference.{call.rpc}Request")(**call.fields).SerializeToString())


def _understood(call: Call[T], body: bytes) -> T:
    from mlsrv_protocol.grpc import decode_response, message_class, parse

    if isinstance(call.fields, InferenceRequest):
        return call.read_message(decode_response(body))
    return call.read_message(parse(message_class(f"inference.{call.rpc}Response"), body))


def _refused(call: Call[T], error: grpc.RpcError) -> T:
    name, text = error.code().name, str(error.details())
    if name == "UNAVAILABLE" and "connect" in text.lower():
        raise ConnectionFailed(f"The server cannot be reached ({text}).") from error
    raise ServerError(text, _STATUS.get(name, Code.INTERNAL)) from error
