"""Suites of tests for plugins: the names of `mlsrv_testing.contracts`, in the distribution mlsrv-testing."""

# ruff: noqa: F822  # the names come from the kit

from mlsrv.lazy import kit_exports

__all__ = [
    "CodecContract",
    "ExecutorContract",
    "InputCodecContract",
    "InterceptorContract",
    "MeterContract",
    "PluginContract",
    "RepositoryContract",
    "RequestCodecContract",
    "RuntimeContract",
    "TransportClient",
    "TransportContract",
    "TransportFailure",
]

__getattr__ = kit_exports(__name__, "mlsrv_testing.contracts", __all__)
