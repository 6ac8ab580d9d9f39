"""What tritonclient's gRPC clients can do, each thing by its name: python grpc_calls.py NAME HOST:PORT"""

import asyncio
import queue
import sys
import time

import ml_dtypes
import numpy as np
import tritonclient.grpc as sync
import tritonclient.grpc.aio as aio
from tritonclient.utils import InferenceServerException

VALUES = {
    "BOOL": np.array([[True, False], [False, True]]),
    "INT8": np.array([[-128, 127], [0, 1]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1], [0, 1]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1], [0, 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1], [0, 1]], np.int64),
    "UINT8": np.array([[0, 255], [0, 1]], np.uint8),
    "UINT16": np.array([[0, 2**16 - 1], [0, 1]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1], [0, 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1], [0, 1]], np.uint64),
    "FP16": np.array([[0.5, -np.inf], [np.nan, 65504]], np.float16),
    "FP32": np.array([[0.1, -np.inf], [np.nan, 1e-45]], np.float32),
    "FP64": np.array([[0.1, -np.inf], [np.nan, 5e-324]], np.float64),
    "BF16": np.array([[1.5, -np.inf], [0.0, 3e38]], ml_dtypes.bfloat16),
    "BYTES": np.array([[b"one", b""], [b"\xff\x00", "é".encode()]], np.object_),
}


def tensor(values, datatype, name="x", module=sync):
    found = module.InferInput(name, list(values.shape), datatype)
    found.set_data_from_numpy(values)
    return found


def small(module=sync):
    return tensor(VALUES["FP32"], "FP32", module=module)


def same(found, sent):
    assert found.shape == sent.shape, (found.shape, sent.shape)
    if sent.dtype == np.object_:
        assert found.tolist() == sent.tolist()
    else:
        assert found.astype(sent.dtype).tobytes() == sent.tobytes(), (found, sent)


def refused(code, call, *args, **kwargs):
    status = None
    try:
        call(*args, **kwargs)
    except InferenceServerException as error:
        status = error.status()
    assert status == f"StatusCode.{code}", status


async def refused_async(code, call):
    status = None
    try:
        await call
    except InferenceServerException as error:
        status = error.status()
    assert status == f"StatusCode.{code}", status


def health(client):
    assert client.is_server_live() is True
    assert client.is_server_ready() is True
    assert client.is_model_ready("echo") is True
    assert client.is_model_ready("versioned", "v1") is True
    refused("NOT_FOUND", client.is_model_ready, "nope")
    refused("NOT_FOUND", client.is_model_ready, "echo", "7")


def metadata(client):
    server = client.get_server_metadata(as_json=True)
    assert server["name"] == "mlsrv"
    assert {"model_repository", "model_configuration", "statistics"} <= set(server["extensions"])
    model = client.get_model_metadata("declared")
    assert (model.name, model.platform) == ("declared", "p")
    assert [(x.name, x.datatype, list(x.shape)) for x in model.inputs] == [("x", "FP32", [-1, 2])]
    assert list(client.get_model_metadata("versioned").versions) == ["v1", "v2"]
    config = client.get_model_config("declared").config
    assert (config.name, config.max_batch_size, config.input[0].name) == ("declared", 0, "x")
    assert client.get_model_config("counting").config.model_transaction_policy.decoupled
    refused("NOT_FOUND", client.get_model_metadata, "nope")
    refused("NOT_FOUND", client.get_model_config, "nope")


def statistics(client):
    def count():
        (found,) = client.get_inference_statistics("versioned", "v1").model_stats
        return found.inference_count, found.inference_stats.success.count, found.execution_count

    before = count()
    client.infer("versioned", [small()], "v1")
    rows = small().shape()[0]
    assert count() == (before[0] + rows, before[1] + 1, before[2] + 1)
    assert len(client.get_inference_statistics().model_stats) >= 8
    refused("NOT_FOUND", client.get_inference_statistics, "nope")


