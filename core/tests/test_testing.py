"""Models, requests and kernels for the tests of others."""

import sys

import numpy as np
import pytest

import mlsrv
import mlsrv_testing.checks
import mlsrv_testing.contracts
from mlsrv import ModelSettings
from mlsrv.settings import setting, settings_class
from mlsrv.testing import (
    MemoryRepository,
    Offering,
    SlowModel,
    make_kernel,
    tensor_request,
    text_request,
)


def test_requests_in_one_line() -> None:
    request = text_request("m", ["a", "b"], id="1")
    (tensor,) = request.inputs
    assert (request.model_name, request.id) == ("m", "1")
    assert (tensor.name, tensor.shape, tensor.datatype, tensor.data) == ("input", [2], "BYTES", ["a", "b"])
    (tensor,) = tensor_request("m", [[1, 2], [3, 4]], name="x").inputs
    assert (tensor.name, tensor.shape, tensor.datatype, tensor.data.tolist()) == (
        "x",
        [2, 2],
        "INT64",
        [1, 2, 3, 4],
    )
    assert tensor_request("m", np.float32([1])).inputs[0].datatype == "FP32"


async def test_the_slow_model_waits_as_long_as_its_settings_say() -> None:
    model = ModelSettings(name="m", implementation=SlowModel, parameters={"extra": {"seconds": 0.01}})
    async with make_kernel(model) as kernel:
        await kernel.loaded()
        assert (await kernel.infer(text_request("m", ["a"]))).outputs[0].data == ["a"]


async def test_a_repository_in_memory() -> None:
    models = [ModelSettings(name="a")]
    repository = MemoryRepository("x", models)
    assert [found.name for found in await repository.list()] == ["a"]
    models.append(ModelSettings(name="b"))
    assert [found.name for found in await repository.find("b")] == ["b"]


@settings_class
class Ports:
    http_port: int = setting(8080, help="A port.")
    other_port: int = setting(8081, help="Another port.")


def test_a_kernel_for_tests_has_free_ports() -> None:
    plugin = Offering(mlsrv.SettingsOffer("server", Ports))
    kernel = make_kernel(plugins=[plugin], other_port=7, server_name="me")
    assert (kernel.settings.http_port, kernel.settings.other_port) == (0, 7)
    assert (kernel.settings.host, kernel.settings.server_name) == ("127.0.0.1", "me")


def test_the_suites_are_found_under_their_old_names() -> None:
    from mlsrv.testing import checks, contracts

    assert contracts.CodecContract is mlsrv_testing.contracts.CodecContract
    assert checks.check_plugin is mlsrv_testing.checks.check_plugin
    assert contracts.__all__ is mlsrv_testing.contracts.__all__
    with pytest.raises(AttributeError, match="contracts' has no attribute 'Nothing'"):
        contracts.Nothing  # noqa: B018  # the access itself raises


def test_without_the_kit_the_old_names_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlsrv.testing import contracts

    for name in [name for name in sys.modules if name.partition(".")[0] == "mlsrv_testing"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlsrv_testing", None)
    with pytest.raises(ModuleNotFoundError, match="install it: pip install mlsrv-testing"):
        contracts.CodecContract  # noqa: B018  # the access itself raises
