"""What a client can get wrong over REST: each request is answered 4xx in the protocol's error form, soon, on
a connection that then serves a good request."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define

import mlsrv_rest.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import EchoModel

DEEP = 250_000
BODY_LIMIT = 4 * 2**20
GOOD = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'
ECHO = "/v2/models/echo/infer"
DECLARED = "/v2/models/declared/infer"

MODELS = [
    ModelSettings(name="echo", implementation=EchoModel),
    ModelSettings(
        name="declared",
        implementation=EchoModel,
        inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        outputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    ),
]


@define
class Case:
    """One request, and the status that answers it."""

    name: str
    body: bytes = b""
    status: int = 400
    path: str = ECHO
    method: str = "POST"
    headers: tuple[str, ...] = ()
    chunked: bool = False

    @property
    def message(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: test", *self.headers]
        if self.chunked:
            encoded = b"%x\r\n%s\r\n0\r\n\r\n" % (len(self.body), self.body)
            lines.append("Transfer-Encoding: chunked")
        else:
            encoded = self.body
            lines.append(f"Content-Length: {len(encoded)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + encoded


def request(**fields: Any) -> bytes:
    """A request with one input, which is right except for these fields; None takes a field away."""
    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]} | fields
    return json.dumps(
        {"inputs": [{key: value for key, value in tensor.items() if value is not None}]}
    ).encode()


def values(datatype: str, *texts: str) -> bytes:
    """A request whose data is written as it stands."""
    tensor = f'"name":"x","shape":[{len(texts)}],"datatype":"{datatype}","data":[{",".join(texts)}]'
    return f'{{"inputs":[{{{tensor}}}]}}'.encode()


def whole(**fields: Any) -> bytes:
    """A good request with other fields beside its inputs."""
    return json.dumps(json.loads(GOOD) | fields).encode()


VALUES = {
    "BOOL": ["2", "-1", "1.5", '"true"', "null", "[]", "{}", "NaN"],
    "UINT8": ["256", "-1", "1.5", '"1"', "true", "null", "1e400", "NaN", "Infinity", "{}"],
    "INT8": ["128", "-129", "0.1", "false"],
    "UINT16": ["65536", "-1"],
    "INT16": ["32768", "-32769"],
    "UINT32": ["4294967296", "-1", "1e10"],
    "INT32": ["2147483648", "-2147483649", "null"],
    "UINT64": ["18446744073709551616", "-1", "1e20", "1" + "0" * 5000],
    "INT64": ["9223372036854775808", "-9223372036854775809", "9223372036854775807.5", '"NaN"'],
    "FP16": ["65520", "-1e6", '"1"', "true"],
    "BF16": ["1e39", '"one"', "false"],
    "FP32": ["1e39", "-1e39", '"1.5"', '""', "true", "{}", '"nan"', '"inf"', "1e400"],
    "FP64": ["1e400", "-1e400", '"1"', "false", "[null]]"],
    "BYTES": ["1", "null", "true", "1.5", "{}"],
}

TENSORS: dict[str, bytes] = {
    "no name": request(name=None),
    "an empty name": request(name=""),
    "a number as name": request(name=1),
    "no datatype": request(datatype=None),
    "an unknown datatype": request(datatype="FP8"),
    "a datatype in lower case": request(datatype="fp32"),
    "a number as datatype": request(datatype=32),
    "a very long datatype": request(datatype="F" * 100_000),
    "no data": request(data=None),
    "null as data": b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":null}]}',
    "a number as data": request(data=1),
    "a text as data": request(data="1,2"),
    "an object as data": request(data={"0": 1, "1": 2}),
    "ragged data": request(data=[[1, 2], [3]], shape=[3]),
    "data ragged in depth": request(data=[1, [2]], shape=[2]),
    "too few data": request(data=[1]),
    "too many data": request(data=[1, 2, 3]),
    "no data at all": request(data=[]),
    "data for a shape of zero": request(data=[1], shape=[0]),
    "two data for a scalar": request(data=[1, 2], shape=[]),
    "no shape": request(shape=None),
    "null as shape": b'{"inputs":[{"name":"x","shape":null,"datatype":"FP32","data":[1]}]}',
    "a number as shape": request(shape=2),
    "a text as shape": request(shape="2"),
    "an object as shape": request(shape={"0": 2}),
    "a negative dimension": request(shape=[-2]),
    "a dimension left open": request(shape=[-1]),
    "a dimension of 2.5": request(shape=[2.5]),
    "a dimension in quotes": request(shape=["2"]),
    "a boolean dimension": request(shape=[True, 2]),
    "a null dimension": request(shape=[None]),
    "a nested shape": request(shape=[[2]]),
    "a dimension of 2**63": request(shape=[2**63]),
    "a dimension of 2**64": request(shape=[2**64]),
    "a dimension of 10**400": request(shape=[10**400]),
    "dimensions that overflow": request(shape=[2**32, 2**32, 2]),
    "a huge shape with little data": request(shape=[10**15]),
    "huge dimensions beside a zero": request(shape=[2**62, 2**62, 0]),
    "a hundred thousand dimensions": request(shape=[1] * 100_000 + [3]),
    "parameters that are a list": request(parameters=[1]),
    "parameters that are a text": request(parameters="x"),
    "a content type that is a number": request(parameters={"content_type": 1}),
    "an unknown size of binary data": request(data=None, parameters={"binary_data_size": 8}),
    "shared memory": request(data=None, parameters={"shared_memory_region": "r"}),
    "an input that is a number": b'{"inputs":[1]}',
    "an input that is null": b'{"inputs":[null]}',
    "an input that is a list": b'{"inputs":[["x",[1],"FP32",[1]]]}',
    "two inputs of one name": json.dumps({"inputs": json.loads(GOOD)["inputs"] * 2}).encode(),
}

REQUESTS: dict[str, bytes] = {
    "no inputs": b"{}",
    "null as inputs": b'{"inputs":null}',
    "an object as inputs": b'{"inputs":{}}',
    "a text as inputs": b'{"inputs":"x"}',
    "a number as id": whole(id=1),
    "a list as id": whole(id=["1"]),
    "parameters that are a list": whole(parameters=[]),
    "parameters that are a number": whole(parameters=1),
    "headers that are no texts": whole(parameters={"headers": 1}),
    "a sequence": whole(parameters={"sequence_id": 7}),
    "a named sequence": whole(parameters={"sequence_id": "s", "sequence_start": True}),
    "outputs that are an object": whole(outputs={}),
    "outputs that are names": whole(outputs=["x"]),
    "an output without a name": whole(outputs=[{}]),
    "two outputs of one name": whole(outputs=[{"name": "x"}, {"name": "x"}]),
}

TEXTS: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \r\n\t",
    "null": b"null",
    "a number": b"1",
    "a text": b'"inputs"',
    "a list": b"[]",
    "a cut-off request": GOOD[:-3],
    "one byte": b"{",
    "something behind the end": GOOD + b"}",
    "two requests": GOOD + GOOD,
    "single quotes": GOOD.replace(b'"', b"'"),
    "a comma too many": GOOD.replace(b"2.5]", b"2.5,]"),
    "a comment": b"/* hello */" + GOOD,
    "keys without quotes": b"{inputs:[]}",
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "Latin-1": GOOD.replace(b'"x"', b'"\xe9"'),
    "overlong UTF-8": GOOD.replace(b'"x"', b'"\xc0\xaf"'),
    "a raw surrogate": GOOD.replace(b'"x"', b'"\xed\xa0\x80"'),
    "half a surrogate pair": GOOD.replace(b'"x"', b'"\\ud800"'),
    "the other half": GOOD.replace(b'"x"', b'"a\\udfff"'),
    "a line break in a text": GOOD.replace(b'"x"', b'"a\nb"'),
    "a zero byte": GOOD.replace(b'"x"', b'"a\x00b"'),
    "a bad escape": GOOD.replace(b'"x"', b'"\\x41"'),
    "a number with a zero in front": values("INT32", "01"),
    "a hexadecimal number": values("INT32", "0x10"),
    "a number with a plus": values("INT32", "+1"),
    "a bare point": values("FP32", ".5"),
    "no number at all": values("FP32", "nan"),
    "random bytes": bytes(range(256)) * 40,
    "zeros": bytes(100_000),
    "deep data": values("FP32", "[" * DEEP + "1" + "]" * DEEP),
    "deep data without an end": b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + b"[" * DEEP,
    "deep parameters": GOOD[:-1] + b',"parameters":{"a":' + b"[" * DEEP + b"]" * DEEP + b"}}",
    "deep objects": GOOD[:-1] + b',"parameters":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "deep unknown keys": GOOD[:-1] + b',"other":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep from the start": b"[" * DEEP,
    "a deep shape": b'{"inputs":[{"name":"x","shape":' + b"[" * DEEP + b"]" * DEEP + b',"data":[]}]}',
    "a wrong value at the end of many": values("FP32", *["1.5"] * 200_000, '"x"'),
}

GZIP = ("Content-Encoding: gzip",)
LENGTH = "Inference-Header-Content-Length: "

CASES = [
    *(
        Case(f"{datatype} {text[:24]}", values(datatype, text))
        for datatype, texts in VALUES.items()
        for text in texts
    ),
    *(Case(name, body) for name, body in (TENSORS | REQUESTS | TEXTS).items()),
    *(Case(f"chunked: {name}", TEXTS[name], chunked=True) for name in ("a cut-off request", "random bytes")),
    # what the model declares
    Case("an unknown input", request(name="y"), path=DECLARED),
    Case("another datatype", request(datatype="FP64", shape=[1, 2]), path=DECLARED),
    Case("another rank", request(shape=[1, 1, 2]), path=DECLARED),
    Case("another dimension", request(shape=[2, 1]), path=DECLARED),
    Case("an unknown output", whole(outputs=[{"name": "y"}]), path=DECLARED),
    # encodings and framing
    Case("no gzip", GOOD, headers=GZIP),
    Case("an empty gzip", b"", headers=GZIP),
    Case("cut-off gzip", gzip.compress(GOOD)[:-9], headers=GZIP),
    Case("gzip with a tail", gzip.compress(GOOD) + b"tail", headers=GZIP),
    Case("gzip with a wrong checksum", gzip.compress(GOOD)[:-8] + bytes(8), headers=GZIP),
    Case("a gzip bomb", gzip.compress(bytes(50 * 2**20)), 413, headers=GZIP),
    Case("a bomb of white space", zlib.compress(b" " * 2**25), 413, headers=("Content-Encoding: deflate",)),
    Case("no deflate", b"\x78\x9cxyz", headers=("Content-Encoding: deflate",)),
    Case("an unknown encoding", GOOD, 415, headers=("Content-Encoding: br",)),
    Case("two encodings", gzip.compress(gzip.compress(GOOD)), 415, headers=("Content-Encoding: gzip, gzip",)),
    Case("a body over the limit", bytes(BODY_LIMIT + 1), 413),
    Case("a chunked body over the limit", bytes(BODY_LIMIT + 1), 413, chunked=True),
    Case("a header length that is a word", GOOD, headers=(LENGTH + "all",)),
    Case("a negative header length", GOOD, headers=(LENGTH + "-1",)),
    Case("a header length of 1.5", GOOD, headers=(LENGTH + "1.5",)),
    Case("a header length beyond the body", GOOD, headers=(LENGTH + "99999",)),
    Case("a header length of 10**30", GOOD, headers=(LENGTH + "1" + "0" * 30,)),
    Case("a header length inside the JSON", GOOD, headers=(f"{LENGTH}{len(GOOD) - 5}",)),
    Case("bytes that no tensor claims", GOOD + b"1234", headers=(f"{LENGTH}{len(GOOD)}",)),
    # paths and methods
    Case("no such path", GOOD, 404, path="/v3/models/echo/infer"),
    Case("no such endpoint", GOOD, 404, path="/v2/models/echo/guess"),
    Case("the root", GOOD, 404, path="/"),
    Case("no such model", GOOD, 404, path="/v2/models/nope/infer"),
    Case("no such version", GOOD, 404, path="/v2/models/echo/versions/9/infer"),
    Case("an empty name", GOOD, 404, path="/v2/models//infer"),
    Case("an empty version", GOOD, 404, path="/v2/models/echo/versions//infer"),
    Case("a name that climbs", GOOD, 404, path="/v2/models/..%2F..%2Fecho/infer"),
    Case("dots", GOOD, 404, path="/v2/models/../models/echo/infer"),
    Case("an encoded slash", GOOD, 405, path="/v2/models/echo%2Finfer"),
    Case("a zero byte in the path", GOOD, 404, path="/v2/models/echo%00/infer"),
    Case("a line break in the path", GOOD, 404, path="/v2/health/live%0D%0Ax:%20y"),
    Case("a path that is not UTF-8", GOOD, 400, path="/v2/models/%FF%FE/infer"),
    Case("a long path", GOOD, 404, path="/v2/models/" + "m" * 8000 + "/infer"),
    Case("many segments", GOOD, 404, path="/v2" + "/a" * 3000),
    Case("a wrong method for inference", GOOD, 405, method="PUT"),
    Case("another wrong method", b"", 405, method="GET"),
    Case("posting to health", GOOD, 405, path="/v2/health/ready"),
    Case("deleting a model", b"", 405, path="/v2/models/echo", method="DELETE"),
]


@pytest.fixture(scope="module", params=["combined", "hypercorn", "uvicorn"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A server in a thread: its address."""
    settings = {
        "host": "127.0.0.1",
        "http_port": 0,
        "http_server": request.param,
        "http_max_body_size": BODY_LIMIT,
        "http_max_decompressed_size": BODY_LIMIT,
    }
    address: list[tuple[str, int]] = []
    listening = threading.Event()
    ends: list[Any] = []

    async def serve() -> None:
        stop = asyncio.Event()
        ends.extend([asyncio.get_running_loop(), stop])
        kernel = Kernel(settings, plugins=[mlsrv_rest.plugin], models=MODELS, discover=False)
        async with kernel:
            await kernel.loaded()

            def started() -> None:
                host, _, port = kernel.transports["rest"].endpoints[0].removeprefix("http://").partition(":")
                address.append((host, int(port)))
                listening.set()

            await kernel.serve(stop.wait, started)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert listening.wait(20)
    yield address[0]
    loop, stop = ends
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)
    assert not thread.is_alive()


class Connection:
    """One connection to the server."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=20)
        self.file = self.socket.makefile("rb")

    def ask(self, message: bytes) -> tuple[int, dict[str, str], bytes]:
        self.socket.sendall(message)
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip().decode("latin-1"):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self.file.read(int(headers.get("content-length", "0")))

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture(scope="module")
def connection(server: tuple[str, int]) -> Iterator[Connection]:
    """The one connection over which every request of the module goes."""
    made = Connection(server)
    yield made
    made.close()


def test_there_are_many_cases_and_no_two_are_alike() -> None:
    assert len(CASES) >= 80
    assert len({case.message for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.timeout(30)
def test_a_malformed_request(connection: Connection, case: Case) -> None:
    status, headers, body = connection.ask(case.message)
    assert status == case.status, body[:500]
    assert headers["content-type"] == "application/json"
    answer = json.loads(body)
    assert list(answer) == ["error"]
    assert 5 < len(answer["error"]) < 1000
    assert "Traceback" not in answer["error"]
    assert "\n" not in answer["error"]
    if case.status == 405:
        assert headers["allow"]
    status, _, body = connection.ask(Case("good", GOOD).message)
    assert status == 200, body
    assert json.loads(body)["outputs"] == [
        {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.5]}
    ]
