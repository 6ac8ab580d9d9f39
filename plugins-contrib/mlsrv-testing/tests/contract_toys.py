"""Toys that keep the contracts, and their suites; the tests of mutants break them in one place each."""

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlsrv import MLModel, ModelSettings
from mlsrv.codecs import InputCodec, RequestCodec
from mlsrv.context import CallContext
from mlsrv.errors import CodecError, ConfigurationError, InferenceError, ModelLoadError
from mlsrv.interceptor import Interceptor
from mlsrv.metrics import Meter, Metric, Reading, Recorder
from mlsrv.plugins.offers import CodecOffer
from mlsrv.repository import BrokenModel, ModelRepository
from mlsrv.settings import ModelParameters
from mlsrv.testing import text_request
from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
)
from mlsrv.utils import model_uri
from mlsrv_testing.contracts import (
    CodecContract,
    ExecutorContract,
    InterceptorContract,
    MeterContract,
    RepositoryContract,
    RequestCodecContract,
    RuntimeContract,
)


class InlineSuite(ExecutorContract):
    executor = "inline"

    def plugins(self) -> Sequence[object]:
        return ()


# --- codecs ------------------------------------------------------------------------------------------


class Json(InputCodec):
    """Lists of anything that JSON can say."""

    ContentType = "toy-json"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        try:
            return isinstance(payload, list) and json.loads(json.dumps(payload)) == payload
        except TypeError:
            return False

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        return ResponseOutput(**cls._fields(name, payload))

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        return RequestInput(**cls._fields(name, payload))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        try:
            return [json.loads(text) for text in request_input.data]
        except ValueError as error:
            raise CodecError(f'input "{request_input.name}": {error}') from None

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        return [json.loads(text) for text in response_output.data]

    @classmethod
    def _fields(cls, name: str, payload: list[Any]) -> dict[str, Any]:
        return {
            "name": name,
            "shape": [len(payload)],
            "datatype": "BYTES",
            "data": [json.dumps(item) for item in payload],
            "parameters": Parameters(content_type=cls.ContentType),
        }


class JsonSuite(CodecContract):
    codec = Json
    samples = ([1, 2.5, None], [], [{"a": ["é"]}, "x"])
    garbage = (RequestInput(name="x", shape=[1], datatype="BYTES", data=["{"]),)


class Table(RequestCodec):
    """Columns of texts by name."""

    ContentType = "toy-table"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, dict) and all(Json.can_encode(column) for column in payload.values())

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        inputs = [Json.encode_input(name, column) for name, column in payload.items()]
        return InferenceRequest(inputs=inputs, parameters=Parameters(content_type=cls.ContentType))

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        outputs = [Json.encode_output(name, column) for name, column in payload.items()]
        return InferenceResponse(model_name=model_name, model_version=model_version, outputs=outputs)

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        return {one.name: one.data if cls._decoded(one) else Json.decode_input(one) for one in request.inputs}

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        return {one.name: Json.decode_output(one) for one in response.outputs}

    @classmethod
    def _decoded(cls, request_input: RequestInput) -> bool:
        return type(request_input) is not RequestInput


class TableSuite(RequestCodecContract):
    codec = Table
    offers = (CodecOffer("toy-json", Json),)
    samples = ({"a": [1, 2], "b": ["x", None]}, {"only": []})
    garbage = (InferenceRequest(inputs=[RequestInput(name="x", shape=[1], datatype="BYTES", data=["{"])]),)


# --- runtimes ----------------------------------------------------------------------------------------


class Adder(MLModel):
    """Adds a number from its artifact to each number of the request."""

    async def load(self) -> bool:
        try:
            self.addend = int(Path(model_uri(self.settings, ["addend.txt"])).read_text())
        except ValueError as error:
            raise ModelLoadError(f"Model {self.name}: {error}") from error
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (tensor,) = payload.inputs
        if tensor.datatype != "INT64":
            raise InferenceError(f"Model {self.name} adds INT64, not {tensor.datatype}.")
        data = [int(value) + self.addend for value in tensor.data]
        return InferenceResponse(
            outputs=[ResponseOutput(name="sum", shape=tensor.shape, datatype="INT64", data=data)]
        )


