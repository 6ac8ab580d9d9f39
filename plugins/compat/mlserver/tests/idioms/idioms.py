"""Idioms: models in the ways in which public code writes them for MLServer, and requests to each.

Everything here is imported by MLServer itself, too; it uses MLServer's names alone.
"""

import asyncio
import json
import logging
import os
import typing
from collections.abc import AsyncIterator
from typing import Any

import mlserver
import numpy as np
import pandas as pd
import pydantic
from mlserver import MLModel, ModelSettings, types
from mlserver.codecs import (
    Base64Codec,
    CodecError,
    InputCodec,
    NumpyCodec,
    NumpyRequestCodec,
    PandasCodec,
    RequestCodec,
    StringCodec,
    StringRequestCodec,
    decode_args,
    register_input_codec,
    register_request_codec,
)
from mlserver.codecs.errors import CodecNotFound, OutputNotFound
from mlserver.codecs.json import decode_from_bytelike_json_to_dict, encode_to_json, encode_to_json_bytes
from mlserver.codecs.lists import as_list, is_list_of
from mlserver.codecs.numpy import convert_nan, to_datatype, to_dtype
from mlserver.codecs.string import decode_str, encode_str
from mlserver.codecs.utils import (
    DefaultInputPrefix,
    DefaultOutputPrefix,
    SingleInputRequestCodec,
    decode_request_input,
    find_input_codec_by_payload,
    get_decoded_or_raw,
    inject_batch_dimension,
)
from mlserver.errors import InferenceError, MLServerError
from mlserver.handlers import custom_handler
from mlserver.logging import logger
from mlserver.rest.responses import Response as JSONAnswer
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
    TensorData,
)
from mlserver.utils import generate_uuid, get_model_uri
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

Texts_ = typing.List[str]  # noqa: UP006  # MLServer finds no codec for `list[str]`


def flat(*values: float, name: str = "x", datatype: str = "INT32", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": list(values)} | more


def texts(*values: str, name: str = "text", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(values)], "datatype": "BYTES", "data": list(values)} | more


MATRIX = {"name": "x", "shape": [2, 2], "datatype": "INT32", "data": [[1, 2], [3, 4]]}
FLOATS = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [0.1, 0.2, 0.3, 1e9]}


def request(*inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs)} | more


def answer(model: MLModel, *outputs: ResponseOutput, **more: Any) -> InferenceResponse:
    return InferenceResponse(
        model_name=model.name, model_version=model.version, outputs=list(outputs), **more
    )


def told(model: MLModel, value: Any) -> InferenceResponse:
    return answer(model, ResponseOutput(name="told", shape=[1], datatype="BYTES", data=[json.dumps(value)]))


REQUESTS: dict[str, list[dict[str, Any]]] = {}


def asked(*requests: dict[str, Any]) -> Any:
    def note(cls: type) -> type:
        REQUESTS[cls.__name__] = list(requests)
        return cls

    return note


@asked(request(MATRIX), request(FLOATS), request(flat(1, 2, 3)))
class Passed(MLModel):
    """Hands the data of an input on as it came."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        first = payload.inputs[0]
        return answer(
            self, ResponseOutput(name="same", shape=first.shape, datatype=first.datatype, data=first.data)
        )


@asked(request(MATRIX), request(FLOATS), request(flat(1.5, 2, datatype="FP64")))
class Root(MLModel):
    """Reads the lists inside the data."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = payload.inputs[0].data
        return told(self, {"root": data.root, "length": len(data), "first": data[0], "all": list(data)})


@asked(request(MATRIX), request(flat(1, 2)), request(FLOATS))
class Arrays(MLModel):
    """Makes arrays of data without a codec."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        array = np.array(payload.inputs[0].data)
        return told(self, {"shape": array.shape, "kind": array.dtype.kind, "sum": float(array.sum())})


@asked(request(flat(1, 2)), request(flat()))
class Truth(MLModel):
    """Asks whether there is data, and what it equals."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = payload.inputs[0].data
        return told(self, {"there": bool(data), "equal": data == [1, 2], "int": isinstance(data[0], int)})


