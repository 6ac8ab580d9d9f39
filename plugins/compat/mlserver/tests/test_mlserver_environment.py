"""Environment: MLServer's variables and keys, where the plugin is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mlsrv
from mlsrv.settings import Owner, Settings
from mlsrv_mlserver import plugin
from mlsrv_mlserver.environment import dotenv, translated


def test_variables_are_those_of_mlsrv_with_another_prefix() -> None:
    found, read = translated({"MLSERVER_HTTP_PORT": "1", "mlserver_model_uri": "/m", "PATH": "/bin"})
    assert found == {"MLSRV_HTTP_PORT": "1", "MLSRV_MODEL_URI": "/m"}
    assert read == {"MLSERVER_HTTP_PORT", "mlserver_model_uri"}


def test_variables_of_images_and_other_commands_set_nothing() -> None:
    names = ["MLSERVER_ENV_TARBALL", "MLSERVER_PATH", "MLSERVER_INFER_WORKERS"]
    found, read = translated(dict.fromkeys(names, "x"))
    assert found == {}
    assert read == set(names)


def test_variables_of_a_runtime_become_extra_parameters() -> None:
    found, _ = translated(
        {"MLSERVER_MODEL_HUGGINGFACE_TASK": "fill-mask", "MLSERVER_MODEL_HUGGINGFACE_DEVICE": "-1"}
    )
    assert json.loads(found["MLSRV_MODEL_EXTRA"]) == {"task": "fill-mask", "device": -1}


@pytest.mark.parametrize("enabled", ["false", "0"])
def test_kafka_that_is_off_needs_no_plugin(enabled: str) -> None:
    found, _ = translated({"MLSERVER_KAFKA_ENABLED": enabled, "MLSERVER_KAFKA_SERVERS": "b:9092"})
    assert found == {}


def test_a_file_of_variables(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# settings\nexport MLSERVER_DEBUG='true'\nMLSERVER_HTTP_PORT=9\nOTHER=1\nnonsense\n",
        encoding="utf-8",
    )
    assert dotenv(tmp_path) == {"MLSERVER_DEBUG": "true", "MLSERVER_HTTP_PORT": "9"}
    assert dotenv(tmp_path / "missing") == {}


def test_the_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("MLSERVER_HTTP_PORT=1\nMLSERVER_GRPC_PORT=2\n", encoding="utf-8")
    found = plugin.mlsrv_cli_environment({"MLSERVER_HTTP_PORT": "3"})
    assert found.variables == {"MLSRV_HTTP_PORT": "3", "MLSRV_GRPC_PORT": "2"}
    assert found.defaults == {"unloaded_models": "not_found", "grpc_stream_responses": "plain"}


def test_unknown_keys_are_told_of_and_no_reason_to_stop(caplog: pytest.LogCaptureFixture) -> None:
    kernel = mlsrv.Kernel({"_comment": "ours", "debug": True}, plugins=[plugin], discover=False)
    assert kernel.settings.debug is True
    assert [record.getMessage() for record in caplog.records] == [
        'code: unknown key "_comment"; it is ignored'
    ]


async def test_unknown_keys_of_models_and_their_tensors(caplog: pytest.LogCaptureFixture) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "tags": ["a"]}
    model = mlsrv.ModelSettings(
        name="m", implementation="mlsrv.testing.models.EchoModel", description="a", inputs=[tensor]
    )
    async with mlsrv.Kernel(plugins=[plugin], models=[model], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.ready
    told = [record.getMessage() for record in caplog.records if "ignored" in record.getMessage()]
    assert told == [
        'Model m: inputs[0]: unknown key "tags"; it is ignored',
        'Model m: code: unknown key "description"; it is ignored',
    ]


def test_without_the_plugin_they_are_refused() -> None:
    settings = Settings(_comment="ours")
    with pytest.raises(mlsrv.errors.ConfigurationError, match='unknown key "_comment"'):
        settings.resolve([])
    assert settings.resolve([Owner("x", plugin.TolerantSettings)]).ignored


def test_the_folder_that_mlservers_images_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLSRV_MODELS_DIR", raising=False)
    monkeypatch.setenv("MLSERVER_MODELS_DIR", str(tmp_path / "missing"))
    done = subprocess.run(
        [sys.executable, "-m", "mlsrv_cli", "config", "check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert f'There is no file or folder "{tmp_path / "missing"}"' in done.stderr
