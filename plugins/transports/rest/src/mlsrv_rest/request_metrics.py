"""Request metrics: counts and durations of HTTP requests by method, route and status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlsrv.kernel_api import KernelAPI, Metrics
from mlsrv.metrics import RowRecorder, nothing
from mlsrv.settings import KernelSettings
from mlsrv_rest.metrics import REST_IN_PROGRESS, REST_REQUESTS, REST_SECONDS

METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
_HEALTH = "/v2/health/"


class RequestMetrics:
    """Records requests with the meters of a kernel.

    Unknown paths and unknown methods are not recorded, because clients could create a series for each of
    them; health checks are not recorded either.

    Args:
        kernel: nothing is recorded while it runs without a meter.
    """

    def __init__(self, kernel: KernelAPI) -> None:
        self._kernel = kernel
        self._name = kernel.settings.of(KernelSettings).server_name
        self._meters: Metrics | None = None
        self._rows: dict[tuple[str, str, int], RowRecorder] = {}
        self._in_progress: dict[str, int] = {}

    def begin(self, method: str) -> dict[str, int] | None:
        """Count a request as in progress.

        Returns:
            The counts by method that `end` must be called with; None if the request is not measured.
        """
        if self._kernel.metrics is not self._meters:
            self._reset(self._kernel.metrics)
        in_progress = self._in_progress
        if method not in in_progress:
            return None
        in_progress[method] += 1
        return in_progress

    def end(
        self, in_progress: dict[str, int], method: str, route: str | None, status: int, seconds: float
    ) -> None:
        """Record a request that `begin` counted.

        Args:
            in_progress: as returned by `begin`; the kernel may have been started again since.
            method: as given to `begin`.
            route: the path with placeholders for its variable parts; None for an unknown path.
            status: of the response; 0 if none began.
            seconds: its duration.
        """
        in_progress[method] -= 1
        if route is not None and status:
            record = self._rows.get((method, route, status)) or self._bind(method, route, status)
            record((1.0, seconds))

    def _reset(self, meters: Metrics) -> None:
        """Use the meters of a kernel that was started (again). Without any, no method is measured."""
        self._meters = meters
        self._rows = {}
        self._in_progress = dict.fromkeys(METHODS if meters else (), 0)
        meters.observe_gauge(REST_IN_PROGRESS, self._read_in_progress)

    def _bind(self, method: str, route: str, status: int) -> RowRecorder:
        labels = (method, route, str(status), self._name)
        if route.startswith(_HEALTH):
            record: RowRecorder = nothing
        else:
            record = self._kernel.metrics.bind_row([(REST_REQUESTS, labels), (REST_SECONDS, labels)])
        self._rows[method, route, status] = record
        return record

    def _read_in_progress(self) -> Iterator[tuple[Sequence[str], float]]:
        return (((method, self._name), float(count)) for method, count in self._in_progress.items())