@asked(request(MATRIX), request(FLOATS))
class NestedAnswer(MLModel):
    """Answers with nested lists."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = NumpyCodec.decode_input(payload.inputs[0]) * 1.5
        return answer(
            self, ResponseOutput(name="y", shape=values.shape, datatype="FP64", data=values.tolist())
        )


@asked(request(MATRIX), request(flat(1, 2, 3)), request(FLOATS))
class Codecs(MLModel):
    """Uses codecs by name, under new and deprecated names."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = NumpyCodec.decode_input(payload.inputs[0])
        return answer(
            self,
            NumpyCodec.encode_output("sum", values + 1),
            StringCodec.encode_output("dtype", [str(values.dtype), str(values.shape)]),
        )


@asked(request(MATRIX), request(flat(1, 2, 3)), request(MATRIX | {"parameters": {"content_type": "np"}}))
class Decoded(MLModel):
    """Decodes and encodes through the model, with a default."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        output = self.encode(values * 2, RequestOutput(name="twice"), default_codec=NumpyCodec)
        return answer(self, output)


@asked(
    request(MATRIX),
    request(MATRIX, parameters={"content_type": "np"}),
    request(flat(1, 2, name="a"), flat(3, 4, name="b"), parameters={"content_type": "pd"}),
)
class DecodedRequest(MLModel):
    """Decodes whole requests."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = self.decode_request(payload, default_codec=NumpyRequestCodec)
        total = float(found.to_numpy().sum() if isinstance(found, pd.DataFrame) else found.sum())
        return told(self, {"type": type(found).__name__, "total": total})


@asked(request(flat(1, 2, name="a"), flat(3.5, 4, name="b", datatype="FP64")))
class Frame(MLModel):
    """Answers with a data frame."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        frame = PandasCodec.decode_request(payload)
        frame["c"] = frame["a"] + frame["b"]
        return self.encode_response(frame, default_codec=PandasCodec)


@asked(request(texts("hello", "world")), request(texts("äöü", parameters={"content_type": "str"})))
class Texts(MLModel):
    """Reads and writes texts."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = self.decode(payload.inputs[0], default_codec=StringCodec)
        return answer(self, StringCodec.encode_output("upper", [text.upper() for text in found]))


@asked(request(texts("hello")))
class TextRequest(MLModel):
    """Reads texts with a request codec and writes a response with it."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = self.decode_request(payload, default_codec=StringRequestCodec)
        return StringRequestCodec.encode_response(self.name, [text[::-1] for text in found])


@asked(
    request({"name": "text", "shape": [5], "datatype": "BYTES", "data": "hello"}),
    request({"name": "text", "shape": [0], "datatype": "BYTES", "data": ""}),
    request(texts("a", "b")),
)
class Echo(MLModel):
    """Answers with the data of its input."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        first = payload.inputs[0]
        same = ResponseOutput(name="same", shape=first.shape, datatype=first.datatype, data=first.data)
        root = ResponseOutput(name="root", shape=first.shape, datatype=first.datatype, data=first.data.root)
        return answer(self, same, root)


@asked(request(MATRIX))
class Bare(MLModel):
    """Writes data that is no list."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = [("BYTES", "hello"), ("BYTES", ""), ("INT64", 5), ("FP64", 1.5), ("BOOL", True)]
        values += [("BYTES", {"label": "a"}), ("BYTES", b"abc")]
        outputs = [
            ResponseOutput(name=f"o{number}", shape=[1], datatype=datatype, data=data)
            for number, (datatype, data) in enumerate(values)
        ]
        return answer(self, *outputs)


@asked(request({"name": "text", "shape": [5], "datatype": "BYTES", "data": "hello"}))
class Scalar(MLModel):
    """Reads a text that is no list."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        first = payload.inputs[0]
        return told(self, {"shape": first.shape, "root": first.data.root})


@asked(request(texts("aGVsbG8=", parameters={"content_type": "base64"})))
class Encoded(MLModel):
    """Reads base64."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = self.decode(payload.inputs[0], default_codec=Base64Codec)
        return told(self, [item.decode() for item in found])


@asked(request(MATRIX), request(MATRIX, id="seven", parameters={"temperature": 0.5}))
class Dumped(MLModel):
    """Uses the methods of pydantic, of both its versions."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        dumped = payload.model_dump()
        dumped.pop("id", None)
        (dumped.get("parameters") or {}).pop("headers", None)
        again = InferenceRequest.model_validate_json(payload.model_dump_json())
        copied = payload.model_copy()
        return told(
            self,
            {
                "dumped": dumped,
                "fields": sorted(InferenceRequest.model_fields),
                "again": again.inputs == payload.inputs,
                "copy": copied.inputs[0].name,
                "validated": InferenceRequest.model_validate({"inputs": [MATRIX]}).inputs[0].datatype,
            },
        )


