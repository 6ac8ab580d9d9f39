"""Fixtures for pytest: those of `mlsrv_testing.fixtures`, in the distribution mlsrv-testing.

Enable them with ``pytest_plugins = ["mlsrv.testing.fixtures"]`` in the topmost conftest, or with ``from
mlsrv.testing.fixtures import *`` in any other.
"""

from mlsrv.lazy import kit_exports

_export = kit_exports(__name__, "mlsrv_testing.fixtures")
globals().update({name: _export(name) for name in _export("__all__")})  # pytest looks for what exists
