"""Binary tensors over HTTP: a JSON text followed by the raw data of tensors, which it describes.

Source: Triton's "Binary Tensor Data Extension". The length of the JSON text travels in the header
`Inference-Header-Content-Length`, and nothing but that header tells such a body from a JSON one.
"""

from collections.abc import Container
from typing import Any

from attrs import define

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidOutput, InvalidPayload
from mlsrv_protocol.inference import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from mlsrv_protocol.json_pieces import dump_in_pieces
from mlsrv_protocol.json_text import loads_message
from mlsrv_protocol.message import TensorData
from mlsrv_protocol.metadata import MetadataTensor
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.quoting import clip
from mlsrv_protocol.raw import Raw, from_raw, to_raw
from mlsrv_protocol.serializing import without_json_form
from mlsrv_protocol.validation import check_name, check_shape, check_texts, quote_shape

HEADER = "inference-header-content-length"
"""The name of the header, in lower case."""


class _All:
    """A container of every name."""

    def __contains__(self, name: object) -> bool:
        return True


ALL: Container[str] = _All()
"""Every output."""

NONE: Container[str] = ()
"""No output."""


@define
class _BinarySection:
    """The bytes behind the JSON text, read tensor by tensor in the order of the text."""

    body: bytes | memoryview
    at: int
    is_request: bool = False
    texts: int = 0

    def take(self, size: object, datatype: Datatype, shape: list[int], expected: int) -> TensorData:
        if type(size) is not int or size < 0:
            raise InvalidPayload(
                f"parameters.binary_data_size is {clip(size)}; it must be a number of bytes."
            )
        start, stop = self.at, self.at + size
        if stop > len(self.body):
            missing = stop - len(self.body)
            raise InvalidPayload(f"its binary data ends early; {missing} more bytes were expected.")
        self.at = stop
        if self.is_request and datatype is Datatype.BYTES:
            self.texts += expected
            check_texts(self.texts)
        return from_raw(self.body, start, stop, datatype, shape, expected)

    def check_empty(self) -> None:
        left = len(self.body) - self.at
        if left:
            raise InvalidPayload(f"The body has {left} bytes more than its binary tensors take.")


def read_header(value: str, size: int) -> int:
    """Parse the header `Inference-Header-Content-Length` of a body of `size` bytes.

    Raises:
        InvalidPayload: it is not a number from 0 to `size`.
    """
    if value.isascii() and value.isdecimal() and len(value) < 20 and int(value) <= size:
        return int(value)
    raise InvalidPayload(
        f"The header Inference-Header-Content-Length is {clip(value)}; it must be a number of bytes of the "
        f"body, which has {size}."
    )


def decode_request(body: bytes | bytearray | memoryview, json_length: int) -> InferenceRequest:
    """Decode a request from a body whose first `json_length` bytes are JSON.

    Numeric data of binary inputs are read-only views of `body`; BYTES are lists of bytes. JSON inputs are as
    in `mlsrv_protocol.json.decode_request`.

    Raises:
        InvalidPayload: the JSON breaks a rule of the protocol, or the binary data is too short or too long.
    """
    view = memoryview(body).toreadonly()
    section = _BinarySection(view, json_length, is_request=True)
    request = InferenceRequest.parse_obj(loads_message(view[:json_length], "inputs"), section)
    section.check_empty()
    return request


def decode_response(body: bytes | bytearray | memoryview, json_length: int) -> InferenceResponse:
    """Decode a response from a body whose first `json_length` bytes are JSON, for clients; data as in
    `decode_request`.

    Raises:
        InvalidPayload: the body is not a response of the protocol.
    """
    view = memoryview(body).toreadonly()
    section = _BinarySection(view, json_length)
    response = InferenceResponse.parse_obj(loads_message(view[:json_length], "outputs"), section)
    section.check_empty()
    return response


def raw_request(body: bytes | bytearray | memoryview, inputs: list[MetadataTensor]) -> InferenceRequest:
    """Decode a request from a body without JSON: the data of the model's single input.

    A variable dimension follows from the size of the body; of two, the first counts rows and is 1. A BYTES
    input has one element, the body. All outputs are asked for in binary form.

    Args:
        body: the raw data, without length prefix for BYTES.
        inputs: what the model declares.

    Raises:
        InvalidPayload: the model does not declare exactly one input of at most one variable dimension beside
            the first, or the size does not fit.
    """
    if len(inputs) != 1:
        raise InvalidPayload(
            f"A raw body needs a model that declares exactly one input; this one declares {len(inputs)}."
        )
    declared = inputs[0]
    view = memoryview(body).toreadonly()
    if declared.datatype is Datatype.BYTES:
        tensor = RequestInput.construct(declared.name, [1], Datatype.BYTES, [bytes(view)])
    else:
        shape = _raw_shape(declared, len(view))
        data = from_raw(view, 0, len(view), declared.datatype, shape, check_shape(shape))
        tensor = RequestInput.construct(declared.name, shape, declared.datatype, data)
    return InferenceRequest.construct([tensor], parameters=Parameters(binary_data_output=True))