@asked(request(MATRIX), request(MATRIX, parameters={"temperature": 0.5, "top": 3, "tags": ["a"]}))
class Settled(MLModel):
    """Reads parameters of the request."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.parameters
        extra = dict(given.model_extra or {}) if given else {}
        temperature = getattr(given, "temperature", 1.0)
        return told(self, {"temperature": temperature, "extra": sorted(extra)})


@asked(request(MATRIX), request(MATRIX | {"parameters": {"threshold": 0.5}}))
class InputParameters(MLModel):
    """Reads parameters of an input and sends some with an output."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.inputs[0].parameters
        threshold = given.threshold if given is not None and hasattr(given, "threshold") else None
        output = ResponseOutput(
            name="t",
            shape=[1],
            datatype="FP64",
            data=[threshold or 0.0],
            parameters=Parameters(unit="percent", tags=["a", "b"]),
        )
        return answer(self, output, parameters=Parameters(took=1))


@asked(request(MATRIX))
class Headers(MLModel):
    """Reads a header and sends one."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        headers = payload.parameters.headers if payload.parameters and payload.parameters.headers else {}
        made = told(self, headers.get("x-custom"))
        made.parameters = Parameters(headers={"x-answer": "yes"})
        return made


@asked(request(MATRIX))
class OwnStatus(MLModel):
    """Refuses with a status of its own."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        raise MLServerError("I am a teapot", 418)


class TooLong(MLServerError):
    def __init__(self, msg: str) -> None:
        super().__init__(msg, 422)


@asked(request(MATRIX))
class OwnError(MLModel):
    """Refuses with an error class of its own."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        raise TooLong("Your text is too long")


@asked(request(MATRIX))
class Refuses(MLModel):
    """Refuses with the error for requests."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        raise InferenceError("no such thing")


@asked(request(MATRIX))
class Catches(MLModel):
    """Catches the error of a codec."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        try:
            PandasCodec.encode_response(self.name, payload="no frame")
        except Exception:
            return told(self, {"caught": True, "status": CodecError("x").status_code})
        return told(self, {"caught": False})


@asked(request(MATRIX))
class Broken(MLModel):
    """Fails."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return 1 / 0  # type: ignore[return-value]  # it fails before


@asked(request(MATRIX))
class Odd(MLModel):
    """Answers with shapes that do not fit the data."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return answer(
            self,
            ResponseOutput(name="short", shape=[1], datatype="FP64", data=[1.0, 2.0, 3.0]),
            ResponseOutput(name="lengths", shape=[2, 3], datatype="BYTES", data=["ab", "cde"]),
        )


@asked(request(MATRIX))
class Objects(MLModel):
    """Answers with JSON objects and gaps in BYTES."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return answer(
            self,
            ResponseOutput(name="labels", shape=[1], datatype="BYTES", data=[{"label": "A", "score": 0.5}]),
            ResponseOutput(name="gaps", shape=[2], datatype="BYTES", data=["a", None]),
        )


@asked(request(MATRIX))
class Rounded(MLModel):
    """Answers with floats as integers."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return answer(self, ResponseOutput(name="y", shape=[2], datatype="INT64", data=[1.0, 2.7]))


@asked(request(MATRIX))
class Constructed(MLModel):
    """Makes messages from dicts and keyword arguments."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(
            model_name=self.name,
            outputs=[{"name": "y", "shape": [2], "datatype": "FP32", "data": [0.1, 0.2]}],
        )


