"""Inference messages over gRPC. Source: Open Inference Protocol, "gRPC"; Triton's extensions for streams."""

from mlsrv_protocol.errors import InvalidOutput, InvalidPayload
from mlsrv_protocol.grpc.parameters import (
    Value,
    decode_entry,
    encode_entry,
    encode_parameters,
    to_parameters,
)
from mlsrv_protocol.grpc.small_requests import decode_small
from mlsrv_protocol.grpc.tensors import Span, decode_tensors, encode_tensors, size_of
from mlsrv_protocol.grpc.wire_format import Malformed, fields, len_field, len_header, text, utf8
from mlsrv_protocol.inference import (
    InferenceRequest,
    InferenceResponse,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_protocol.quoting import clip
from mlsrv_protocol.raw import Raw
from mlsrv_protocol.validation import check_name, check_request_parameters, check_unique, refuse_shared_memory

_MODEL_NAME, _MODEL_VERSION, _ID, _PARAMETER, _TENSOR = 0x0A, 0x12, 0x1A, 0x22, 0x2A
_REQUESTED_OUTPUT, _RAW_INPUT, _RAW_OUTPUT = 0x32, 0x3A, 0x32
_SMALL = 4096
_ERROR_MESSAGE, _INFER_RESPONSE = 0x0A, 0x12


def decode_request(body: bytes) -> tuple[InferenceRequest, bool]:
    """Decode a ModelInferRequest; return the request, and whether an input has typed contents.

    Large data of raw contents is a read-only view of `body`, which need not be aligned; BYTES are lists of
    `bytes`. Empty strings for `id` and `model_version` are None.

    Raises:
        InvalidPayload: the bytes are not that message, or break a rule of the protocol; the sentence says
            which, and where.
    """
    if len(body) < _SMALL:
        found = decode_small(body)
        if found is not None:
            return found
    request = InferenceRequest.construct([])
    tensors: list[Span] = []
    raw: list[Span] = []
    requested: list[Span] = []
    values: dict[str, Value] = {}
    try:
        for tag, a, b in fields(body, 0, len(body)):
            if tag == _TENSOR:
                tensors.append((a, b))
            elif tag == _RAW_INPUT:
                raw.append((a, b))
            elif tag == _MODEL_NAME:
                request.model_name = text(body, a, b)
            elif tag == _ID:
                request.id = text(body, a, b) or None
            elif tag == _MODEL_VERSION:
                request.model_version = text(body, a, b) or None
            elif tag == _PARAMETER:
                key, values[key] = decode_entry(body, a, b)
            elif tag == _REQUESTED_OUTPUT:
                requested.append((a, b))
        parts, typed = decode_tensors(body, tensors, raw, "inputs")
    except Malformed as error:
        raise InvalidPayload(f"The message is not a ModelInferRequest: {error}") from None
    request.inputs = [RequestInput.construct(*part) for part in parts]
    if len(parts) > 1:
        check_unique((part[0] for part in parts), "inputs")
    if values:
        request.parameters = to_parameters(values)
        if request.parameters is not None:
            check_request_parameters(request.parameters)
    if requested:
        request.outputs = [_decode_requested_output(body, at, span) for at, span in enumerate(requested)]
        check_unique((output.name for output in request.outputs), "outputs")
    return request, typed


def request_id_of(body: bytes) -> str:
    """Return the `id` of a ModelInferRequest that could not be decoded, or an empty string."""
    try:
        for tag, a, b in fields(body, 0, len(body)):
            if tag == _ID:
                return text(body, a, b)
    except Malformed:
        return ""
    return ""


def decode_response(body: bytes) -> InferenceResponse:
    """Decode a ModelInferResponse, for clients; data as in `decode_request`.

    Raises:
        InvalidPayload: the bytes are not that message, or break a rule of the protocol.
    """
    response = InferenceResponse.construct("", [])
    tensors: list[Span] = []
    raw: list[Span] = []
    values: dict[str, Value] = {}
    try:
        for tag, a, b in fields(body, 0, len(body)):
            if tag == _TENSOR:
                tensors.append((a, b))
            elif tag == _RAW_OUTPUT:
                raw.append((a, b))
            elif tag == _MODEL_NAME:
                response.model_name = text(body, a, b)
            elif tag == _MODEL_VERSION:
                response.model_version = text(body, a, b) or None
            elif tag == _ID:
                response.id = text(body, a, b) or None
            elif tag == _PARAMETER:
                key, values[key] = decode_entry(body, a, b)
        parts, _ = decode_tensors(body, tensors, raw, "outputs")
    except Malformed as error:
        raise InvalidPayload(f"The message is not a ModelInferResponse: {error}") from None
    response.outputs = [ResponseOutput.construct(*part) for part in parts]
    if len(parts) > 1:
        check_unique((part[0] for part in parts), "outputs")
    response.parameters = to_parameters(values)
    return response


def encode_request(request: InferenceRequest, *, typed: bool = False) -> bytes:
    """Encode a request as a ModelInferRequest, for clients.

    Args:
        request: with `model_name`.
        typed: write typed contents. Raw contents are smaller and faster, and the only form of FP16 and BF16.

    Raises:
        InvalidPayload: the request cannot be written; the sentence names the input.
    """
    requested: list[Raw] = []
    for output in request.outputs or ():
        found = len_field(_MODEL_NAME, utf8(check_name(output.name)))
        if output.parameters is not None:
            found += encode_parameters(output.parameters, _MODEL_VERSION)
        requested.append(len_field(_REQUESTED_OUTPUT, found))
    tensors = encode_tensors(request.inputs, (_TENSOR, _RAW_INPUT), typed, "inputs", InvalidPayload)
    return b"".join([_common_fields(request), *requested, *tensors])


def encode_response(
    response: InferenceResponse, *, typed: bool = False, stream: bool = False, final: bool | None = None
) -> bytes:
    """Encode a response as a ModelInferResponse, copying its tensors once.

    `parameters.headers` and parameters of a type that gRPC has no field for are left out.

    Args:
        response: what to encode.
        typed: write typed contents, as the request had them. When an output is FP16 or BF16, all are raw.
        stream: wrap it in a ModelStreamInferResponse.
        final: the parameter `triton_final_response`, which tells clients of streams whether further
            responses to the same request follow; left out when None.

    Raises:
        InvalidOutput: the response cannot be written; the sentence names the output.
    """
    try:
        common = _common_fields(response)
    except InvalidPayload as error:
        raise InvalidOutput(f"The response has no gRPC form: {error}") from None
    if final is not None:
        common += encode_entry(_PARAMETER, "triton_final_response", final)
    pieces = [
        common,
        *encode_tensors(response.outputs, (_TENSOR, _RAW_OUTPUT), typed, "outputs", InvalidOutput),
    ]
    if stream:
        pieces.insert(0, len_header(_INFER_RESPONSE, size_of(pieces)))
    return b"".join(pieces)


def encode_stream_error(message: str, request_id: str | None) -> bytes:
    """Encode the failure of one request of a stream as a ModelStreamInferResponse."""
    response = len_field(_ID, request_id.encode("utf-8", "replace")) if request_id else b""
    return len_field(_ERROR_MESSAGE, message.encode("utf-8", "replace")) + len_field(
        _INFER_RESPONSE, response
    )


def decode_stream_response(body: bytes) -> InferenceResponse | str:
    """Decode a ModelStreamInferResponse, for clients; return the response, or the sentence of a failure.

    Raises:
        InvalidPayload: the bytes are not that message.
    """
    error = ""
    response: Span | None = None
    try:
        for tag, a, b in fields(body, 0, len(body)):
            if tag == _ERROR_MESSAGE:
                error = text(body, a, b)
            elif tag == _INFER_RESPONSE:
                response = (a, b)
    except Malformed as problem:
        raise InvalidPayload(f"The message is not a ModelStreamInferResponse: {problem}") from None
    if error:
        return error
    start, stop = response or (0, 0)
    return decode_response(body[start:stop])


def _common_fields(message: InferenceRequest | InferenceResponse) -> bytes:
    found = len_field(_MODEL_NAME, utf8(message.model_name)) if message.model_name else b""
    if message.model_version:
        found += len_field(_MODEL_VERSION, utf8(message.model_version))
    if message.id:
        found += len_field(_ID, utf8(message.id))
    if message.parameters is not None:
        found += encode_parameters(message.parameters, _PARAMETER)
    return found


def _decode_requested_output(body: bytes, at: int, span: Span) -> RequestOutput:
    name = ""
    values: dict[str, Value] = {}
    try:
        for tag, a, b in fields(body, *span):
            if tag == _MODEL_NAME:
                name = text(body, a, b)
            elif tag == _MODEL_VERSION:
                key, values[key] = decode_entry(body, a, b)
        parameters = to_parameters(values)
        refuse_shared_memory(parameters)
        return RequestOutput.construct(check_name(name), parameters)
    except InvalidPayload as error:
        raise InvalidPayload(f"outputs[{at}] {clip(name)}: {error}") from None
