"""Suites of tests that every plugin of a kind passes; subclass one in a test module, and pytest runs it.

::

    from mlsrv_testing.contracts import InputCodecContract

    class TestMyCodec(InputCodecContract):
        codec = MyCodec
        samples = ["one", "two"]

Each case says in its docstring what must hold and, after "Guards against:", which real defect it would show.
The cases need pytest and nothing else: they run an event loop of their own.
"""

# ruff: noqa: E402  # pytest shows values in failed assertions only of modules that it was told of beforehand

import pytest

_PARTS = (
    "codecs",
    "executors",
    "interceptors",
    "meters",
    "plugins",
    "repositories",
    "runtimes",
    "transports",
)
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from mlsrv_testing.contracts.codecs import InputCodecContract, RequestCodecContract
from mlsrv_testing.contracts.executors import ExecutorContract
from mlsrv_testing.contracts.interceptors import InterceptorContract
from mlsrv_testing.contracts.meters import MeterContract
from mlsrv_testing.contracts.plugins import PluginContract
from mlsrv_testing.contracts.repositories import RepositoryContract
from mlsrv_testing.contracts.runtimes import RuntimeContract
from mlsrv_testing.contracts.transports import TransportClient, TransportContract, TransportFailure

CodecContract = InputCodecContract

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