def repository(client):
    index = client.get_model_repository_index(as_json=True)["models"]
    assert {"name": "versioned", "version": "v1", "state": "READY"} in index
    client.unload_model("versioned", unload_dependents=True)
    assert client.is_model_ready("versioned") is False
    refused("UNAVAILABLE", client.infer, "versioned", [small()])
    client.load_model("versioned")
    assert client.is_model_ready("versioned", "v2") is True
    refused("NOT_FOUND", client.load_model, "nope")
    refused("NOT_FOUND", client.unload_model, "nope")
    refused("INVALID_ARGUMENT", client.load_model, "echo", config='{"name": "echo"}')
    refused("INVALID_ARGUMENT", client.load_model, "echo", config="{}", files={"file:1/model.py": b"x"})


def datatypes(client):
    for datatype, values in VALUES.items():
        for sent in (values, values[:0], values.reshape(-1)):
            same(client.infer("echo", [tensor(sent, datatype)]).as_numpy("x"), sent)
    inputs = [tensor(values, datatype, datatype) for datatype, values in VALUES.items()]
    result = client.infer("echo", inputs)
    for datatype, values in VALUES.items():
        same(result.as_numpy(datatype), values)


def options(client):
    result = client.infer(
        "echo",
        [small()],
        outputs=[sync.InferRequestedOutput("x")],
        request_id="7",
        priority=1,
        timeout=10**9,
        client_timeout=20,
        headers={"x-a": "1"},
        compression_algorithm="gzip",
        parameters={"a": "b", "c": 1, "d": True, "e": 0.5},
    )
    response = result.get_response()
    assert (response.id, response.model_name) == ("7", "echo")
    same(result.as_numpy("x"), VALUES["FP32"])
    assert client.infer("versioned", [small()]).get_response().model_version == "v2"
    assert client.infer("echo", [small()]).get_response().id
    assert client.infer("echo", []).get_response().model_name == "echo"


def classification(client):
    rows = tensor(np.array([[0.5, 3.25, 1.0], [2.0, -1.0, 0.0]], np.float32), "FP32")
    result = client.infer("echo", [rows], outputs=[sync.InferRequestedOutput("x", class_count=2)])
    assert result.as_numpy("x").tolist() == [
        [b"3.250000:1", b"1.000000:2"],
        [b"2.000000:0", b"0.000000:2"],
    ]


def failures(client):
    refused("NOT_FOUND", client.infer, "nope", [small()])
    refused("NOT_FOUND", client.infer, "echo", [small()], "7")
    refused("INTERNAL", client.infer, "failing", [small()])
    refused("INVALID_ARGUMENT", client.infer, "declared", [tensor(VALUES["INT8"], "INT8")])
    refused("INVALID_ARGUMENT", client.infer, "echo", [small()], sequence_id=7, sequence_start=True)
    refused("UNIMPLEMENTED", client.infer, "counting", [small()])
    refused("UNIMPLEMENTED", client.get_system_shared_memory_status)
    refused("UNIMPLEMENTED", client.get_cuda_shared_memory_status)
    refused("UNIMPLEMENTED", client.register_system_shared_memory, "r", "/r", 4)
    refused("UNIMPLEMENTED", client.get_trace_settings)
    refused("UNIMPLEMENTED", client.get_log_settings)
    refused("DEADLINE_EXCEEDED", client.infer, "waiting", [small()], client_timeout=0.5)
    shared = sync.InferInput("x", [2, 2], "FP32")
    shared.set_shared_memory("r", 16)
    refused("INVALID_ARGUMENT", client.infer, "echo", [shared])


def large(client):
    values = np.random.default_rng(1).random((5, 2**20), np.float32)
    same(client.infer("echo", [tensor(values, "FP32")]).as_numpy("x"), values)


def callbacks(client):
    results = queue.Queue()
    for number in range(20):
        client.async_infer(
            "echo", [small()], lambda result, error: results.put((result, error)), request_id=str(number)
        )
    found = [results.get(timeout=20) for _ in range(20)]
    assert {result.get_response().id for result, error in found if error is None} == set(map(str, range(20)))

    before = client.infer("waited", []).as_numpy("count")[0]
    call = client.async_infer("waiting", [small()], lambda result, error: results.put((result, error)))
    call.cancel()
    _, error = results.get(timeout=20)
    assert error.status() == "StatusCode.CANCELLED"
    call = client.async_infer("waiting", [small()], lambda result, error: results.put((result, error)))
    until = time.monotonic() + 20
    while client.infer("waited", []).as_numpy("count")[0] == before:
        call.cancel()
        assert time.monotonic() < until


