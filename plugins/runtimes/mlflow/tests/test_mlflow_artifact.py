"""Where models are found, and what is said of those that cannot be used."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow_models import FLOWERS, wait_until_alive

from mlsrv import ModelSettings
from served import ask, kernel_of, model, reason

# Of SQLAlchemy, about what MLflow asks of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*noload.*:DeprecationWarning")

LOGGING = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow

store, source = sys.argv[1:]
mlflow.set_tracking_uri(store)
with mlflow.start_run() as run:
    info = mlflow.sklearn.log_model(
        mlflow.sklearn.load_model(source), name="model", registered_model_name="iris",
        serialization_format="cloudpickle", pip_requirements=["scikit-learn"],
    )
client = mlflow.MlflowClient()
client.set_registered_model_alias("iris", "champion", "1")
print(json.dumps({"run": run.info.run_id, "model": info.model_id}))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, saved: dict[str, Path]) -> dict[str, str]:
    """A tracking store in SQLite with a run and a registered model, made by another process: MLflow's own
    interface for that changes the environment."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return {"uri": uri, **log_a_model(uri, saved["bare"], folder)}


def log_a_model(uri: str, source: Path, folder: Path) -> dict[str, str]:
    command = [sys.executable, "-c", LOGGING, uri, str(source)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def server(tmp_path: Path, free_port: int) -> Iterator[str]:
    """The address of a tracking server that keeps artifacts, too."""
    command = [
        Path(sys.executable).parent / "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(free_port),
    ]
    with (tmp_path / "server.log").open("w") as log:
        running = subprocess.Popen(
            [*command, "--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            # It would run jobs otherwise, and leave their folder in shared memory.
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
    try:
        wait_until_alive(f"http://127.0.0.1:{free_port}/health", running)
        yield f"http://127.0.0.1:{free_port}"
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait(timeout=15)


@pytest.mark.timeout(400)
async def test_downloads_are_removed_with_the_model(
    server: str, saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_a_model(server, saved["bare"], tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    settings = model("models:/iris@champion", "mlflow", {"tracking_uri": server})
    async with kernel_of(settings) as kernel:
        assert kernel.problems() == []
        assert [len(list(folder.rglob("MLmodel"))) for folder in scratch.glob("mlsrv-mlflow-*")] == [1]
        assert (await ask(kernel, FLOWERS[:1].to_numpy()))["output-1"].tolist() == [[0]]
        await kernel.unload("m")
        assert list(scratch.glob("mlsrv-mlflow-*")) == []
    assert "not found" in await reason(model("models:/iris/7", "mlflow", {"tracking_uri": server}))
    assert list(scratch.glob("mlsrv-mlflow-*")) == []


async def answers(settings: ModelSettings) -> None:
    async with kernel_of(settings) as kernel:
        assert kernel.problems() == []
        assert (await ask(kernel, FLOWERS[:2].to_numpy()))["output-1"].tolist() == [[0], [0]]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "uri",
    [
        "models:/iris/1",
        "models:/iris@champion",
        "models:/iris/latest",
        "models:/{model}",
        "runs:/{run}/model",
    ],
)
async def test_runs_and_registered_models(store: dict[str, str], uri: str, untouched_process: None) -> None:
    before = mlflow.get_tracking_uri()
    await answers(model(uri.format_map(store), "mlflow", {"tracking_uri": store["uri"]}))
    assert mlflow.get_tracking_uri() == before


@pytest.mark.timeout(300)
async def test_the_variable_of_mlflow_counts(store: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store["uri"])
    await answers(model("models:/iris@champion", "mlflow"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("models:/iris/7", "Model Version (name=iris, version=7) not found"),
        ("models:/iris@nobody", "alias nobody not found"),
        ("models:/nothing/1", "name=nothing"),
        ("models:/", "Not a proper models:/ URI"),
        ("runs:/0123/model", "Run with id=0123 not found"),
        ("nowhere://bucket/model", "nowhere"),
    ],
)
async def test_a_uri_that_leads_nowhere(store: dict[str, str], uri: str, sentence: str) -> None:
    uri = uri.format_map(store)
    found = await reason(model(uri, "mlflow", {"tracking_uri": store["uri"]}))
    assert found.startswith(f"Model m: parameters.uri {uri!r} leads to no model (")
    assert sentence in found
    assert "MLFLOW_TRACKING_URI" in found


async def test_a_run_without_such_a_model(store: dict[str, str]) -> None:
    found = await reason(model(f"runs:/{store['run']}/other", "mlflow", {"tracking_uri": store["uri"]}))
    assert "artifacts/other is no model of MLflow" in found


async def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    found = await reason(model("models:/iris/1", "mlflow", {"tracking_uri": f"sqlite:///{path}"}))
    assert f"there is no tracking store sqlite:///{path}" in found
    assert not path.exists()


async def test_a_store_whose_library_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    found = await reason(
        model("models:/iris/1", "mlflow", {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"})
    )
    assert "needs the package sqlalchemy, which is not installed; pip install mlsrv-mlflow[tracking]" in found


async def test_the_folder_or_its_description(saved: dict[str, Path]) -> None:
    await answers(model(saved["bare"] / "MLmodel", "mlflow"))
    await answers(model(saved["bare"].as_uri(), "mlserver_mlflow.MLflowRuntime"))
    await answers(model(saved["bare"], None))


@pytest.fixture
def damaged(saved: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a model that a test may spoil."""
    return Path(shutil.copytree(saved["bare"], tmp_path / "damaged"))


def change(folder: Path, **values: object) -> None:
    path = folder / "MLmodel"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))


async def test_no_model_of_mlflow(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{}")
    for path in (tmp_path, tmp_path / "model.json"):
        found = await reason(model(path, "mlflow"))
        assert found.startswith(
            f"Model m: {path} is no model of MLflow, which is a folder with a file MLmodel; save"
        )


@pytest.mark.parametrize(
    "text", ["{", "- 1", "", "flavors: 5", "signature: {inputs: '[', outputs: 5}\nflavors: {}"]
)
async def test_a_damaged_description(damaged: Path, text: str) -> None:
    (damaged / "MLmodel").write_text(text)
    found = await reason(model(damaged, "mlflow"))
    assert f"{damaged / 'MLmodel'} cannot be read as the description of a model of MLflow" in found
    assert found.endswith("; save the model again.")


async def test_a_flavour_that_cannot_be_served(damaged: Path) -> None:
    change(damaged, flavors={"fastai": {"version": "1"}})
    found = await reason(model(damaged, "mlflow"))
    assert "has no flavour python_function (it has fastai)" in found


async def test_a_package_that_is_missing(damaged: Path) -> None:
    change(damaged, flavors={"python_function": {"loader_module": "no_such_framework"}})
    found = await reason(model(damaged, "mlflow"))
    assert found == (
        f"Model m: {damaged} needs the package no_such_framework, which is not installed; "
        f"install it, and what else {damaged / 'requirements.txt'} lists."
    )


async def test_an_artifact_that_is_missing_or_damaged(damaged: Path) -> None:
    artifact = damaged / "model.pkl"
    artifact.write_bytes(artifact.read_bytes()[:50])
    found = await reason(model(damaged, "mlflow"))
    assert found.startswith(f"Model m: {damaged} cannot be read as a model of MLflow (")
    assert found.endswith(f"; compare what is installed with {damaged / 'requirements.txt'}.")
    artifact.unlink()
    assert "cannot be read as a model of MLflow" in await reason(model(damaged, "mlflow"))


async def test_a_model_of_a_newer_mlflow(damaged: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(damaged, mlflow_version="99.1.0")
    await answers(model(damaged, "mlflow"))
    assert "was saved by MLflow 99.1.0, newer than" in caplog.text
    (damaged / "model.pkl").write_bytes(b"of the future")
    found = await reason(model(damaged, "mlflow"))
    assert "it was saved by MLflow 99.1.0, but 3." in found
    assert found.endswith("is installed: install a newer one.")


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"model_config": 5}, "parameters.extra.model_config must be an object, not 5"),
        ({"root_paths": "yes"}, "parameters.extra.root_paths must be true or false, not 'yes'"),
    ],
)
async def test_wrong_settings(saved: dict[str, Path], extra: dict[str, object], sentence: str) -> None:
    assert sentence in await reason(model(saved["bare"], "mlflow", extra))
    assert "tracking_uri must be a text" in await reason(model("models:/a/1", "mlflow", {"tracking_uri": 5}))
