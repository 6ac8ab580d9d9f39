"""Errors: the form that OpenAI gives them."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlsrv_protocol.errors import InvalidPayload

PATHS = re.compile(r"^(?!.*/v2/).*/v1/")
"""Paths whose errors get the form of OpenAI, unknown ones too: its clients show nothing of other errors."""
_TYPES = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "permission_denied"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
_PARAM = re.compile(r"^(?:The body's field|Field|Model [^ ]+: the option) \"([\w.]+)\"")
_MOST = 2**16
"""Bytes of an error that is given another form; no longer one is made here."""


class BadField(InvalidPayload):
    """A field of a body is missing, wrong, or not supported."""

    @classmethod
    def of(cls, field: str, what: str) -> BadField:
        """Return the error for a field, with the rest of its sentence."""
        return cls(f'Field "{field}" {what}.')


def error_body(status: int, message: str) -> dict[str, Any]:
    """Return the body of an error: ``{"error": {"message", "type", "param", "code"}}``."""
    kind, code = _TYPES.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    if code == "model_not_found" and not message.startswith("Model "):
        code = "unknown_url"
    found = _PARAM.match(message)
    param = found[1] if found is not None else "model" if code == "model_not_found" else None
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


class ErrorForm:
    """Middleware that turns errors of REST, ``{"error": text}``, into those of OpenAI, below ``/v1/``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and PATHS.search(scope["path"]):
            send = _ErrorSend(send)
        await self._app(scope, receive, send)


class _ErrorSend:
    """A `send` that holds an error back until its body is whole."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
            return
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body") and len(self._body) <= _MOST:
            return
        start, self._start = self._start, None
        body = _converted(start["status"], self._body)
        headers = [
            (name, b"%d" % len(body) if name.lower() == b"content-length" else value)
            for name, value in start.get("headers", ())
        ]
        await self._send({**start, "headers": headers})
        await self._send({**message, "body": body})


def _converted(status: int, body: bytes) -> bytes:
    try:
        message = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body
    return json.dumps(error_body(status, message)).encode() if isinstance(message, str) else body
