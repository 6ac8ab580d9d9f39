"""Table: the metrics, their kinds and labels in Markdown."""

from __future__ import annotations

from mlsrv import Kernel


def table() -> str:
    """Return the metrics of the kernel and of every installed plugin, as Markdown."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in Kernel().plugins.metrics():
        name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        lines.append(f"| `{name}` | {metric.kind} | {labels} | {metric.description} |")
    return "\n".join(lines)
