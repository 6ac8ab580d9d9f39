"""What tritonclient's HTTP clients can do, each thing by its name: python http_calls.py NAME HOST:PORT"""

import asyncio
import sys

import numpy as np
import tritonclient.http as sync
import tritonclient.http.aio as aio
from grpc_calls import VALUES, same
from tritonclient.utils import InferenceServerException

AS_JSON = [name for name in VALUES if name not in ("BYTES", "BF16")]


def tensor(values, datatype, name="x", binary=True):
    found = sync.InferInput(name, list(values.shape), datatype)
    found.set_data_from_numpy(values, binary_data=binary)
    return found


def small():
    return tensor(VALUES["FP32"], "FP32")


def refused(status, call, *args, **kwargs):
    found = None
    try:
        call(*args, **kwargs)
    except InferenceServerException as error:
        found = error
    assert found is not None, "it was not refused"
    assert found.status() == status, found
    assert "'error'" not in str(found), "the body was not understood"


def health(client):
    assert client.is_server_live() is True
    assert client.is_server_ready() is True
    assert client.is_model_ready("echo") is True
    assert client.is_model_ready("versioned", "v1") is True
    assert client.is_model_ready("nope") is False


def metadata(client):
    server = client.get_server_metadata()
    assert server["name"] == "mlsrv"
    wanted = {"binary_tensor_data", "classification", "model_repository", "model_configuration", "statistics"}
    assert wanted <= set(server["extensions"])
    model = client.get_model_metadata("declared")
    assert (model["name"], model["platform"]) == ("declared", "p")
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert client.get_model_config("declared")["input"][0]["name"] == "x"
    refused("404", client.get_model_metadata, "nope")
    refused("404", client.get_model_config, "nope")


def statistics(client):
    def count():
        (found,) = client.get_inference_statistics("versioned", "v1")["model_stats"]
        return found["inference_count"]

    before = count()
    client.infer("versioned", [small()], "v1")
    assert count() == before + small().shape()[0]
    assert len(client.get_inference_statistics()["model_stats"]) >= 8


def repository(client):
    index = client.get_model_repository_index()
    assert {"name": "versioned", "version": "v1", "state": "READY", "reason": ""} in index
    client.unload_model("versioned", unload_dependents=True)
    assert client.is_model_ready("versioned") is False
    refused("503", client.infer, "versioned", [small()])
    client.load_model("versioned")
    assert client.is_model_ready("versioned", "v2") is True
    refused("404", client.load_model, "nope")
    refused("404", client.unload_model, "nope")
    refused("400", client.load_model, "echo", config='{"name": "echo"}')


def datatypes(client):
    for datatype, values in VALUES.items():
        for sent in (values, values[:0], values.reshape(-1)):
            same(client.infer("echo", [tensor(sent, datatype)]).as_numpy("x"), sent)
    inputs = [tensor(values, datatype, datatype) for datatype, values in VALUES.items()]
    wanted = [sync.InferRequestedOutput(name) for name in VALUES]
    result = client.infer("echo", inputs, outputs=wanted)
    for datatype, values in VALUES.items():
        same(result.as_numpy(datatype), values)


def json(client):
    """Without binary data; the client itself writes bare NaN into its JSON."""
    for name in AS_JSON:
        values = VALUES[name]
        sent = (
            np.where(np.isfinite(values), values, 0).astype(values.dtype)
            if values.dtype.kind == "f"
            else values
        )
        output = sync.InferRequestedOutput("x", binary_data=False)
        result = client.infer("echo", [tensor(sent, name, binary=False)], outputs=[output])
        assert result.get_response()["outputs"][0].get("data") is not None
        same(result.as_numpy("x"), sent)
    texts = np.array([["é".encode(), b"b"]], np.object_)
    output = sync.InferRequestedOutput("x", binary_data=False)
    result = client.infer("echo", [tensor(texts, "BYTES", binary=False)], outputs=[output])
    assert [str(value) for value in result.as_numpy("x").reshape(-1)] == ["é", "b"]
    odd = tensor(np.array([np.nan, np.inf], np.float64), "FP64", binary=False)
    found = client.infer("echo", [odd]).as_numpy("x")
    assert np.isnan(found[0])
    assert np.isinf(found[1])


def options(client):
    for algorithm in (None, "gzip", "deflate"):
        result = client.infer(
            "echo",
            [small()],
            outputs=[sync.InferRequestedOutput("x")],
            request_id="7",
            priority=1,
            timeout=10**9,
            headers={"x-a": "1"},
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
            parameters={"a": "b", "c": 1, "d": True, "e": 0.5},
        )
        assert result.get_response()["id"] == "7"
        same(result.as_numpy("x"), VALUES["FP32"])
    assert client.infer("versioned", [small()]).get_response()["model_version"] == "v2"
    assert client.infer("echo", [small()]).get_response()["id"]


def classification(client):
    rows = tensor(np.array([[0.5, 3.25, 1.0], [2.0, -1.0, 0.0]], np.float32), "FP32")
    result = client.infer("echo", [rows], outputs=[sync.InferRequestedOutput("x", class_count=2)])
    assert result.as_numpy("x").tolist() == [
        [b"3.250000:1", b"1.000000:2"],
        [b"2.000000:0", b"0.000000:2"],
    ]


def failures(client):
    refused("404", client.infer, "nope", [small()])
    refused("404", client.infer, "echo", [small()], "7")
    refused("500", client.infer, "failing", [small()])
    refused("400", client.infer, "declared", [tensor(VALUES["INT8"], "INT8")])
    refused("400", client.infer, "echo", [small()], sequence_id=7, sequence_start=True)
    refused("501", client.infer, "counting", [small()])
    refused("404", client.get_system_shared_memory_status)
    same(client.infer("echo", [small()]).as_numpy("x"), VALUES["FP32"])


def large(client):
    values = np.random.default_rng(1).random((5, 2**20), np.float32)
    same(client.infer("echo", [tensor(values, "FP32")]).as_numpy("x"), values)


def together(client):
    calls = [client.async_infer("echo", [small()], request_id=str(number)) for number in range(20)]
    assert [call.get_result().get_response()["id"] for call in calls] == [str(number) for number in range(20)]


async def asynchronous(url):
    async with aio.InferenceServerClient(url) as client:
        assert await client.is_server_live()
        assert await client.is_model_ready("echo")
        assert (await client.get_server_metadata())["name"] == "mlsrv"
        assert (await client.get_model_metadata("echo"))["name"] == "echo"
        assert await client.get_model_config("declared")
        assert await client.get_model_repository_index()
        assert await client.get_inference_statistics("echo")
        await client.unload_model("declared")
        await client.load_model("declared")
        results = await asyncio.gather(*(client.infer("echo", [small()]) for _ in range(20)))
        for result in results:
            same(result.as_numpy("x"), VALUES["FP32"])
        packed = await client.infer("echo", [small()], response_compression_algorithm="gzip")
        same(packed.as_numpy("x"), VALUES["FP32"])
        status = None
        try:
            await client.infer("nope", [small()])
        except InferenceServerException as error:
            status = error.status()
        assert status == "404"


def main(name, url):
    if name == "asynchronous":
        asyncio.run(asynchronous(url))
        return
    with sync.InferenceServerClient(url, concurrency=4) as client:
        globals()[name](client)


if __name__ == "__main__":
    main(*sys.argv[1:])
