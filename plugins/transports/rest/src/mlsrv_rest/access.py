"""The access log of this transport."""

from __future__ import annotations

from time import perf_counter
from urllib.parse import quote

from starlette.types import ASGIApp

from mlsrv.kernel import Kernel
from mlsrv.telemetry.access_log import Access, AccessLog
from mlsrv_rest.reply import Message, Receive, Scope, Send
from mlsrv_rest.routes.common import CALL

CLIENT_GONE = 499
"""Stands for the status of a request whose client went away before it was answered."""


class AccessLogged:
    """An application whose requests are noted for the access log, once they are answered.

    Args:
        app: the application.
        kernel: has the log while it runs.
    """

    def __init__(self, app: ASGIApp, kernel: Kernel) -> None:
        self._app = app
        self._kernel = kernel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        log = self._kernel.access
        if log is None:
            await self._app(scope, receive, send)
        else:
            await self._logged(log, scope, receive, send)

    async def _logged(self, log: AccessLog, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        status = CLIENT_GONE

        async def sender(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sender)
        finally:
            seconds = perf_counter() - started
            path = _path(scope)
            call, client = scope.get(CALL), scope.get("client")
            log.note(
                Access(
                    "rest",
                    f"{scope['method']} {path}",
                    status,
                    seconds,
                    client[0] if client else "",
                    call.asked if call is not None else None,
                    quiet=path.startswith("/v2/health") or path.endswith("/ready"),
                )
            )


def _path(scope: Scope) -> str:
    """As it was sent, without the query: that may hold what a log must not."""
    raw = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else raw.decode("latin-1").partition("?")[0]