@asked(request(MATRIX))
class Tensors(MLModel):
    """Makes tensor data by hand."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = TensorData([1, 2])
        return answer(
            self,
            ResponseOutput(name="y", shape=[2], datatype=types.Datatype.INT64, data=data),
            ResponseOutput(name="z", shape=[1], datatype="INT64", data=TensorData(root=[len(data)])),
        )


@asked(request(MATRIX), request(MATRIX, outputs=[{"name": "b"}]))
class Loaded(MLModel):
    """Sets itself up in load, with helpers of its settings."""

    async def load(self) -> bool:
        self._uri = await get_model_uri(self._settings, wellknown_filenames=["weights.json"])
        with open(self._uri, encoding="utf-8") as file:
            self._weights = json.load(file)
        logger.info("weights are read")
        logging.getLogger("mlserver.parallel").debug("seen")
        self.ready = True
        return self.ready

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = NumpyCodec.decode_input(payload.inputs[0])
        return answer(
            self,
            NumpyCodec.encode_output("b", values * self._weights["w"]),
        )


@asked(request(MATRIX))
class OfSettings(MLModel):
    """Reads its settings."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        settings: ModelSettings = self.settings
        parameters = settings.parameters
        return told(
            self,
            {
                "name": settings.name,
                "version": parameters.version,
                "extra": parameters.extra,
                "class": settings.implementation.__name__,
                "path": settings.implementation_.rpartition(".")[2],
                "dumped": settings.model_dump()["name"],
                "ids": len(generate_uuid()),
                "batch": settings.max_batch_size,
            },
        )


@asked(request(flat(1, 2, name="other"), flat(3, name="more", datatype="FP64")))
class Declares(MLModel):
    """Declares inputs that requests need not have."""

    async def load(self) -> bool:
        self.inputs = [MetadataTensor(name="x", datatype="FP32", shape=[-1, 4])]
        self.outputs = [MetadataTensor(name="y", datatype="FP32", shape=[-1])]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return told(self, [tensor.name for tensor in payload.inputs])


@asked(request(MATRIX))
class Described(MLModel):
    """Has metadata of its own."""

    async def metadata(self) -> MetadataModelResponse:
        return MetadataModelResponse(
            name=self.name,
            platform="mine",
            versions=["1", "2"],
            inputs=[
                MetadataTensor(
                    name="x", datatype="INT32", shape=[-1], parameters=Parameters(content_type="np")
                )
            ],
            outputs=[],
        )

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return told(self, "described")


@asked(request(texts("a", "b", name="words"), flat(1, 2, name="counts")))
class Arguments(MLModel):
    """Takes decoded arguments."""

    @decode_args
    async def predict(self, words: Texts_, counts: np.ndarray) -> np.ndarray:
        return counts * len(words)


@asked(request(texts("a", "b", name="words")))
class ArgumentsToResponse(MLModel):
    """Takes decoded arguments, and answers with a response."""

    @decode_args
    async def predict(self, words: Texts_) -> Texts_:
        return [word * 2 for word in words]


@asked(request(texts("b;a"), parameters={}), request(texts("x;y", parameters={"content_type": "semicolons"})))
class OwnCodec(MLModel):
    """Brings a codec."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = self.decode(payload.inputs[0], default_codec=Semicolons)
        return answer(self, self.encode(found, RequestOutput(name="y"), default_codec=Semicolons))


@register_input_codec
class Semicolons(InputCodec):
    """Texts that are joined by semicolons."""

    ContentType = "semicolons"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, set)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        (text,) = request_input.data
        return sorted((text.decode() if isinstance(text, bytes) else text).split(";"))

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        return ResponseOutput(name=name, shape=[1], datatype="BYTES", data=[";".join(payload)])


class SemicolonRequest(SingleInputRequestCodec):
    ContentType = "semicolon-request"
    InputCodec = Semicolons


@asked(request(texts("b;a")))
class OwnRequestCodec(MLModel):
    """Brings a request codec on top of an input codec."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = self.decode_request(payload, default_codec=SemicolonRequest)
        return SemicolonRequest.encode_response(self.name, found, self.version)


@asked(request(MATRIX | {"parameters": {"content_type": "np"}}, flat(1, name="raw")))
class DecodedOrRaw(MLModel):
    """Reads what decoding has left in the inputs."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        self.decode_request(payload)
        kinds = [type(get_decoded_or_raw(tensor)).__name__ for tensor in payload.inputs]
        return told(self, kinds)


@asked(request(MATRIX | {"parameters": {"content_type": "nobody-knows"}}))
class UnknownContentType(MLModel):
    """Gets an unknown content type."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return told(self, type(self.decode(payload.inputs[0])).__name__)


@asked(request(MATRIX))
class Metrics(MLModel):
    """Records metrics."""

    async def load(self) -> bool:
        mlserver.register("my_metric", "This is a metric")
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        mlserver.log(my_metric=34)
        mlserver.log(another=1.5)
        return told(self, "logged")


