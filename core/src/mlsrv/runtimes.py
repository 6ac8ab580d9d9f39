"""Runtimes of frameworks: the names of `mlsrv_runtime_kit`, in the distribution mlsrv-runtime-kit."""

# ruff: noqa: F822  # the names come from the kit

from mlsrv.lazy import kit_exports

__all__ = [
    "Categories",
    "Features",
    "TableModel",
    "TableOutput",
    "array_codecs",
    "default_output",
    "extra_value",
    "find_artifact",
    "labelled",
    "refused",
    "thread_count",
    "unreadable",
]

__getattr__ = kit_exports(__name__, "mlsrv_runtime_kit", __all__)
