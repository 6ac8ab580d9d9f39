"""Upstream: a server with the API of OpenAI, as a client sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from mlsrv.context import current_context
from mlsrv.errors import DeadlineExceeded, InferenceError, ModelFailed, Overloaded

_CONNECT_SECONDS = 5.0
_MOST_BYTES = 2**26
"""Bytes of a whole answer, or of one event, that are read."""


class Upstream:
    """Sends bodies, and reads answers and events.

    Args:
        model: name of the model here, for messages.
        url: below which the routes are, for example ``"http://127.0.0.1:8000/v1"``.
        key: for the header ``Authorization``, or None.
    """

    def __init__(self, model: str, url: str, key: str | None) -> None:
        self._model = model
        self._url = url.rstrip("/")
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        # The deadline of a request bounds how long an answer may take; models may take long.
        timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def ask(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a body.

        Raises:
            InferenceError: it refuses the request.
            Overloaded: it has no room now.
            ModelFailed: it cannot be reached, or fails.
        """
        async with self._sent(route, body) as response:
            content = await _content(response)
        return self._object(content)

    async def events(self, route: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield the objects of a stream of events. Raises as `ask`."""
        async with self._sent(route, {**body, "stream": True}) as response:
            async for line in response.aiter_lines():
                if len(line) > _MOST_BYTES:
                    raise self._failed("sent an event that is too large")
                if not line.startswith("data:"):
                    continue
                data = line.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                found = self._object(data.encode())
                if "error" in found:
                    raise self._failed(f"failed: {_message(found)}")
                yield found
        raise self._failed("ended a stream before its end")

    def _sent(self, route: str, body: dict[str, Any]) -> _Exchange:
        return _Exchange(self, self._client, f"{self._url}{route}", body)

    def _object(self, content: bytes) -> dict[str, Any]:
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._failed("answered with something that is no JSON object")
        return found

    def _failed(self, what: str) -> ModelFailed:
        return ModelFailed(f"Model {self._model}: the upstream server {what}.")

    def refused(self, status: int, content: bytes, retry_after: str | None) -> Exception:
        """Return the error for an answer with a status of 400 or more."""
        try:
            told = _message(json.loads(content))
        except ValueError:
            told = ""
        told = f": {told}" if told else ""
        if status in (401, 403):
            return self._failed(f"refuses the key of this server (status {status})")
        if status in (429, 503):
            made = Overloaded(f"Model {self._model}: the upstream server has no room now{told}")
            if retry_after is not None and retry_after.isdecimal():
                made.retry_after = float(retry_after)
            return made
        if status < 500:
            return InferenceError(f"Model {self._model}: the upstream server refuses the request{told}")
        return self._failed(f"failed with status {status}{told}")

    def unreachable(self, error: httpx.HTTPError) -> Exception:
        """Return the error for an exchange that did not come about."""
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return DeadlineExceeded(f"Model {self._model}: the upstream server did not answer in time.")
        return self._failed(f"at {self._url} cannot be reached ({type(error).__name__})")


class _Exchange:
    """Context manager around one request: gives the response once its status is good."""

    def __init__(self, upstream: Upstream, client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> None:
        self._upstream = upstream
        self._client = client
        context = current_context.get()
        trace = {} if context is None else dict(context.trace)
        remaining = None if context is None else context.remaining
        limit = httpx.Timeout(remaining, connect=_CONNECT_SECONDS)
        self._request = client.build_request("POST", url, json=body, headers=trace, timeout=limit)
        self._response: httpx.Response | None = None

    async def __aenter__(self) -> httpx.Response:
        try:
            response = self._response = await self._client.send(self._request, stream=True)
            if response.status_code >= 400:
                content = await _content(response)
                await response.aclose()
                raise self._upstream.refused(
                    response.status_code, content, response.headers.get("retry-after")
                )
        except httpx.HTTPError as error:
            raise self._upstream.unreachable(error) from error
        return response

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._response is not None:
            await self._response.aclose()
        if isinstance(error, httpx.HTTPError):
            raise self._upstream.unreachable(error) from error


async def _content(response: httpx.Response) -> bytes:
    content = b""
    async for part in response.aiter_bytes():
        content += part
        if len(content) > _MOST_BYTES:
            raise httpx.ReadError("too large")
    return content


def _message(found: Any) -> str:
    error = found.get("error", found) if isinstance(found, dict) else found
    told = error.get("message", "") if isinstance(error, dict) else error
    return " ".join(str(told).split())[:300].rstrip(".")
