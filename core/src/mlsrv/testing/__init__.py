"""Testing: tiny models and requests for tests of plugins and of applications that embed a kernel.

The rest is in the distribution mlsrv-testing: suites in `mlsrv_testing.contracts`, fixtures for pytest in
`mlsrv_testing.fixtures`, and `MemoryMeter`, `Offering` and `ScriptedModel`, also found here.
"""

# some names come from the kit

from mlsrv.lazy import kit_exports
from mlsrv.testing.kernels import make_kernel
from mlsrv.testing.models import EchoModel, FailingModel, SlowModel, ThreadedEchoModel
from mlsrv.testing.repositories import MemoryRepository
from mlsrv.testing.requests import tensor_request, text_request

__all__ = [
    "EchoModel",
    "FailingModel",
    "MemoryMeter",
    "MemoryRepository",
    "Offering",
    "ScriptedModel",
    "SlowModel",
    "ThreadedEchoModel",
    "make_kernel",
    "tensor_request",
    "text_request",
]

__getattr__ = kit_exports(__name__, "mlsrv_testing", ("MemoryMeter", "Offering", "ScriptedModel"))
