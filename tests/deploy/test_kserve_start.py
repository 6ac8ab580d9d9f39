"""The start of a server in KServe: a model in ``/mnt/models``, and the variables that its controller adds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import joblib
import pytest
from manifests import manifest, started
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

FLOWER = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [6.7, 3.0, 5.2, 2.3]}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the storage initialiser leaves: an artifact, and no settings."""
    folder = tmp_path_factory.mktemp("mnt-models")
    model = LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))
    joblib.dump(model, folder / "model.joblib")
    return folder


PLACEHOLDERS = {"{{.Name}}": "flowers", "{{.Labels.modelClass}}": "mlserver_sklearn.SKLearnModel"}
"""What KServe writes for an InferenceService "flowers" of the format sklearn."""


def added(runtime: str) -> dict[str, str]:
    """The variables that KServe adds where the runtime has the annotation of MLServer."""
    annotations = manifest(runtime)["metadata"].get("annotations", {})
    if annotations.get("serving.kserve.io/server-type") != "mlserver":
        return {}
    return {"MLSERVER_MODEL_NAME": "flowers", "MLSERVER_MODEL_URI": "/mnt/models"}


@pytest.fixture(scope="module", params=["kserve/runtime.yaml", "kserve/runtime-mlserver.yaml"])
def ports(
    request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, int]]:
    (container,) = manifest(request.param)["spec"]["containers"]
    scratch = tmp_path_factory.mktemp("pod")
    folders = {"/mnt/models": str(models)}
    with started(container, scratch, folders, added(request.param), PLACEHOLDERS) as found:
        yield found


def wait_ready(ports: dict[str, int]) -> None:
    end = time.monotonic() + 90
    while httpx.get(f"http://127.0.0.1:{ports['HTTP']}/v2/health/ready").status_code != 200:
        assert time.monotonic() < end, "the model is not ready"
        time.sleep(0.1)


def test_the_model_has_the_name_of_the_service(ports: dict[str, int]) -> None:
    wait_ready(ports)
    url = f"http://127.0.0.1:{ports['HTTP']}/v2/models/flowers"
    answer: Any = httpx.post(f"{url}/infer", json={"inputs": [FLOWER]}).json()
    assert answer["model_name"] == "flowers"
    assert answer["outputs"][0]["data"] == [2]
    assert httpx.get(f"{url}/ready").status_code == 200


def test_the_same_over_grpc(ports: dict[str, int]) -> None:
    wait_ready(ports)
    tensor = pb.ModelInferRequest.InferInputTensor(
        name="x",
        shape=[1, 4],
        datatype="FP64",
        contents=pb.InferTensorContents(fp64_contents=FLOWER["data"]),
    )
    with grpc.insecure_channel(f"127.0.0.1:{ports['GRPC']}") as channel:
        request = pb.ModelInferRequest(model_name="flowers", inputs=[tensor])
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
    assert list(answer.outputs[0].contents.int64_contents) == [2]


def test_metrics_are_where_the_annotations_say(ports: dict[str, int]) -> None:
    answer = httpx.get(f"http://127.0.0.1:{ports['METRICS']}/metrics")
    assert answer.status_code == 200
    assert "mlsrv_requests_in_flight" in answer.text


def test_without_storage_nothing_is_loaded(models: Path, tmp_path: Path) -> None:
    (container,) = manifest("kserve/runtime-mlserver.yaml")["spec"]["containers"]
    variables = {"MLSERVER_LOAD_MODELS_AT_STARTUP": "false"}
    folders = {"/mnt/models": str(models)}
    with started(container, tmp_path, folders, variables, PLACEHOLDERS) as ports:
        answer = httpx.get(f"http://127.0.0.1:{ports['HTTP']}/v2/models/flowers/ready")
        assert answer.status_code != 200
