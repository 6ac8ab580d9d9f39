"""Prometheus metrics of a server: fetched and read for ``mlsrv top``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

Labels: TypeAlias = Mapping[str, str]


class MetricsMissing(Exception):
    """There are no metrics; the sentence gives the reason and the remedy."""


class Metrics:
    """The values of one scrape.

    Args:
        samples: for each name of a series, the labels and the value of each that there is.
    """

    def __init__(self, samples: Mapping[str, list[tuple[Labels, float]]]) -> None:
        self._samples = samples

    @classmethod
    def parse(cls, text: str) -> Metrics:
        """Parse the Prometheus text format.

        Raises:
            MetricsMissing: it is something else, or its reader is not installed.
        """
        try:
            from prometheus_client.parser import text_string_to_metric_families
        except ImportError:
            raise MetricsMissing("To read metrics here: pip install mlsrv-cli[top].") from None
        found: dict[str, list[tuple[Labels, float]]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    found.setdefault(sample.name, []).append((sample.labels, sample.value))
        except ValueError:
            raise MetricsMissing("The answer is not in the text format of Prometheus.") from None
        return cls(found)

    def series(self, name: str, **labels: str) -> Iterator[tuple[Labels, float]]:
        """Yield the samples of a name that have these labels."""
        for given, value in self._samples.get(name, ()):
            if labels.items() <= given.items():
                yield given, value

    def total(self, name: str, **labels: str) -> float | None:
        """Return the sum of these samples, or None if there are none."""
        values = [value for _, value in self.series(name, **labels)]
        return sum(values) if values else None

    def buckets(self, name: str, **labels: str) -> dict[float, float]:
        """Return the cumulative counts of a histogram by upper bound."""
        found: dict[float, float] = {}
        for given, value in self.series(f"{name}_bucket", **labels):
            bound = float(given["le"])
            found[bound] = found.get(bound, 0.0) + value
        return found


def fetch(
    url: str,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    verify: str | bool = True,
    cert: str | tuple[str, str] | None = None,
) -> Metrics:
    """Return the metrics at an address.

    Args:
        url: the address.
        timeout: seconds to wait.
        headers: sent with the request.
        verify, cert: as for `mlsrv_protocol.client.Client`.

    Raises:
        MetricsMissing: there are none.
    """
    import httpx

    from mlsrv_protocol.client.trust import trusted

    try:
        response = httpx.get(
            url,
            timeout=timeout,
            headers={**(headers or {}), "accept": "text/plain;version=0.0.4"},
            verify=trusted(verify, cert) if url.startswith("https") else True,
        )
    except (httpx.HTTPError, httpx.InvalidURL):
        raise MetricsMissing(
            f"No metrics at {url}: install mlsrv-prometheus for the server, or name its --metrics-url."
        ) from None
    if response.status_code != 200:
        raise MetricsMissing(f"No metrics at {url}: it answers with status {response.status_code}.")
    return Metrics.parse(response.text)
