"""Testing: tiny models, requests and fixtures for tests of plugins and of applications that embed a kernel.

The suites and everything that needs pytest are in `mlsrv_testing.contracts`; the fixtures in
`mlsrv.testing.fixtures` (``pytest_plugins = ["mlsrv.testing.fixtures"]``).
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