def stream(client):
    results = queue.Queue()
    client.start_stream(lambda result, error: results.put((result, error)))
    count = tensor(np.array([3]), "INT64")
    client.async_stream_infer("counting", [count], request_id="a", enable_empty_final_response=True)
    found = [results.get(timeout=20) for _ in range(4)]
    assert [error for _, error in found] == [None] * 4
    responses = [result.get_response() for result, _ in found]
    assert {response.id for response in responses} == {"a"}
    assert [result.as_numpy("n")[0] for result, _ in found[:3]] == [0, 1, 2]
    final = [response.parameters["triton_final_response"].bool_param for response in responses]
    assert final == [False, False, False, True]

    client.async_stream_infer("nope", [count], request_id="b")
    result, error = results.get(timeout=20)
    assert result is None
    assert error.message() == "Model nope not found"
    client.async_stream_infer("echo", [small()], request_id="c")
    result, error = results.get(timeout=20)
    assert error is None
    same(result.as_numpy("x"), VALUES["FP32"])
    client.stop_stream()


def together(client):
    """This client and mlsrv_protocol in one process: both have their own messages of the same names."""
    from tritonclient.grpc import service_pb2

    from mlsrv_protocol.grpc import decode_request, decode_response, encode_request
    from mlsrv_protocol.types import InferenceRequest, RequestInput

    array = VALUES["FP32"].reshape(-1)
    for typed in (False, True):
        request = InferenceRequest([RequestInput("x", [4], "FP32", array)], "7", model_name="echo")
        theirs = service_pb2.ModelInferRequest.FromString(encode_request(request, typed=typed))
        assert (theirs.id, theirs.inputs[0].name, len(theirs.raw_input_contents)) == (
            "7",
            "x",
            0 if typed else 1,
        )
        ours, was_typed = decode_request(theirs.SerializeToString())
        assert was_typed is typed
        assert ours.inputs[0].data.tobytes() == array.tobytes()
    response = client.infer("echo", [small()]).get_response()
    assert decode_response(response.SerializeToString()).outputs[0].shape == [2, 2]


async def asynchronous(address):
    async with aio.InferenceServerClient(address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("echo")
        assert (await client.get_server_metadata()).name == "mlsrv"
        assert (await client.get_model_metadata("declared")).platform == "p"
        assert (await client.get_model_config("declared")).config.name == "declared"
        assert (await client.get_inference_statistics("echo")).model_stats
        assert len((await client.get_model_repository_index()).models) >= 8
        for datatype, values in VALUES.items():
            result = await client.infer(
                "echo", [tensor(values, datatype, module=aio)], compression_algorithm="deflate"
            )
            same(result.as_numpy("x"), values)
        await asyncio.gather(*(client.infer("echo", [small(aio)]) for _ in range(100)))
        await refused_async("NOT_FOUND", client.infer("nope", [small(aio)]))
        await refused_async("UNIMPLEMENTED", client.get_system_shared_memory_status())
        await refused_async("NOT_FOUND", client.load_model("nope"))

        async def requests():
            for name, values in (
                ("counting", np.array([2])),
                ("nope", np.array([1])),
                ("echo", np.array([5])),
            ):
                yield {
                    "model_name": name,
                    "inputs": [tensor(values, "INT64", module=aio)],
                    "request_id": name,
                }

        found = [(result, error) async for result, error in client.stream_infer(requests())]
        assert sorted(result.get_response().id for result, error in found if error is None) == [
            "counting",
            "counting",
            "echo",
        ]
        assert [str(error) for _, error in found if error is not None] == ["Model nope not found"]


def main(name, address):
    if name == "asynchronous":
        asyncio.run(asynchronous(address))
        return
    with sync.InferenceServerClient(address) as client:
        globals()[name](client)


if __name__ == "__main__":
    main(*sys.argv[1:])
