"""Names under which users import codecs."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys

import pytest

import mlsrv.codecs
from mlsrv.codecs import installed
from mlsrv_settings_kit.known_plugins import owner_of


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("string", ["StringCodec", "StringRequestCodec"]),
        ("base64", ["Base64Codec"]),
        ("datetime", ["DatetimeCodec"]),
        ("numpy", ["NumpyCodec", "NumpyRequestCodec"]),
        ("pandas", ["PandasCodec"]),
    ],
)
def test_codecs_are_where_the_peer_has_them(module: str, names: list[str]) -> None:
    found = importlib.import_module(f"mlsrv.codecs.{module}")
    for name in names:
        distribution = owner_of("codec_classes", name)
        assert distribution is not None
        package = distribution.replace("-", "_")
        if importlib.util.find_spec(package) is None:
            with pytest.raises(ImportError, match=rf"needs the plugin {distribution} \(pip install"):
                getattr(found, name)
        else:
            assert getattr(found, name) is getattr(mlsrv.codecs, name)
            assert getattr(found, name).__module__.startswith(package)
    with pytest.raises(AttributeError, match=f"module 'mlsrv.codecs.{module}' has no attribute 'Nonsense'"):
        _ = found.Nonsense


def test_a_codec_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "owner_of", lambda kind, name: "mlsrv-surely-not-there")
    with pytest.raises(ImportError, match=r"needs the plugin mlsrv-surely-not-there \(pip install"):
        _ = mlsrv.codecs.PandasCodec


def test_an_import_error_inside_a_plugin_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mlsrv_broken.py").write_text("import surely_missing")  # type: ignore[operator]  # a path
    monkeypatch.setattr(installed, "owner_of", lambda kind, name: "mlsrv-broken")
    with pytest.raises(ModuleNotFoundError, match="surely_missing"):
        _ = mlsrv.codecs.PandasCodec


def test_helpers() -> None:
    from mlsrv.codecs.decorator import decode_args
    from mlsrv.codecs.utils import InputOrOutput, SingleInputRequestCodec
    from mlsrv.types import RequestInput

    assert mlsrv.codecs.decode_args is decode_args
    assert mlsrv.codecs.SingleInputRequestCodec is SingleInputRequestCodec
    assert isinstance(RequestInput("x", [0], "INT8", []), InputOrOutput)
    assert mlsrv.codecs.DecodedParameterName == "_decoded_payload"


def test_importing_the_package_imports_no_plugin() -> None:
    probe = (
        "import sys, mlsrv.codecs, mlsrv.codecs.pandas; "
        "tops = {name.partition('.')[0] for name in sys.modules if name.startswith('mlsrv_')}; "
        "below = ('hosting_kit', 'protocol', 'settings_kit', 'telemetry_kit'); "
        "print(sorted(tops - {f'mlsrv_{name}' for name in below}))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_star_brings_the_codecs_of_installed_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, object] = {}
    exec("from mlsrv.codecs import *", found)
    assert {"InputCodec", "decode_args", "NumpyCodec", "PandasCodec", "StringCodec"} <= set(found)
    monkeypatch.setattr(installed, "is_installed", lambda distribution: distribution == "mlsrv-text")
    assert sorted(installed.installed_names()) == [
        "Base64Codec",
        "DatetimeCodec",
        "StringCodec",
        "StringRequestCodec",
    ]
