"""How calls travel: over HTTP with httpx, over gRPC as the package of that wire form knows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

from mlsrv_protocol.client.calls import Call, Reply
from mlsrv_protocol.client.errors import ConnectionFailed, ServerError, code_of
from mlsrv_protocol.errors import Code, InvalidPayload
from mlsrv_protocol.jsontext import loads

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

SCHEMES = ("http", "https", "grpc", "grpcs")


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
        raise InvalidPayload(
            f"{url!r} is not the URL of a server; write http://HOST:PORT, or https, grpc or grpcs."
        )
    return parts.scheme, parts.netloc


class Channel(Protocol):
    """A way to one server."""

    def run(self, call: Call[T]) -> T:
        """Make a call and wait."""

    async def run_async(self, call: Call[T]) -> T:
        """Make a call."""

    def close(self) -> None:
        """Close the connections."""

    async def close_async(self) -> None:
        """Close the connections."""


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
            raise self._broken(error, call) from error

    async def run_async(self, call: Call[T]) -> T:
        """Make a call."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(**self._options)
        try:
            return _read(call, await self._client.request(call.method, call.path, **_content(call)))
        except httpx.TransportError as error:
            raise self._broken(error, call) from error

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    async def close_async(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def _broken(self, error: httpx.TransportError, call: Call[Any]) -> Exception:
        import httpx

        server = urlsplit(self._options["base_url"]).netloc.rpartition("@")[2]
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        not_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if not_sent or call.repeatable:
            return ConnectionFailed(f"The server {server} cannot be reached ({text}); is it running?")
        # It may have been received: whether it may be sent again only the caller knows.
        return ServerError(f"The connection broke before the answer came ({text}).", Code.INTERNAL)


def make_channel(url: str, timeout: float, headers: Mapping[str, str], verify: Any) -> Channel:
    """The channel that a URL asks for."""
    scheme, target = check_url(url)
    if scheme.startswith("http"):
        return HttpChannel(url, timeout, headers, verify)
    # By name, as nothing but a URL makes this package import that one.
    made: Channel = import_module("mlsrv_protocol.grpc.channel").GrpcChannel(
        target, scheme == "grpcs", timeout, headers, verify
    )
    return made


def run(channel: Channel, call: Call[T], retries: int) -> T:
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


async def run_async(channel: Channel, call: Call[T], retries: int) -> T:
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
