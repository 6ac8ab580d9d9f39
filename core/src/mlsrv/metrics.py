"""Metrics: the API for user code and plugins; its home is `mlsrv_telemetry_kit.metrics`."""

from mlsrv_telemetry_kit.metrics import *  # noqa: F403  # one list of public names, kept in the kit
from mlsrv_telemetry_kit.metrics import __all__ as __all__
