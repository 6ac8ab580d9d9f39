"""Request observer: learns status and duration of each request, for the metrics and the access log."""

from __future__ import annotations

from collections.abc import Awaitable
from time import perf_counter

from starlette.types import ASGIApp

from mlsrv.kernel_api import KernelAPI
from mlsrv_rest.access import access_record
from mlsrv_rest.asgi import Message, Receive, Scope, Send
from mlsrv_rest.request_metrics import RequestMetrics
from mlsrv_rest.routes.common import ROUTE


class RequestObserver:
    """The outermost middleware. It costs a request nothing while there are neither meters nor an access log.

    Args:
        app: the application that is observed.
        kernel: has the meters and the access log while it runs.
    """

    def __init__(self, app: ASGIApp, kernel: KernelAPI) -> None:
        self._app = app
        self._kernel = kernel
        self._metrics = RequestMetrics(kernel)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        log, in_progress = self._kernel.access, self._metrics.begin(scope["method"])
        if log is None and in_progress is None:
            await self._app(scope, receive, send)
            return
        status = 0

        def observe(message: Message) -> Awaitable[None]:
            nonlocal status
            if not status and message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        began = perf_counter()
        try:
            await self._app(scope, receive, observe)
        finally:
            seconds = perf_counter() - began
            if in_progress is not None:
                self._metrics.end(in_progress, scope["method"], scope.get(ROUTE), status, seconds)
            if log is not None:
                log.note(access_record(scope, status, seconds))
