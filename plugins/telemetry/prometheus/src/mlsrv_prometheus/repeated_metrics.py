"""Repeated metrics: a model that is loaded again makes its metrics of `prometheus_client` again."""

from __future__ import annotations

import sys
from typing import Any

from mlsrv.metrics import current_metrics

_OWNER = "_mlsrv_model"
"""Attribute of a metric: the model that made it."""


def allow_repeated_metrics() -> None:
    """Let the default registry take a metric that it has already, if the library is imported.

    One that is made again, with the same labels and buckets, counts on with the values of the first. One
    that a model makes otherwise when it is loaded again replaces that of its earlier load. Idempotent.
    """
    client = sys.modules.get("prometheus_client")
    registry: Any = getattr(client, "REGISTRY", None)
    if registry is None or type(registry).__name__ == "_Registry":
        return
    from prometheus_client import CollectorRegistry

    if type(registry) is CollectorRegistry:
        registry.__class__ = _registry_class(CollectorRegistry)


def _registry_class(base: type[Any]) -> type[Any]:
    class _Registry(base):
        def register(self, collector: Any) -> None:
            current = current_metrics.get()
            owner = None if current is None else current.name
            try:
                super().register(collector)
            except ValueError:
                known = self._names_to_collectors.get(getattr(collector, "_name", ""))
                if known is None:
                    raise
                if _same(known, collector):
                    collector.__dict__ = known.__dict__
                    return
                if owner is None or vars(known).get(_OWNER, owner) != owner:
                    raise
                self.unregister(known)
                super().register(collector)
            if owner is not None and hasattr(collector, "__dict__"):
                vars(collector)[_OWNER] = owner

    return _Registry


def _same(known: Any, other: Any) -> bool:
    return (
        type(known) is type(other)
        and known._labelnames == other._labelnames
        and getattr(known, "_upper_bounds", None) == getattr(other, "_upper_bounds", None)
    )
