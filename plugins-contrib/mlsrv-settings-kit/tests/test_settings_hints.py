"""Hints: the sentence about an unknown key."""

import sys

import pytest

from mlsrv_settings_kit.hints import explain_artifact, explain_codec, explain_runtime, explain_unknown


def test_the_nearest_name() -> None:
    assert explain_unknown("hots", ["host", "debug"]) == 'unknown key "hots"; did you mean "host"?'


def test_nothing_near() -> None:
    assert explain_unknown("zzz", ["host"]) == 'unknown key "zzz"'


def test_the_plugin_that_is_missing() -> None:
    assert explain_unknown("grpc_port", ["http_port"]) == (
        'unknown key "grpc_port": it belongs to the plugin mlsrv-grpc, which is not installed '
        "(pip install mlsrv-grpc)"
    )


def test_the_plugin_that_failed() -> None:
    failed = {"mlsrv-grpc": "ImportError: no grpc"}
    assert explain_unknown("grpc_port", [], [], failed) == (
        'unknown key "grpc_port": the plugin mlsrv-grpc is installed but did not load: ImportError: no grpc'
    )


def test_a_loaded_plugin_does_not_own_what_it_does_not_offer() -> None:
    found = explain_unknown("grpc_port", ["grpc_ports"], ["mlsrv-grpc"])
    assert found == 'unknown key "grpc_port"; did you mean "grpc_ports"?'


def test_a_plugin_of_others_that_failed_may_own_the_key() -> None:
    found = explain_unknown("acme_level", ["host"], [], {"acme-plugin": "ImportError: no acme"})
    assert found == (
        'unknown key "acme_level"; it may belong to a plugin that did not load: '
        "acme-plugin (ImportError: no acme)"
    )


@pytest.mark.parametrize(
    "wanted", ["onnx", "mlserver_onnx.OnnxModel", "mlserver_onnx:Other", "mlsrv_onnx.Other"]
)
def test_the_plugin_of_a_runtime(wanted: str) -> None:
    expected = " The runtime is in the plugin mlsrv-onnx (pip install mlsrv-onnx)."
    assert explain_runtime(wanted) == expected


def test_a_runtime_that_is_installed_under_another_name() -> None:
    found = explain_runtime("mlserver_onnx.onnx.OnnxModel", {"mlsrv-onnx": "onnx"})
    assert found == ' The plugin mlsrv-onnx is installed; write "onnx".'


def test_a_runtime_of_mlserver_that_no_plugin_has() -> None:
    found = explain_runtime("mlserver_nonsense.Runtime")
    assert found == " This runtime of MLServer is not available here."


@pytest.mark.parametrize("wanted", ["models.Own", "mlsrv_acme.Model", ""])
def test_a_runtime_that_nothing_is_known_of(wanted: str) -> None:
    assert explain_runtime(wanted) == ""


def test_the_plugin_of_an_artifact() -> None:
    assert explain_artifact(["model.onnx"], []) == " mlsrv-onnx reads such files (pip install mlsrv-onnx)."
    assert explain_artifact(["model.onnx"], ["mlsrv-onnx"]) == ""


@pytest.mark.parametrize("names", [["pd"], ["own.Frame", "pandas.DataFrame"]])
def test_the_plugin_of_a_codec(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlsrv_pandas", None)
    expected = " The codec is in the plugin mlsrv-pandas (pip install mlsrv-pandas)."
    assert explain_codec("request", names) == expected
    assert explain_codec("input", names) == ""


@pytest.mark.parametrize("names", [["mine"], [], ["builtins.dict"]])
def test_a_codec_that_nothing_is_known_of(names: list[str]) -> None:
    assert explain_codec("request", names) == ""
