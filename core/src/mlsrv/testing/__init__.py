"""Testing: tiny models and requests for tests of plugins and of applications that embed a kernel.

Everything that needs pytest is in the distribution mlsrv-testing: suites in `mlsrv_testing.contracts`,
fixtures in `mlsrv_testing.fixtures`, for ``pytest_plugins`` also under the name `mlsrv.testing.fixtures`.
"""

from mlsrv.testing.kernels import make_kernel
from mlsrv.testing.meters import MemoryMeter
from mlsrv.testing.models import EchoModel, FailingModel, ScriptedModel, SlowModel, ThreadedEchoModel
from mlsrv.testing.plugins import Offering
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
