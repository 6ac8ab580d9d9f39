"""The JSON wire form against what one would write by hand: `orjson.loads`, `numpy.array`, `orjson.dumps`.

Run it as a plain script. Both sides read and write the same bytes, turn by turn in one process; figures are
medians. What counts are the ratios: times depend on the machine. At the end the same numbers go through
`mlsrv start`, with one worker and without: the processor time of the server and its worker for a request,
beside the least that reading and writing takes (simdjson into a buffer, orjson from the array), in turns.
"""

import contextlib
import http.client
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import orjson
import simdjson
from bench_default import Served, mlsrv

from mlsrv_protocol import Datatype, InferenceResponse, ResponseOutput
from mlsrv_protocol.json import decode_request, encode_response

REPEATS = 9
ELEMENTS = 1_048_576
SMALL_CALLS = 5_000
SERVED_AIM = 2.5


def main() -> int:
    random = np.random.default_rng(0)
    floats = random.random(ELEMENTS, dtype=np.float32)
    print(f"{ELEMENTS:,} elements, milliseconds, medians of {REPEATS}")
    print(
        f"{'':28}{'ours in':>10}{'out':>8}{'sum':>8}{'by hand in':>14}{'out':>8}{'sum':>8}{'hand/ours':>14}"
    )
    large("FP32", floats)
    large("FP32, nested 1024 x 1024", floats.reshape(1024, 1024))
    large("FP32, nested 262144 x 4", floats.reshape(-1, 4))
    large("FP64", random.random(ELEMENTS))
    large("INT64", random.integers(-(2**40), 2**40, ELEMENTS))
    large("UINT8", random.integers(0, 255, ELEMENTS, dtype=np.uint8))
    large("FP32, one NaN", np.where(np.arange(ELEMENTS) == 7, np.float32("nan"), floats))
    print()
    print(f"one row of 4 FP32, microseconds a call, medians of {REPEATS} x {SMALL_CALLS} calls")
    small()
    print()
    served(floats)
    return 0


def large(title: str, array: np.ndarray) -> None:
    datatype = Datatype.from_numpy(array.dtype)
    tensor = {"name": "x", "shape": list(array.shape), "datatype": datatype, "data": array}
    body = orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)
    response = InferenceResponse("m", [ResponseOutput("y", list(array.shape), datatype, array)])

    def read_by_hand() -> np.ndarray:
        return np.array(orjson.loads(body)["inputs"][0]["data"], dtype=datatype.dtype)

    def write_by_hand() -> bytes:
        output = {
            "name": "y",
            "shape": list(array.shape),
            "datatype": datatype,
            "data": array.ravel().tolist(),
        }
        return orjson.dumps({"model_name": "m", "outputs": [output]})

    read = np.asarray(decode_request(body).inputs[0].data)
    assert np.array_equal(read, read_by_hand().ravel(), equal_nan=datatype.is_float)
    ours_in, ours_out, hand_in, hand_out = turns(
        [lambda: decode_request(body), lambda: encode_response(response), read_by_hand, write_by_hand]
    )
    ours, hand = ours_in + ours_out, hand_in + hand_out
    print(
        f"{title:28}{ours_in:10.1f}{ours_out:8.1f}{ours:8.1f}{hand_in:14.1f}{hand_out:8.1f}{hand:8.1f}"
        f"{hand / ours:14.2f}"
    )


def small() -> None:
    body = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
    array = np.array([[5.1, 3.5, 1.4, 0.2]], dtype=np.float32)
    response = InferenceResponse("m", [ResponseOutput("y", [1, 4], "FP32", array)], "1", "42")

    def read_by_hand() -> np.ndarray:
        return np.array(orjson.loads(body)["inputs"][0]["data"], dtype=np.float32)

    def write_by_hand() -> bytes:
        output = {"name": "y", "shape": [1, 4], "datatype": "FP32", "data": array.ravel().tolist()}
        return orjson.dumps({"model_name": "m", "model_version": "1", "id": "42", "outputs": [output]})

    def many(call: Callable[[], object]) -> Callable[[], None]:
        def calls() -> None:
            for _ in range(SMALL_CALLS):
                call()

        return calls

    figures = turns(
        [
            many(lambda: decode_request(body)),
            many(lambda: encode_response(response)),
            many(read_by_hand),
            many(write_by_hand),
        ]
    )
    names = ["decode_request", "encode_response", "read by hand, nothing checked", "write by hand"]
    for name, milliseconds in zip(names, figures, strict=True):
        print(f"{name:32}{milliseconds * 1000 / SMALL_CALLS:8.2f}")
    print(f"{'decode_request + encode_response':32}{(figures[0] + figures[1]) * 1000 / SMALL_CALLS:8.2f}")


def served(array: np.ndarray) -> None:
    """The processor time of one large request through REST."""
    tensor = {"name": "x", "shape": list(array.shape), "datatype": "FP32", "data": array}
    body = orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)
    parser = simdjson.Parser()
    figures: dict[str, list[float]] = {"floor": [], "one worker": [], "in-process": []}

    def floor() -> None:
        data = parser.parse(body).at_pointer("/inputs/0/data")
        read = np.frombuffer(memoryview(data.as_buffer(of_type="d"))).astype(np.float32)
        orjson.dumps({"outputs": [{**tensor, "data": read}]}, option=orjson.OPT_SERIALIZE_NUMPY)

    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(mlsrv("noop", sys.executable, workers))
            for name, workers in (("one worker", 1), ("in-process", 0))
        }
        asking = {name: asker(server, body) for name, server in servers.items()}
        for _ in range(REPEATS + 1):
            before = time.process_time()
            floor()
            figures["floor"].append(time.process_time() - before)
            for name, server in servers.items():
                took = sum(server.seconds())
                asking[name]()
                figures[name].append(sum(server.seconds()) - took)
    print(f"{len(array):,} FP32 through REST, milliseconds of CPU a request, means of {REPEATS}")
    least = statistics.mean(figures["floor"][1:])
    for name, seconds in figures.items():
        mean = statistics.mean(seconds[1:])  # times of processes are counted in steps of 10 ms
        aim = "" if name == "floor" else f"   aim {SERVED_AIM}"
        print(f"{name:28}{mean * 1000:10.1f}{mean / least:8.2f}{aim}")


def asker(server: Served, body: bytes) -> Callable[[], None]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def ask() -> None:
        connection.request("POST", server.path, body)
        answer = connection.getresponse()
        found = answer.read()
        assert answer.status == 200, found[:500]

    return ask


def turns(calls: list[Callable[[], object]]) -> list[float]:
    """The median milliseconds of each call, called in turns so that a busy moment hits all of them."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(REPEATS + 1):
        for call, found in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            found.append((time.perf_counter() - started) * 1000)
    return [statistics.median(found[1:]) for found in times]


if __name__ == "__main__":
    sys.exit(main())
