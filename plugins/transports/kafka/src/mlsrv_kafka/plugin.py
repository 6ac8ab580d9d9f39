"""Plugin: what this distribution offers to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlsrv
from mlsrv_kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from mlsrv.metrics import Metric


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of the Kafka transport."""
    return mlsrv.SettingsOffer("server", KafkaSettings)


@mlsrv.hookimpl
def mlsrv_transports() -> mlsrv.TransportOffer:
    """Offer the Kafka transport."""
    return mlsrv.TransportOffer("kafka", "mlsrv_kafka.transport:KafkaTransport", _enabled)


@mlsrv.hookimpl
def mlsrv_metrics() -> tuple[Metric, ...]:
    """Return the metrics of records."""
    from mlsrv_kafka.metrics import METRICS

    return METRICS


def _enabled(settings: mlsrv.Settings) -> bool:
    return settings.of(KafkaSettings).kafka_enabled
