"""What KServe's clients can do: python calls.py rest|grpc HOST:PORT"""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferOutput, InferRequest
from kserve.inference_client import RESTConfig

ARRAYS = {
    "BOOL": np.array([[True, False]]),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
    "FP16": np.array([[0.5, -1.0]], np.float16),
    "FP32": np.array([[0.1, 2.5]], np.float32),
    "FP64": np.array([[0.1, 2.5]], np.float64),
}


def request(binary):
    inputs = []
    for datatype, array in ARRAYS.items():
        tensor = InferInput(datatype, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        inputs.append(tensor)
    texts = InferInput("texts", [2], "BYTES")
    texts.set_data_from_numpy(np.array([b"one", b"two"], np.object_), binary_data=binary)
    return InferRequest("echo", [*inputs, texts], request_id="7")


def check(response):
    assert (response.model_name, response.id) == ("echo", "7")
    found = {output.name: output for output in response.outputs}
    for datatype, array in ARRAYS.items():
        same = found[datatype].as_numpy()
        assert np.array_equal(same.reshape(array.shape), array), datatype
    assert isinstance(found["texts"], InferOutput)
    texts = [value.decode() if isinstance(value, bytes) else value for value in found["texts"].as_numpy()]
    assert texts == ["one", "two"]


async def rest(url):
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=1, timeout=20))
    base = f"http://{url}"
    assert await client.is_server_live(base) is True
    assert await client.is_server_ready(base) is True
    assert await client.is_model_ready(base, "echo") is True
    for binary in (True, False):
        asked = request(binary)
        if not binary:
            # The client has no JSON form for these.
            asked.inputs = [tensor for tensor in asked.inputs if tensor.datatype not in ("FP16", "BYTES")]
            response = await client.infer(base, asked, model_name="echo")
            assert response.outputs[-1].as_numpy().reshape(-1).tolist() == [0.1, 2.5]
        else:
            check(await client.infer(base, asked, model_name="echo"))
    refusal = None
    try:
        await client.infer(base, request(True), model_name="nope")
    except Exception as error:  # whatever the client makes of it, the server's sentence must be in it
        refusal = str(error)
    assert refusal is not None
    assert "Model nope not found" in refusal
    await client.close()


async def grpc(url):
    client = InferenceGRPCClient(url, retries=2, timeout=20)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("echo")
    check(await client.infer(request(True)))
    await client.close()


if __name__ == "__main__":
    asyncio.run({"rest": rest, "grpc": grpc}[sys.argv[1]](sys.argv[2]))
