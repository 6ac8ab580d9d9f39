"""Gauges: the state of models, read whenever a meter exports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mlsrv.controlplane.registry import Registry
from mlsrv.telemetry.kernel_metrics import IN_FLIGHT, MODEL_READY, MODEL_STATE
from mlsrv_protocol.types import State
from mlsrv_telemetry_kit.meters import Meters


def show_models(registry: Registry, metrics: Meters) -> None:
    """Show gauges of all models of a registry: requests in flight, readiness and state."""

    def in_flight() -> Iterator[tuple[Sequence[str], float]]:
        for handle in registry:
            if handle.instance is not None:
                yield (handle.name, handle.version or ""), float(handle.instance.in_flight)

    def ready() -> Iterator[tuple[Sequence[str], float]]:
        for handle in registry:
            if handle.wanted:
                yield (handle.name, handle.version or ""), float(handle.ready)

    def states() -> Iterable[tuple[Sequence[str], float]]:
        return [
            ((handle.name, handle.version or "", state.value), float(handle.state is state))
            for handle in registry
            for state in State
        ]

    metrics.observe_gauge(IN_FLIGHT, in_flight)
    metrics.observe_gauge(MODEL_READY, ready)
    metrics.observe_gauge(MODEL_STATE, states)
