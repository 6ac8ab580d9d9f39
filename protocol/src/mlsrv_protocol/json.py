"""JSON wire form: decodes and encodes the bodies of inference requests and responses.

Source: Open Inference Protocol, "HTTP/REST"; decisions where servers differ are in this package's README.
"""

from typing import Any

from mlsrv_protocol.errors import InvalidOutput, InvalidPayload, MLSrvError
from mlsrv_protocol.inference import InferenceRequest, InferenceResponse
from mlsrv_protocol.json_pieces import LISTS, dump_in_pieces
from mlsrv_protocol.json_text import Body, dumps, loads, loads_message
from mlsrv_protocol.parsing import parse_object
from mlsrv_protocol.pieces import PIECE
from mlsrv_protocol.serializing import without_json_form

__all__ = [
    "decode_json_object",
    "decode_request",
    "decode_response",
    "dumps",
    "encode_error",
    "encode_request",
    "encode_response",
]


def decode_request(body: Body) -> InferenceRequest:
    """Decode a request from a JSON body.

    Numeric `data` is a flat C-contiguous array of its datatype's dtype (BF16: bit patterns), `data` of BYTES
    a flat list of str; either has as many elements as the shape means. A scalar has shape `[]`. Empty
    parameters are None.

    Raises:
        InvalidPayload: the body is not JSON, or breaks a rule of the protocol; the sentence says which, and
            where.
    """
    return InferenceRequest.parse_obj(loads_message(body, "inputs"))


def decode_response(body: Body) -> InferenceResponse:
    """Decode a response from a JSON body, for clients; data as in `decode_request`.

    Raises:
        InvalidPayload: the body is not a response of the protocol.
    """
    return InferenceResponse.parse_obj(loads_message(body, "outputs"))


def encode_request(request: InferenceRequest) -> bytes:
    """Encode a request as a JSON body, for clients; data is written flat.

    Raises:
        InvalidPayload: the request cannot be written; the sentence names the input.
    """
    return _encode(request, "inputs", InvalidPayload)


def encode_response(response: InferenceResponse) -> bytes:
    """Encode a response as a JSON body; data is written flat.

    NaN becomes null, the infinities "Infinity" and "-Infinity". Bytes that are not UTF-8 make all elements of
    their output base64, and its `parameters.content_type` "base64".

    Raises:
        InvalidOutput: the response cannot be written; the sentence names the output.
    """
    return _encode(response, "outputs", InvalidOutput)


def decode_json_object(body: Body) -> dict[str, Any]:
    """Decode a JSON body without tensors, such as that of a repository call.

    Raises:
        InvalidPayload: the body is not a JSON object.
    """
    return parse_object(loads(body), "The body")


def encode_error(message: str) -> bytes:
    """Encode an error's sentence as a JSON body, `{"error": …}`."""
    return dumps({"error": message.encode("utf-8", "replace").decode()})


def _encode(message: InferenceRequest | InferenceResponse, group: str, failure: type[MLSrvError]) -> bytes:
    plain = message.to_plain()
    try:
        for tensor in plain[group]:
            data = tensor["data"]
            if isinstance(data, LISTS) and len(data) > PIECE:
                return dump_in_pieces(plain, group)
        return dumps(plain)  # most messages are short
    except TypeError as error:
        problem = str(error)
    raise failure(without_json_form(plain, group, problem))
