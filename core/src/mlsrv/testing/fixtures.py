"""Fixtures for pytest: those of `mlsrv_testing.fixtures`, in the distribution mlsrv-testing.

Enable them with ``pytest_plugins = ["mlsrv.testing.fixtures"]`` in the topmost conftest, or with ``from
mlsrv.testing.fixtures import *`` in any other.
"""

# ruff: noqa: F822  # the names come from the kit

from mlsrv.lazy import kit_exports

__all__ = ["echo_model", "free_port", "make_kernel", "no_leaks", "untouched_process"]

_export = kit_exports(__name__, "mlsrv_testing.fixtures", __all__)
globals().update({name: _export(name) for name in __all__})  # pytest looks for attributes that exist
