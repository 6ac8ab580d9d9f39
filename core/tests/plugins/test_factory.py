"""Factory: classes that offers name, imported and instantiated."""

from typing import Any

import pytest

from mlsrv.errors import ConfigurationError
from mlsrv.executor import Executor
from mlsrv.hosting.inline_executor import InlineExecutor
from mlsrv.metrics import Meter
from mlsrv.plugins.factory import make_offered, resolve_class
from mlsrv.plugins.offers import MeterOffer
from mlsrv.testing import MemoryMeter

INLINE = "mlsrv.hosting.inline_executor:InlineExecutor"


def test_a_target_is_a_class_or_its_place() -> None:
    assert resolve_class(INLINE, Executor, "The executor") is InlineExecutor
    assert resolve_class(InlineExecutor, Executor, "The executor") is InlineExecutor


def test_an_instance_gets_the_kernel() -> None:
    kernel: Any = object()
    assert isinstance(make_offered(MeterOffer("memory", MemoryMeter), kernel, Meter), MemoryMeter)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("no_such_module:Thing", r'The meter "x" cannot be imported: ModuleNotFoundError: .*no_such_module'),
        ("mlsrv.metrics:Nothing", r'The meter "x" cannot be imported: AttributeError'),
        (INLINE, r'The meter "x" is .*InlineExecutor.*, not a subclass of .*_kit.metrics.Meter'),
        (
            "mlsrv.metrics:SECONDS",
            r'The meter "x" is \(.*\), not a subclass of .*_kit.metrics.Meter',
        ),
    ],
)
def test_a_wrong_target_is_one_sentence(target: str, sentence: str) -> None:
    kernel: Any = object()
    with pytest.raises(ConfigurationError, match=sentence):
        make_offered(MeterOffer("x", target), kernel, Meter)