@asked(request(texts("one two three")))
class Streams(MLModel):
    """Answers with a stream."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return told(self, "whole")

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        payload = await anext(payloads)
        for word in StringCodec.decode_input(payload.inputs[0])[0].split():
            yield answer(self, StringCodec.encode_output("word", [word], use_bytes=True))


@asked(request(MATRIX))
class Endpoint(MLModel):
    """Has an endpoint of its own."""

    @custom_handler(rest_path="/my-endpoint")
    async def mine(self, payload: dict) -> dict:
        return {"got": payload, "name": self.name}

    @custom_handler(rest_path="/my-messages")
    async def messages(self, payload: InferenceRequest) -> InferenceResponse:
        return await self.predict(payload)

    @custom_handler(rest_path="/my-health", rest_method="GET")
    async def health(self) -> str:
        return "fine"

    @custom_handler(rest_path="/my-refusal")
    async def refusal(self, payload: dict) -> dict:
        raise MLServerError("not this", 409)

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return told(self, "endpoint")


@asked(request(MATRIX), request(flat(1, 2)))
class Batched(MLModel):
    """Is asked in batches."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = NumpyCodec.decode_input(payload.inputs[0])
        return answer(self, NumpyCodec.encode_output("y", values + 0.5))


@asked(request(MATRIX))
class KeywordHelpers(MLModel):
    """Is made of a base class of its own, with `__init__`."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self.extra = dict(settings.parameters.extra or {})

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return told(self, {"extra": self.extra, "name": self.name, "version": self.version})


@asked(
    request(flat(1, 2, name="numbers"), parameters={"content_type": "nobody-knows"}),
    request(flat(1, 2, name="numbers", parameters={"content_type": "nobody-knows"})),
    request(flat(1, 2, name="numbers"), outputs=[{"name": "nobody-has"}]),
    request(flat(1, 2, name="numbers"), outputs=[{"name": "output-1"}]),
)
class TwoResults(MLModel):
    """Takes an argument, and answers with two values."""

    @decode_args
    async def predict(self, numbers: np.ndarray) -> (np.ndarray, Texts_):  # type: ignore[syntax]  # as MLServer reads it
        return numbers * 2, ["a", "b"]


@asked(request(flat(1, 2, name="left")), request(flat(1, 2, name="left"), flat(3, 4, name="right")))
class OptionalArguments(MLModel):
    """Takes arguments that requests may leave out."""

    @decode_args
    async def predict(
        self,
        left: typing.Optional[np.ndarray] = None,  # noqa: UP045  # as public code writes it
        right: typing.Optional[np.ndarray] = None,  # noqa: UP045
    ) -> np.ndarray:
        return left if right is None else left + right


@asked(request(flat(1, 2, name="a"), texts("x", "y", name="b")))
class FrameArguments(MLModel):
    """Takes a data frame, and answers with one."""

    @decode_args
    async def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(c=frame["a"] * 2)


class Options(pydantic.BaseModel):
    """What ``parameters.extra`` holds."""

    a: int
    text: str = "none"


@asked(request(MATRIX))
class ParsedSettings(MLModel):
    """Reads its extra parameters as a pydantic model, and its settings file by hand."""

    async def load(self) -> bool:
        folder = os.path.dirname(await get_model_uri(self.settings))
        self._file = ModelSettings.parse_file(os.path.join(folder, "model-settings.json"))
        self._options = Options(**self.settings.parameters.extra)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        again = ModelSettings.model_validate(
            {"name": "other", "implementation": self._file.implementation_, "parameters": {"uri": "./x"}}
        )
        return told(
            self,
            {
                "options": self._options.model_dump(),
                "file": [self._file.name, self._file.parameters.version, self._file.parameters.extra],
                "again": [again.name, again.parameters.uri, again.version, again.max_batch_time],
                "copy": self.settings.model_copy(update={"name": "copied"}).name,
            },
        )


@asked(request(MATRIX))
class Chained(MLModel):
    """Makes requests and responses of other models, as text and back."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        inner = InferenceRequest(
            inputs=[
                NumpyCodec.encode_input("x", np.array([[1.5, 2.5]])),
                StringCodec.encode_input("words", ["a", "b"], use_bytes=False),
                Base64Codec.encode_input("octets", [b"abc"], use_bytes=False),
            ],
            parameters=Parameters(content_type="np", more={"a": [1]}),
        )
        read = InferenceRequest.parse_raw(inner.json())
        frame = PandasCodec.encode_request(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), use_bytes=False)
        response = InferenceResponse.model_validate_json(
            '{"model_name": "m", "outputs": [{"name": "y", "shape": [1], "datatype": "FP64", "data": [1]}]}'
        )
        return told(
            self,
            {
                "json": json.loads(inner.model_dump_json(exclude_none=True)),
                "same": read == inner,
                "frame": json.loads(frame.model_dump_json(exclude_none=True)),
                "decoded": NumpyRequestCodec.decode_response(response).tolist(),
                "dict": response.dict(exclude_unset=True)["outputs"][0]["shape"],
            },
        )


