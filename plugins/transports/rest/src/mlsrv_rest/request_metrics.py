"""Counts and times HTTP requests with the meters of the kernel."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from time import perf_counter

from starlette.types import ASGIApp

from mlsrv.kernel import Kernel
from mlsrv.metrics import RowRecorder, nothing
from mlsrv.settings import KernelSettings
from mlsrv.telemetry.meters import Meters
from mlsrv_rest.metrics import REST_IN_PROGRESS, REST_REQUESTS, REST_SECONDS
from mlsrv_rest.reply import Message, Receive, Scope, Send
from mlsrv_rest.routes.common import ROUTE

METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
_HEALTH = "/v2/health/"


class Metered:
    """Middleware that records each request by its method, its route and its status.

    Paths that lead nowhere and methods that nobody knows are not recorded, for clients could make a series of
    each; neither are health checks.

    Args:
        app: what is measured.
        kernel: when it runs without a meter, nothing is done.
    """

    def __init__(self, app: ASGIApp, kernel: Kernel) -> None:
        self._app = app
        self._kernel = kernel
        self._name = kernel.settings.of(KernelSettings).server_name
        self._meters: Meters | None = None
        self._rows: dict[tuple[str, str, int], RowRecorder] = {}
        self._in_progress: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._kernel.metrics is not self._meters:
            self._begin(self._kernel.metrics)
        method = scope["method"]
        in_progress = self._in_progress
        if method not in in_progress:
            await self._app(scope, receive, send)
            return
        status = 0

        def noting(message: Message) -> Awaitable[None]:
            nonlocal status
            if not status and message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        began = perf_counter()
        in_progress[method] += 1
        try:
            await self._app(scope, receive, noting)
        finally:
            in_progress[method] -= 1
            route = scope.get(ROUTE)
            if route is not None and status:
                record = self._rows.get((method, route, status)) or self._bind(method, route, status)
                record((1.0, perf_counter() - began))

    def _begin(self, meters: Meters) -> None:
        """The kernel was started (again): its meters are new. Without any, no method is measured."""
        self._meters = meters
        self._rows = {}
        self._in_progress = dict.fromkeys(METHODS if meters else (), 0)
        meters.watch(REST_IN_PROGRESS, self._reading)

    def _bind(self, method: str, route: str, status: int) -> RowRecorder:
        labels = (method, route, str(status), self._name)
        if route.startswith(_HEALTH):
            record: RowRecorder = nothing
        else:
            record = self._kernel.metrics.bind_row([(REST_REQUESTS, labels), (REST_SECONDS, labels)])
        self._rows[method, route, status] = record
        return record

    def _reading(self) -> Iterator[tuple[Sequence[str], float]]:
        return (((method, self._name), float(count)) for method, count in self._in_progress.items())
