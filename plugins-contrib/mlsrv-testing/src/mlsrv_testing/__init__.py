"""Kit for authors of plugins: contract suites for pytest, and the check of an installed plugin.

`mlsrv_testing.contracts` has a suite for each kind of plugin; `mlsrv_testing.checks` runs them against an
installed plugin, as ``mlsrv plugins check`` does. Tiny models and kernels are in `mlsrv.testing`.
"""

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_testing.memory_meter import MemoryMeter
    from mlsrv_testing.offering import Offering
    from mlsrv_testing.scripted_model import ScriptedModel

__all__ = ["MemoryMeter", "Offering", "ScriptedModel"]

__getattr__ = lazy_exports(
    __name__,
    {
        "MemoryMeter": "mlsrv_testing.memory_meter",
        "Offering": "mlsrv_testing.offering",
        "ScriptedModel": "mlsrv_testing.scripted_model",
    },
)
