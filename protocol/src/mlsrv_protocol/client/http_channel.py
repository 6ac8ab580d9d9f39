"""HTTP channel: makes the client's calls with httpx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from mlsrv_protocol.client.calls import Call, HttpResponse
from mlsrv_protocol.client.errors import ConnectionFailed, ServerError, code_of
from mlsrv_protocol.client.trust import Certificate, trusted, unreachable
from mlsrv_protocol.errors import Code, InvalidPayload
from mlsrv_protocol.json_text import loads

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class HttpChannel:
    """A channel over HTTP; its connections stay open between calls. The arguments are those of `Client`."""

    def __init__(
        self,
        url: str,
        timeout: float,
        headers: Mapping[str, str],
        verify: str | bool,
        cert: Certificate | None = None,
    ) -> None:
        self._options: dict[str, Any] = {
            "base_url": url,
            "timeout": timeout,
            "headers": dict(headers),
            "verify": trusted(verify, cert) if url.startswith("https") else verify is not False,
            # A proxy of the environment would receive requests to servers on this machine.
            "trust_env": False,
        }
        self._client: Any = None

    def run(self, call: Call[T]) -> T:
        """Make a call once and wait for its result."""
        import httpx

        if self._client is None:
            self._client = httpx.Client(**self._options)
        try:
            return _read_response(
                call, self._client.request(call.method, call.path, **_request_options(call))
            )
        except httpx.TransportError as error:
            raise self._connection_error(error, call) from error

    async def run_async(self, call: Call[T]) -> T:
        """Make a call once."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(**self._options)
        try:
            return _read_response(
                call, await self._client.request(call.method, call.path, **_request_options(call))
            )
        except httpx.TransportError as error:
            raise self._connection_error(error, call) from error

    def close(self) -> None:
        """Close the connections that `run` opened."""
        if self._client is not None:
            self._client.close()

    async def close_async(self) -> None:
        """Close the connections that `run_async` opened."""
        if self._client is not None:
            await self._client.aclose()

    def _connection_error(self, error: httpx.TransportError, call: Call[Any]) -> Exception:
        import httpx

        server = urlsplit(self._options["base_url"]).netloc.rpartition("@")[2]
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        not_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if not_sent or call.repeatable:
            if isinstance(error, httpx.RemoteProtocolError) and self._options["base_url"].startswith("http:"):
                text += ", perhaps because it speaks TLS: https://"
                return ConnectionFailed(f"The server {server} closed the connection ({text}).")
            return unreachable(server, text)
        # The server may have received the call, so only the caller can decide to send it again.
        return ServerError(f"The connection broke before the answer came ({text}).", Code.INTERNAL)


def _request_options(call: Call[Any]) -> dict[str, Any]:
    return {"content": call.body, "headers": dict(call.headers)} if call.method == "POST" else {}


def _read_response(call: Call[T], received: httpx.Response) -> T:
    headers = {name.lower(): value for name, value in received.headers.items()}
    response = HttpResponse(received.status_code, headers, received.content)
    if response.status == 200 or (call.is_health_check and response.status in (400, 503)):
        return call.read_http(response)
    retry_after = headers.get("retry-after", "")
    seconds = float(retry_after) if retry_after.isdecimal() else None
    raise ServerError(_error_sentence(response), code_of(response.status, seconds), seconds, response.status)


def _error_sentence(response: HttpResponse) -> str:
    try:
        found = loads(response.body)
    except InvalidPayload:
        found = None
    if isinstance(found, dict) and isinstance(found.get("error"), str):
        return str(found["error"])
    return f"The server answered with status {response.status}."