class AdderSuite(RuntimeContract):
    discover = False
    model: type[MLModel] = Adder

    def settings(self, tmp_path: Path) -> ModelSettings:
        (tmp_path / "addend.txt").write_text("5")
        return ModelSettings(
            implementation=self.model,
            parameters={"uri": str(tmp_path)},
            outputs=[{"name": "sum", "datatype": "INT64", "shape": [-1]}],
        )

    def requests(self) -> Sequence[InferenceRequest]:
        tensor = RequestInput(name="x", shape=[2], datatype="INT64", data=[1, 2])
        return [InferenceRequest(inputs=[tensor]), InferenceRequest(inputs=[tensor], id="mine")]

    def bad_requests(self) -> Sequence[InferenceRequest]:
        return [text_request("", ["not a number"])]


# --- interceptors ------------------------------------------------------------------------------------


class Passing(Interceptor):
    async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
        return await call_next(request, context)


class PassingSuite(InterceptorContract):
    def make(self) -> Interceptor:
        return Passing()


class PassingStreams(Passing):
    async def stream(self, requests: Any, context: Any, call_next: Any) -> Any:
        responses = call_next(requests, context)
        try:
            async for response in responses:
                yield response
        finally:
            await responses.aclose()


class PassingStreamsSuite(InterceptorContract):
    def make(self) -> Interceptor:
        return PassingStreams()


class Demanding(Passing):
    """Lets nobody in without a header."""

    async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
        if "tenant" not in context.headers:
            raise InferenceError("Say who you are, in the header tenant.")
        return await call_next(request, context)


class DemandingSuite(InterceptorContract):
    def make(self) -> Interceptor:
        return Demanding()

    def context(self) -> CallContext:
        return CallContext(headers={"tenant": "a"})

    def refused_context(self) -> CallContext:
        return CallContext()


# --- repositories ------------------------------------------------------------------------------------


class Lines(ModelRepository):
    """One file with a line for each model: its name and version."""

    async def list(self) -> Any:
        path = Path(self.root) / "models.txt"
        if not path.parent.is_dir():
            raise ConfigurationError(f"{self.root} is not a folder.")
        text = path.read_text() if path.exists() else ""
        return [self.parse(line, path) for line in sorted(text.splitlines())]

    def parse(self, line: str, path: Path) -> Any:
        name, version, *rest = line.split(",")
        if rest:
            return BrokenModel(name, str(path), f"the line of {name} has too many commas")
        return ModelSettings(name=name, parameters=ModelParameters(version=version or None))


class LinesSuite(RepositoryContract):
    repository: type[ModelRepository] = Lines

    def make(self, root: Path) -> ModelRepository:
        return self.repository(str(root))

    def add(self, root: Path, name: str, version: str | None = None) -> None:
        with (root / "models.txt").open("a") as file:
            file.write(f"{name},{version or ''}\n")

    def spoil(self, root: Path, name: str) -> None:
        with (root / "models.txt").open("a") as file:
            file.write(f"{name},,,\n")


# --- meters ------------------------------------------------------------------------------------------


class Tally(Meter):
    """Keeps of each series the number of values, and what they come to."""

    def __init__(self, kernel: Any) -> None:
        super().__init__(kernel)
        self.found: dict[tuple[str, ...], tuple[int, float]] = {}
        self.readings: list[tuple[Metric, Reading]] = []
        self.lock = threading.Lock()

    def bind(self, metric: Metric, labels: Sequence[str]) -> Recorder:
        key = (metric.name, *labels)

        def record(value: float) -> None:
            with self.lock:
                count, known = self.found.get(key, (0, 0.0))
                self.found[key] = count + 1, value if metric.kind == "gauge" else known + value

        return record

    def observe_gauge(self, metric: Metric, reading: Reading) -> Callable[[], None]:
        watched = (metric, reading)
        self.readings.append(watched)
        return lambda: self.readings.remove(watched)

    def read(self, metric: Metric, labels: Sequence[str]) -> tuple[int, float] | None:
        for watched, reading in self.readings:
            for found, value in reading() if watched == metric else ():
                if tuple(found) == tuple(labels):
                    return 1, value
        return self.found.get((metric.name, *labels))


class TallySuite(MeterContract):
    meter = Tally

    def value(self, meter: Tally, metric: Metric, labels: Sequence[str]) -> float | None:
        found = meter.read(metric, labels)
        return None if found is None else found[1]

    def count(self, meter: Tally, metric: Metric, labels: Sequence[str]) -> int:
        found = meter.read(metric, labels)
        return 0 if found is None else found[0]