@asked(request(MATRIX), request(flat(5, 6)))
class Changed(MLModel):
    """Changes the request before it reads it."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        kept = payload.model_copy(deep=True)
        payload.inputs[0].data = [7] * len(NumpyCodec.decode_input(payload.inputs[0]).ravel())
        payload.inputs.append(RequestInput(name="more", shape=[1], datatype="FP32", data=[0.5]))
        first, more = (NumpyCodec.decode_input(tensor) for tensor in payload.inputs)
        before = NumpyCodec.decode_input(kept.inputs[0])
        return told(self, [first.tolist(), more.tolist(), before.tolist(), len(kept.inputs)])


@asked(request(MATRIX), request(MATRIX, parameters={"content_type": "np", "k": 1}))
class Inspected(MLModel):
    """Looks at the parameters of messages."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.parameters
        return told(
            self,
            {
                "content": given.content_type if given else None,
                "headers": sorted(given.headers)[:0] if given and given.headers else None,
                "k": getattr(given, "k", "no"),
                "extra": given.model_dump(exclude={"headers"}, exclude_none=True) if given else None,
                "input": payload.inputs[0].parameters is None,
                "outputs": payload.outputs is None,
            },
        )


@asked(request(MATRIX))
class Platform(MLModel):
    """Adds to the metadata of the base class."""

    async def metadata(self) -> MetadataModelResponse:
        found = await super().metadata()
        found.platform = "made"
        found.inputs = [MetadataTensor(name="x", datatype="INT32", shape=[-1, 2])]
        return found

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return told(self, (await self.metadata()).platform)


@asked(request(MATRIX))
class Threads(MLModel):
    """Computes in threads and tasks."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = NumpyCodec.decode_input(payload.inputs[0])
        loop = asyncio.get_event_loop()
        total, largest = await asyncio.gather(
            loop.run_in_executor(None, values.sum), asyncio.to_thread(values.max)
        )
        return told(self, [int(total), int(largest)])


@asked(request(texts("one two")))
class StreamsEncoded(MLModel):
    """Answers with a stream, and with all of it at once."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        async def once() -> AsyncIterator[InferenceRequest]:
            yield payload

        words = [StringCodec.decode_output(part.outputs[0])[0] async for part in self.predict_stream(once())]
        return StringRequestCodec.encode_response(self.name, [" ".join(words)], self.version)

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            (text,) = self.decode(payload.inputs[0], default_codec=StringCodec)
            for word in text.split():
                yield self.encode_response([word], default_codec=StringRequestCodec)


class Pairs(dict):
    """A value for which a codec is registered."""


@register_request_codec
class PairsCodec(RequestCodec):
    """Inputs as a dict of lists."""

    ContentType = "pairs"
    TypeHint = Pairs

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, Pairs)

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Pairs:
        return Pairs({tensor.name: list(tensor.data) for tensor in request.inputs})

    @classmethod
    def encode_response(
        cls,
        model_name: str,
        payload: Pairs,
        model_version: str | None = None,
        **kwargs: Any,
    ) -> InferenceResponse:
        outputs = [
            ResponseOutput(name=name, shape=[len(values)], datatype="INT64", data=values)
            for name, values in payload.items()
        ]
        return InferenceResponse(model_name=model_name, model_version=model_version, outputs=outputs)


