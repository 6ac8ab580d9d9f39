"""The suite of plugins: a right one keeps it, and each case fails for one that is wrong in that."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from mlsrv import CodecOffer, hookimpl
from mlsrv.testing import Offering
from mlsrv_testing.contracts import PluginContract

RIGHT = """
import mlsrv
from mlsrv.settings import setting, settings_class

@settings_class
class ToySettings:
    toy: int = setting(1, help="A number.")

@mlsrv.hookimpl
def mlsrv_settings():
    return mlsrv.SettingsOffer("server", ToySettings)

@mlsrv.hookimpl
def mlsrv_runtimes():
    return mlsrv.RuntimeOffer("toy", "mlsrv.testing:EchoModel")

@mlsrv.hookimpl
def mlsrv_codecs():
    return mlsrv.CodecOffer("np", "mlsrv_numpy:NumpyCodec")
"""

MUTANTS = {
    "test_it_stands_alone": "\n@mlsrv.hookimpl\ndef mlsrv_executors():\n    raise KeyError('rest')\n",
    "test_its_module_is_light": "\nimport numpy\n",
    "test_importing_it_touches_nothing": "\nimport sys\nsys.path.append('nowhere')\n",
    "test_its_targets_are_there": "\n@mlsrv.hookimpl\ndef mlsrv_transports():\n"
    '    return mlsrv.TransportOffer("toy", "mlsrv.testing:EchoModel")\n',
    "test_its_settings_have_help": "\n@settings_class\nclass ToySettings:\n    toy: int = 1\n",
}
CASES = [name for name in dir(PluginContract) if name.startswith("test_")]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes the suite of a module with this code."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(code: str) -> PluginContract:
        (tmp_path / "toy_plugin.py").write_text(code)
        monkeypatch.delitem(sys.modules, "toy_plugin", raising=False)
        importlib.invalidate_caches()
        found = type("Suite", (PluginContract,), {"plugin": importlib.import_module("toy_plugin")})()
        monkeypatch.delitem(sys.modules, "toy_plugin")
        return found

    return make


def test_every_case_has_a_mutant() -> None:
    assert set(MUTANTS) == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_a_case_fails_for_its_mutant(suite, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    getattr(suite(RIGHT), case)()
    monkeypatch.setattr(sys, "path", [*sys.path])  # which a mutant changes
    wrong = suite(RIGHT + MUTANTS[case])
    with pytest.raises((Exception, pytest.fail.Exception)):
        getattr(wrong, case)()


def test_a_codec_of_another_content_type() -> None:
    suite = type("Suite", (PluginContract,), {"plugin": Offering(CodecOffer("x", "mlsrv_numpy:NumpyCodec"))})
    with pytest.raises(AssertionError, match="has the ContentType 'np'"):
        suite().test_its_targets_are_there()


class Plugin:
    @hookimpl
    def mlsrv_lifespan(self) -> None:
        return None


def test_a_plugin_that_is_no_module_is_checked_as_far_as_that_goes() -> None:
    suite = type("Suite", (PluginContract,), {"plugin": Plugin()})()
    suite.test_it_stands_alone()
    with pytest.raises(pytest.skip.Exception, match="no module"):
        suite.test_its_module_is_light()