def _raw_shape(declared: MetadataTensor, size: int) -> list[int]:
    shape = list(declared.shape)
    if shape.count(-1) == 2 and shape[0] == -1:
        shape[0] = 1
    if shape.count(-1) > 1:
        raise InvalidPayload(
            f"A raw body needs an input with one variable dimension; {clip(declared.name)} has shape "
            f"{quote_shape(declared.shape)}."
        )
    if -1 in shape:
        row = declared.datatype.itemsize or 1
        for length in shape:
            row *= length if length != -1 else 1
        if not row or size % row:
            raise InvalidPayload(
                f"The raw body has {size} bytes, which is not a multiple of the {row} that "
                f"{declared.datatype} of shape {quote_shape(declared.shape)} takes."
            )
        shape[shape.index(-1)] = size // row
    return shape


def pop_binary_outputs(request: InferenceRequest) -> Container[str]:
    """Return the names of the outputs that the client asked for in binary form, and remove the parameters
    that say so from the request: they concern the wire form, not the model.

    A listed output counts by its own `binary_data`; `binary_data_output` counts when none is listed. If all
    listed ones are binary, so are those by which a model answers for them under other names.
    """
    parameters = request.parameters
    every = bool(parameters is not None and parameters.extra.pop("binary_data_output", False))
    if request.outputs is None:
        return ALL if every else NONE
    requested: set[str] = set()
    for output in request.outputs:
        if output.parameters is not None and output.parameters.extra.pop("binary_data", False):
            requested.add(output.name)
    every = bool(requested) and requested.issuperset(output.name for output in request.outputs)
    return ALL if every else requested


def encode_response(response: InferenceResponse, requested: Container[str]) -> tuple[int, list[Raw]]:
    """Encode a response; return the length of its JSON text, and the body in pieces.

    Args:
        response: data may be any that the JSON form takes.
        requested: the outputs to write in binary form, see `pop_binary_outputs`.

    Raises:
        InvalidOutput: the response cannot be written; the sentence names the output.
    """
    pieces: list[Raw] = []
    plain = InferenceResponse.construct(
        response.model_name, [], response.model_version, response.id, response.parameters
    ).to_plain()
    outputs: list[dict[str, Any]] = []
    for index, output in enumerate(response.outputs):
        try:
            outputs.append(_add_binary(output, pieces) if output.name in requested else output.to_plain())
        except InvalidPayload as error:
            raise InvalidOutput(f"outputs[{index}] {clip(output.name)}: {error}") from None
    plain["outputs"] = outputs
    return _body_pieces(plain, pieces, InvalidOutput)


def encode_request(request: InferenceRequest) -> tuple[int, list[Raw]]:
    """Encode a request, for clients; return the length of its JSON text, and the body in pieces. All inputs
    are binary, and all outputs are asked for in binary form.

    Raises:
        InvalidPayload: the request cannot be written; the sentence names the input.
    """
    pieces: list[Raw] = []
    plain = InferenceRequest.construct([], request.id, request.parameters, request.outputs).to_plain()
    inputs: list[dict[str, Any]] = []
    for index, tensor in enumerate(request.inputs):
        try:
            inputs.append(_add_binary(tensor, pieces))
        except InvalidPayload as error:
            raise InvalidPayload(f"inputs[{index}] {clip(tensor.name)}: {error}") from None
    plain["inputs"] = inputs
    if request.outputs is None:
        parameters = {} if request.parameters is None else request.parameters.dict()
        plain["parameters"] = {**parameters, "binary_data_output": True}
    else:
        plain["outputs"] = [
            {
                "name": output.name,
                "parameters": {
                    **({} if output.parameters is None else output.parameters.dict()),
                    "binary_data": True,
                },
            }
            for output in request.outputs
        ]
    return _body_pieces(plain, pieces, InvalidPayload)


def _add_binary(tensor: RequestInput | ResponseOutput, pieces: list[Raw]) -> dict[str, Any]:
    """Return the JSON part of a binary tensor, and append its data to `pieces`."""
    name = check_name(tensor.name)
    shape = [int(length) for length in tensor.shape]
    raw = to_raw(tensor.data, tensor.datatype, shape, check_shape(shape))
    size = raw.nbytes if isinstance(raw, memoryview) else len(raw)
    pieces.append(raw)
    parameters = {} if tensor.parameters is None else tensor.parameters.dict()
    return {
        "name": name,
        "shape": shape,
        "datatype": tensor.datatype.value,
        "parameters": {**parameters, "binary_data_size": size},
    }


def _body_pieces(
    plain: dict[str, Any], pieces: list[Raw], failure: type[InvalidPayload] | type[InvalidOutput]
) -> tuple[int, list[Raw]]:
    group = "inputs" if failure is InvalidPayload else "outputs"
    try:
        text = dump_in_pieces(plain, group)
    except TypeError as error:
        problem = str(error)
    else:
        return len(text), [text, *pieces]
    raise failure(without_json_form(plain, group, problem))
