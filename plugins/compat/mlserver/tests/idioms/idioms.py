"""Idioms: models in the ways in which public code writes them for MLServer, and requests to each.

Everything here is imported by MLServer itself, too; it uses MLServer's names alone.
"""

import json
import logging
import typing
from collections.abc import AsyncIterator
from typing import Any

import mlserver
import numpy as np
import pandas as pd
from mlserver import MLModel, ModelSettings, types
from mlserver.codecs import (
    Base64Codec,
    CodecError,
    InputCodec,
    NumpyCodec,
    NumpyRequestCodec,
    PandasCodec,
    StringCodec,
    StringRequestCodec,
    decode_args,
    register_input_codec,
)
from mlserver.codecs.utils import SingleInputRequestCodec, get_decoded_or_raw
from mlserver.errors import InferenceError, MLServerError
from mlserver.handlers import custom_handler
from mlserver.logging import logger
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


HANDLERS = [
    ("POST", "/my-endpoint", {"a": [1, 2]}),
    ("POST", "/my-messages", request(MATRIX)),
    ("GET", "/my-health", None),
    ("POST", "/my-refusal", {}),
]
"""Custom endpoints: verb, path and body."""
