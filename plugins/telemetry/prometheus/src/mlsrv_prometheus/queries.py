"""PromQL queries: built from declared metrics, so that every name in a query exists."""

from __future__ import annotations

from mlsrv.metrics import Metric

WINDOW = "$__rate_interval"


def equals(value: str) -> str:
    """Return the condition that a label has this value."""
    return f'="{value}"'


def matches(pattern: str) -> str:
    """Return the condition that a label matches a regular expression."""
    return f'=~"{pattern}"'


def series(metric: Metric, suffix: str = "", **labels: str) -> str:
    """Return a selector; `labels` are conditions, made by `equals` and `matches`.

    Raises:
        ValueError: the metric has no such label.
    """
    unknown = labels.keys() - set(metric.labels)
    if unknown:
        raise ValueError(f"{metric.name} has no label {', '.join(sorted(unknown))}")
    total = "_total" if metric.kind == "counter" else ""
    conditions = ",".join(f"{name}{condition}" for name, condition in labels.items())
    return f"{metric.name}{total}{suffix}" + (f"{{{conditions}}}" if conditions else "")


def rate(metric: Metric, *by: str, window: str = WINDOW, suffix: str = "", **labels: str) -> str:
    """Return the increase a second of a counter, or of the count or sum of a histogram."""
    return f"sum by ({', '.join(by)}) (rate({series(metric, suffix, **labels)}[{window}]))"


def quantile(which: float, metric: Metric, *by: str, window: str = WINDOW, **labels: str) -> str:
    """Return a quantile of a histogram."""
    return (
        f"histogram_quantile({which}, {rate(metric, 'le', *by, window=window, suffix='_bucket', **labels)})"
    )


def mean(metric: Metric, *by: str, window: str = WINDOW, **labels: str) -> str:
    """Return the mean of a histogram."""
    summed = rate(metric, *by, window=window, suffix="_sum", **labels)
    return f"{summed} / {rate(metric, *by, window=window, suffix='_count', **labels)}"
