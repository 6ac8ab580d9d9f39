"""mlsrv-executor-kit: what executors share that place models in other processes."""

from __future__ import annotations

__all__ = ["failures", "log_records", "plain_values", "plugin_specs", "serialization"]
