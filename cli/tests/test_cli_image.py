"""Images: the Dockerfile of a folder, and the command that builds it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mlsrv
from mlsrv.plugins import Plugins
from mlsrv_cli.image.dockerfile import dockerfile, dockerignore
from mlsrv_cli.image.needs import needed


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mlsrv_cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "models" / "iris"
    model.mkdir(parents=True)
    settings = {"name": "iris", "implementation": "mlserver_sklearn.SKLearnModel", "max_batch_size": 4}
    (model / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "models" / "settings.json").write_text('{"grpc_port": 8081}', encoding="utf-8")
    return tmp_path / "models"


def test_the_plugins_that_a_folder_needs(folder: Path) -> None:
    found = needed(folder, Plugins(discover=False))
    assert set(found) >= {"mlsrv", "mlsrv-sklearn"}
    assert "mlsrv-mlserver" not in found
    (folder / "iris" / "own.py").write_text("from mlserver import MLModel\n", encoding="utf-8")
    assert "mlsrv-mlserver" in needed(folder, Plugins(discover=False))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"buyers.joblib": ""}, ["mlsrv", "mlsrv-sklearn"]),
        ({"m/model.joblib": ""}, ["mlsrv", "mlsrv-sklearn"]),
        ({"a.onnx": "", "b.cbm": "", "train.py": ""}, ["mlsrv", "mlsrv-catboost", "mlsrv-onnx"]),
        ({"settings.json": '{"grpc_port": 8081}', "model.ubj": ""}, ["mlsrv", "mlsrv-xgboost"]),
        ({".hidden.joblib": "", "notes.txt": ""}, ["mlsrv"]),
        ({"m/model-settings.json": '{"name": "m"}', "m/own.skops": ""}, ["mlsrv", "mlsrv-sklearn"]),
        (
            {
                "m/model-settings.json": '{"name": "m", "parameters": {"uri": "s3://models/m.cbm"}}',
                "m/encoder.pkl": "",
            },
            ["mlsrv", "mlsrv-catboost"],
        ),
        (
            {"m/model-settings.json": '{"name": "m", "parameters": {"uri": "../there"}}', "there/x.onnx": ""},
            ["mlsrv", "mlsrv-onnx"],
        ),
        ({"m/model-settings.json": '{"implementation": "own.Model"}', "m/table.pkl": ""}, ["mlsrv"]),
    ],
)
def test_artifacts_need_their_runtimes(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    for name, text in files.items():
        path = tmp_path / "served" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert needed(tmp_path / "served", Plugins(discover=False)) == expected


def test_installed_runtimes_come_before_known_ones(tmp_path: Path) -> None:
    class Own:
        @mlsrv.hookimpl
        def mlsrv_runtimes(self) -> mlsrv.RuntimeOffer:
            return mlsrv.RuntimeOffer("own", "own:Model", artifacts=("*.joblib",))

    (tmp_path / "buyers.joblib").touch()
    found = needed(tmp_path, Plugins([Own()], discover=False))
    assert len(found) == 2
    assert "mlsrv-sklearn" not in found


def test_a_dockerfile_has_its_layers_in_order() -> None:
    text = dockerfile(["mlsrv", "mlsrv-sklearn"], version="1.2.3", requirements=True, title="iris")
    parts = [
        '"mlsrv==1.2.3" "mlsrv-sklearn==1.2.3"',
        "-r /tmp/requirements.txt",
        "COPY --chown=1000:0 . /mnt",
    ]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert 'ENTRYPOINT ["mlsrv"]' in text
    assert "USER 1000:0" in text
    assert "requirements.txt" not in dockerfile(["mlsrv"], version="1.2.3")
    assert dockerfile(["mlsrv"], version="1") == dockerfile(["mlsrv"], version="1")
    assert "**/.env" in dockerignore().splitlines()


def test_the_command_writes_its_files_once(folder: Path) -> None:
    done = run("dockerfile", str(folder), "--write")
    assert done.returncode == 0, done.stderr
    assert "mlsrv-sklearn==" in (folder / "Dockerfile").read_text()
    again = run("dockerfile", str(folder), "--write")
    assert again.returncode == 2
    assert "exists already; --force replaces it" in again.stderr
    assert run("dockerfile", str(folder), "--write", "--force").returncode == 0


def test_a_build_is_printed(folder: Path) -> None:
    done = run("build", str(folder), "--tag", "a:1; rm -rf /", "--builder", "podman", "--no-cache", "--print")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("podman build --tag 'a:1; rm -rf /' --file ")


def test_wheels_of_a_folder_are_installed(folder: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for command in (["dockerfile", str(folder)], ["build", str(folder), "--tag", "a", "--builder", "docker"]):
        refused = run(*command, "--wheels", str(wheels))
        assert refused.returncode == 2, refused.stderr
        assert "there is no wheel in" in refused.stderr
    (wheels / "mlsrv-1-py3-none-any.whl").touch()
    text = run("dockerfile", str(folder), "--wheels", str(wheels)).stdout
    assert text.index("COPY --from=wheels . /tmp/wheels") < text.index("uv pip install --python")
    assert "wheels" not in text.partition("FROM python")[2].partition("\nFROM ")[2]
    assert "wheels" not in run("dockerfile", str(folder)).stdout
    done = run("build", str(folder), "--tag", "a", "--wheels", str(wheels), "--print")
    assert f" --build-context wheels={wheels} " in done.stdout


def test_settings_that_cannot_be_read(folder: Path) -> None:
    (folder / "settings.json").write_text("{", encoding="utf-8")
    done = run("dockerfile", str(folder))
    assert done.returncode == 2
    assert "is not valid JSON" in done.stderr
    assert "Traceback" not in done.stderr
