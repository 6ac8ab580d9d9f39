"""What the agent of Seldon Core 2 asks of a server, in its order, with the container of our ServerConfig.

The agent itself runs in a cluster only; its calls are made with MLServer's stubs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import joblib
import pytest
from manifests import manifest, started
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

SECONDS = 90
PYTHON = """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Twice(MLModel):
    async def predict(self, payload):
        values = NumpyCodec.decode_input(payload.inputs[0])
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("twice", values * 2)]
        )
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The volume of the pod, in place of ``/mnt/agent``."""
    folder = tmp_path_factory.mktemp("agent")
    (folder / "models").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    containers = manifest("seldon/serverconfig.yaml")["spec"]["podSpec"]["containers"]
    container = next(found for found in containers if found["name"] == "mlserver")
    scratch = tmp_path_factory.mktemp("pod")
    with started(container, scratch, {"/mnt/agent": str(shared)}, {}, {}) as ports:
        yield ports


@pytest.fixture
def stub(server: dict[str, int]) -> Iterator[GRPCInferenceServiceStub]:
    with grpc.insecure_channel(f"127.0.0.1:{server['GRPC']}") as channel:
        yield GRPCInferenceServiceStub(channel)


def settings(name: str, implementation: str, file: str) -> str:
    """What the agent writes into a model's folder."""
    values = {
        "name": name,
        "implementation": implementation,
        "parallel_workers": None,
        "parameters": {"uri": f"./{file}", "version": "1"},
    }
    return json.dumps(values)


def drop(shared: Path, name: str) -> None:
    """Have the agent fetch a model."""
    folder = shared / "models" / name
    folder.mkdir()
    if name.startswith("iris"):
        model = LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))
        joblib.dump(model, folder / "model.joblib")
        text = settings(name, "mlserver_sklearn.SKLearnModel", "model.joblib")
    else:
        (folder / "model.py").write_text(PYTHON, encoding="utf-8")
        text = settings(name, "model.Twice", "model.py")
    (folder / "model-settings.json").write_text(text, encoding="utf-8")


def states(stub: GRPCInferenceServiceStub) -> dict[str, str]:
    index = stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=SECONDS)
    return {model.name: model.state for model in index.models}


def question(name: str) -> pb.ModelInferRequest:
    contents = pb.InferTensorContents(fp64_contents=[6.7, 3.0, 5.2, 2.3])
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", shape=[1, 4], datatype="FP64", contents=contents)
    return pb.ModelInferRequest(model_name=name, model_version="1", inputs=[tensor])


def load(stub: GRPCInferenceServiceStub, name: str) -> None:
    stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name), timeout=SECONDS)


def unload(stub: GRPCInferenceServiceStub, name: str) -> None:
    stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=name), timeout=SECONDS)


def test_a_server_without_models_is_live_and_ready(
    server: dict[str, int], stub: GRPCInferenceServiceStub
) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest(), timeout=SECONDS).live is True
    assert httpx.get(f"http://127.0.0.1:{server['HTTP']}/v2/health/ready").status_code == 200
    assert states(stub) == {}


@pytest.mark.parametrize("name", ["iris_1", "twice_7"])
def test_a_model_comes_goes_and_comes_again(
    name: str, shared: Path, server: dict[str, int], stub: GRPCInferenceServiceStub
) -> None:
    drop(shared, name)
    load(stub, name)
    assert states(stub)[name] == "READY"
    answer = stub.ModelInfer(question(name), timeout=SECONDS)
    assert (answer.model_name, answer.model_version) == (name, "1")
    (streamed,) = stub.ModelStreamInfer(iter([question(name)]), timeout=SECONDS)
    assert streamed.outputs == answer.outputs

    unload(stub, name)
    assert states(stub)[name] == "UNAVAILABLE"
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(question(name), timeout=SECONDS)
    assert caught.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE)
    # The agent loads a model again for a client that got 404 or 400.
    url = f"http://127.0.0.1:{server['HTTP']}/v2/models/{name}/versions/1/infer"
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [6.7, 3.0, 5.2, 2.3]}]}
    assert httpx.post(url, json=body).status_code == 404

    load(stub, name)
    again = httpx.post(url, json=body)
    assert again.status_code == 200, again.text
    unload(stub, name)
    shutil.rmtree(shared / "models" / name)


def test_a_model_that_cannot_be_loaded(
    shared: Path, server: dict[str, int], stub: GRPCInferenceServiceStub
) -> None:
    folder = shared / "models" / "broken_1"
    folder.mkdir()
    text = settings("broken_1", "mlserver_sklearn.SKLearnModel", "missing.joblib")
    (folder / "model-settings.json").write_text(text, encoding="utf-8")
    with pytest.raises(grpc.RpcError) as caught:
        load(stub, "broken_1")
    assert "missing.joblib" in str(caught.value.details())
    assert stub.ServerLive(pb.ServerLiveRequest(), timeout=SECONDS).live is True
    # One model that fails is no reason to take traffic from the others.
    assert httpx.get(f"http://127.0.0.1:{server['HTTP']}/v2/health/live").status_code == 200
    shutil.rmtree(folder)