@asked(
    request(flat(1, 2, name="a"), flat(3, name="b"), parameters={"content_type": "pairs"}),
    request(flat(1, 2, name="a")),
)
class PairsOfRequests(MLModel):
    """Uses a request codec of its own by content type."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = self.decode_request(payload, default_codec=PairsCodec)
        return self.encode_response(Pairs({name: values * 2 for name, values in found.items()}))


@asked(request(flat(1, 2, name="a"), flat(3, name="b")))
class PairsArguments(MLModel):
    """Uses a request codec of its own by annotation."""

    @decode_args
    async def predict(self, pairs: Pairs) -> Pairs:
        return Pairs({name: [*values, 0] for name, values in pairs.items()})


@asked(request(MATRIX), request(FLOATS), request(texts("a", "bc")))
class Helpers(MLModel):
    """Uses the helpers of codecs."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        first = payload.inputs[0]
        shape = inject_batch_dimension([3])
        return told(
            self,
            {
                "dtype": str(to_dtype(first)),
                "datatypes": [
                    to_datatype(np.array(value).dtype).value for value in ([1], [0.5], ["a"], [True])
                ],
                "nan": [convert_nan(float("nan")), convert_nan(2.5), convert_nan(np.float32("nan"))],
                "texts": [decode_str(encode_str("é")), decode_str("a")],
                "json": decode_str(encode_to_json({"a": np.array([1, 2]), "b": np.float32(0.5)})),
                "bytes": decode_from_bytelike_json_to_dict(encode_to_json_bytes({"a": b"b", "c": [1]})),
                "shapes": [
                    shape,
                    inject_batch_dimension(shape),
                    list(as_list("a")),
                    is_list_of([b"a"], bytes),
                ],
                "names": [DefaultInputPrefix, DefaultOutputPrefix],
                "found": find_input_codec_by_payload(np.array([1])).ContentType,
                "decoded": type(decode_request_input(first, {})).__name__,
                "errors": [issubclass(error, MLServerError) for error in (CodecNotFound, OutputNotFound)],
            },
        )


class Question(pydantic.BaseModel):
    """The body of an endpoint."""

    text: str
    top: int = 3


class Reply(pydantic.BaseModel):
    """The answer of an endpoint."""

    texts: Texts_
    count: int


@asked(request(MATRIX))
class Endpoints(MLModel):
    """Has endpoints of many forms."""

    @custom_handler(rest_path="/my-question")
    async def question(self, payload: Question) -> Reply:
        return Reply(texts=[payload.text] * payload.top, count=payload.top)

    @custom_handler(rest_path="/my-list", rest_method="PUT")
    async def numbers(self, payload: typing.List[int]) -> int:  # noqa: UP006
        return sum(payload)

    @custom_handler(rest_path="/my-search", rest_method="GET")
    async def search(self, q: str, top: int = 3) -> dict:
        return {"q": q, "top": top}

    @custom_handler(rest_path="/my-raw")
    async def raw(self, request: Request) -> Response:
        body = await request.body()
        text = f"{request.method} {request.url.path} {request.headers.get('x-custom')} {len(body)}"
        return Response(text, status_code=202, media_type="text/csv", headers={"x-answer": "raw"})

    @custom_handler(rest_path="/my-page", rest_method="GET")
    async def page(self) -> HTMLResponse:
        return HTMLResponse("<p>hello</p>", headers={"x-answer": "page"})

    @custom_handler(rest_path="/my-response")
    async def response(self, payload: dict) -> JSONAnswer:
        return JSONAnswer({"got": payload, "octets": b"ab"}, status_code=201, headers={"x-answer": "json"})

    @custom_handler(rest_path="/my-nothing", rest_method="DELETE")
    async def nothing(self) -> None:
        return None

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return told(self, "endpoints")


HANDLERS = [
    ("POST", "/my-endpoint", {"a": [1, 2]}),
    ("POST", "/my-messages", request(MATRIX)),
    ("GET", "/my-health", None),
    ("POST", "/my-refusal", {}),
    ("POST", "/my-question", {"text": "a", "top": 2}),
    ("POST", "/my-question", {"text": "a"}),
    ("PUT", "/my-list", [1, 2, 3]),
    ("GET", "/my-search?q=a&top=5", None),
    ("GET", "/my-search?q=b", None),
    ("POST", "/my-raw", {"a": 1}),
    ("GET", "/my-page", None),
    ("POST", "/my-response", {"a": 1}),
    ("DELETE", "/my-nothing", None),
]
"""Custom endpoints: verb, path and body."""
