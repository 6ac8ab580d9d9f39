"""Inference requests from Kafka topics, answered to topics.

A server loads this distribution as the plugin ``kafka``. Importing the package is cheap: the client
library is imported when the transport is enabled.
"""

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports
from mlsrv_kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from mlsrv_kafka.transport import KafkaTransport

__all__ = ["KafkaSettings", "KafkaTransport"]

__getattr__ = lazy_exports(__name__, {"KafkaTransport": "mlsrv_kafka.transport"})
