"""Default registry: metrics that code makes with `prometheus_client` alone, read as plain values.

The kernel does not need that library: in a process that has not imported it there are none.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from mlsrv_telemetry_kit.metrics import ProcessMetric

logger = logging.getLogger("mlsrv.metrics")

_OF_PROCESS = ("process_", "python_")


def read_default_registry() -> list[ProcessMetric]:
    """Return the metrics of this process that are in the default registry of `prometheus_client`.

    Those about the process itself are left out. May be called from any thread.
    """
    client: Any = sys.modules.get("prometheus_client")
    if client is None or not hasattr(client, "REGISTRY"):
        return []
    found: list[ProcessMetric] = []
    try:
        for family in client.REGISTRY.collect():
            if not family.name.startswith(_OF_PROCESS):
                samples = [(one.name, dict(one.labels), float(one.value)) for one in family.samples]
                found.append((family.name, family.type, family.documentation, samples))
    except Exception:  # it is code of the model
        logger.exception("The metrics of prometheus_client's default registry cannot be read")
    return found
