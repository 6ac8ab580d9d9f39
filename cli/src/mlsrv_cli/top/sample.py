"""Samples: the state of a server at one moment."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from mlsrv_cli.connection import Connection
from mlsrv_cli.top.metrics import Metrics, MetricsMissing, fetch


@frozen
class ModelSample:
    """One version of one model.

    Attributes:
        name, version, state, reason: as the repository index has them.
        succeeded, failed: requests so far.
        seconds: that those which succeeded took together.
        executions: calls of the model so far.
    """

    name: str
    version: str
    state: str
    reason: str = ""
    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0
    executions: int = 0


@frozen
class Sample:
    """The state of a server.

    Attributes:
        time: of the reading (`time.monotonic`).
        server: its name and version.
        ready: whether every model is that should be.
        models: in the order of their names.
        metrics: those of its Prometheus endpoint, or None; then `missing` says why.
    """

    time: float
    server: str
    ready: bool
    models: tuple[ModelSample, ...]
    metrics: Metrics | None = None
    missing: str = ""


@frozen
class Source:
    """The addresses from which samples are read.

    Attributes:
        url: of the server, for the protocol.
        metrics_url: of its metrics.
        timeout: seconds for each question.
        connection: how to reach the server.
    """

    url: str
    metrics_url: str = field()
    timeout: float = 5.0
    connection: Connection = field()

    @classmethod
    def of(cls, connection: Connection, metrics_url: str | None) -> Source:
        """Return the source for a server; its metrics are at the usual address if none is given."""
        if metrics_url is None:
            return cls(connection.url, connection=connection)
        return cls(connection.url, metrics_url, connection=connection)

    @connection.default
    def _without_options(self) -> Connection:
        return Connection(self.url)

    @metrics_url.default
    def _beside_the_server(self) -> str:
        host = urlsplit(self.url).hostname or "localhost"
        return f"http://[{host}]:8082/metrics" if ":" in host else f"http://{host}:8082/metrics"

    def read(self) -> Sample:
        """Ask the server for its state.

        Raises:
            MLSrvError: it does not answer.
        """
        connection = self.connection
        with connection.client(self.timeout, retries=0) as client:
            metadata, ready = client.metadata(), client.ready()
            index, statistics = client.index(), client.statistics()
        done = {(one["name"], one.get("version") or ""): one for one in statistics}
        models = [_model(item.dict(), done) for item in index]
        try:
            headers = connection.headers_for(self.metrics_url)
            metrics, missing = (
                fetch(self.metrics_url, self.timeout, headers, connection.verify, connection.cert),
                "",
            )
        except MetricsMissing as error:
            metrics, missing = None, str(error)
        server = f"{metadata.name} {metadata.version}"
        return Sample(time.monotonic(), server, ready, tuple(models), metrics, missing)


def _model(item: dict[str, Any], done: dict[tuple[str, str], dict[str, Any]]) -> ModelSample:
    name, version = item["name"], item.get("version") or ""
    state, reason = str(item.get("state") or ""), item.get("reason") or ""
    # In the statistics, a model without a version has Triton's first one.
    found = done.get((name, version or "1")) or done.get((name, version))
    if found is None:
        return ModelSample(name, version, state, reason)
    stats = found["inference_stats"]
    return ModelSample(
        name,
        version,
        state,
        reason,
        int(stats["success"]["count"]),
        int(stats["fail"]["count"]),
        int(stats["success"]["ns"]) / 1e9,
        int(found["execution_count"]),
    )
