"""PromQL about metrics by name. Tests compare names, kinds and labels with the metrics that plugins list."""

from __future__ import annotations

WINDOW = "$__rate_interval"


def equals(value: str) -> str:
    """Return the condition that a label has this value."""
    return f'="{value}"'


def matches(pattern: str) -> str:
    """Return the condition that a label matches a regular expression."""
    return f'=~"{pattern}"'


def gauge(name: str, **labels: str) -> str:
    """Return the selector of a gauge; `labels` are conditions, made by `equals` and `matches`."""
    conditions = ",".join(f"{label}{condition}" for label, condition in labels.items())
    return name + (f"{{{conditions}}}" if conditions else "")


def counter(name: str, **labels: str) -> str:
    """Return the selector of a counter; its name is that of the `Metric`."""
    return gauge(f"{name}_total", **labels)


def rate(name: str, *by: str, window: str = WINDOW, **labels: str) -> str:
    """Return the growth of a counter in a second, summed by labels."""
    return _rate(counter(name, **labels), by, window)


def quantile(which: float, name: str, *by: str, window: str = WINDOW, **labels: str) -> str:
    """Return a quantile of a histogram, by labels."""
    return f"histogram_quantile({which}, {_rate(gauge(f'{name}_bucket', **labels), ('le', *by), window)})"


def mean(name: str, *by: str, window: str = WINDOW, **labels: str) -> str:
    """Return the mean of a histogram, by labels."""
    summed, counted = (_rate(gauge(f"{name}_{part}", **labels), by, window) for part in ("sum", "count"))
    return f"{summed} / {counted}"


def _rate(selector: str, by: tuple[str, ...], window: str) -> str:
    return f"sum by ({', '.join(by)}) (rate({selector}[{window}]))"
