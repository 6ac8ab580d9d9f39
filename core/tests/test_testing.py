"""Models, requests, kernels and fixtures for the tests of others."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mlsrv
import mlsrv_testing.checks
import mlsrv_testing.contracts
from mlsrv import Kernel, ModelSettings
from mlsrv.settings import setting, settings_class
from mlsrv.testing import (
    EchoModel,
    MemoryRepository,
    Offering,
    SlowModel,
    fixtures,
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


def test_the_fixtures(free_port: int, echo_model: ModelSettings, make_kernel: Callable[..., Kernel]) -> None:
    assert 0 < free_port < 2**16
    assert (echo_model.name, echo_model.implementation) == ("echo", EchoModel)
    assert make_kernel(echo_model).settings.host == "127.0.0.1"


def test_free_ports_differ_and_those_in_use_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = fixtures._free_port(), fixtures._free_port()
    assert one != two
    with socket.create_server(("127.0.0.1", one)):
        monkeypatch.setattr(fixtures, "_PORTS", [one, two])
        assert [fixtures._free_port() for _ in range(3)] == [two] * 3
        monkeypatch.setattr(fixtures, "_PORTS", [one])
        with pytest.raises(OSError, match="no port"):
            fixtures._free_port()


async def test_a_kernel_leaves_nothing_behind(no_leaks: None, echo_model: ModelSettings) -> None:
    async with make_kernel(echo_model) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("echo", ["a"]))


LEAKS = """
import logging, os, socket, subprocess, sys, threading
from mlsrv.testing import fixtures

fixtures.PATIENCE = 0.5
kept = []

def test_clean(no_leaks):
    with socket.socket():
        pass

def test_variable(no_leaks):
    os.environ["MLSRV_LEAK"] = "1"

def test_handler(no_leaks):
    logging.getLogger().addHandler(logging.NullHandler())

def test_level(untouched_process):
    logging.getLogger().setLevel(logging.DEBUG)

def test_thread(no_leaks):
    stop = threading.Event()
    kept.append(stop)
    threading.Thread(target=stop.wait, args=(60,), name="leaked", daemon=True).start()

def test_file(no_leaks):
    kept.append(open(__file__))

def test_socket(no_leaks):
    kept.append(socket.socket())

def test_process(no_leaks):
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_brief_thread(no_leaks):
    threading.Timer(0.2, lambda: None).start()
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="what a process holds is seen on Linux only")
def test_leaks_are_found(tmp_path: Path) -> None:
    path = tmp_path / "test_leaks.py"
    path.write_text(LEAKS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "mlsrv.testing.fixtures", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-rA", "-W", "ignore", "--rootdir", str(tmp_path), str(path)],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=tmp_path,
    )
    failed = {
        line.split("::")[1].split()[0] for line in done.stdout.splitlines() if line.startswith("ERROR ")
    }
    assert failed == {
        *("test_variable", "test_handler", "test_level", "test_thread", "test_file", "test_socket"),
        "test_process",
    }, done.stdout
    assert "thread leaked" in done.stdout
    assert "MLSRV_LEAK" in done.stdout


def test_the_suites_are_found_under_their_old_names() -> None:
    from mlsrv.testing import checks, contracts

    assert contracts.CodecContract is mlsrv_testing.contracts.CodecContract
    assert checks.check_plugin is mlsrv_testing.checks.check_plugin
    with pytest.raises(AttributeError, match=r"module 'mlsrv.testing.contracts' has no attribute 'Nothing'"):
        contracts.Nothing  # noqa: B018  # the access itself raises


def test_without_the_kit_the_old_names_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlsrv.testing import contracts

    for name in [name for name in sys.modules if name.partition(".")[0] == "mlsrv_testing"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlsrv_testing", None)
    with pytest.raises(ModuleNotFoundError, match="install it: pip install mlsrv-testing"):
        contracts.CodecContract  # noqa: B018  # the access itself raises
