"""Table of metrics: for the README."""

from __future__ import annotations

from mlsrv.telemetry.kernel_metrics import METRICS


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in METRICS:
        name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        lines.append(f"| `{name}` | {metric.kind} | {labels} | {metric.description} |")
    return "\n".join(lines)
