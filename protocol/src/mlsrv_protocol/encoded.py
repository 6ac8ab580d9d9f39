"""Encoded messages: requests that travel as the JSON that they came in, to be decoded where the model is."""

from __future__ import annotations

import re

from attrs import define

from mlsrv_protocol.errors import MLSrvError
from mlsrv_protocol.inference import InferenceResponse
from mlsrv_protocol.json import decode_request
from mlsrv_protocol.workload import size_of

_ID = re.compile(rb'\s*\{\s*"id"\s*:\s*"([ !#-\[\]-~]{1,200})"\s*[,}]')


@define(eq=False)
class EncodedRequest:
    """A request as its JSON, which may turn out to be invalid. It has no parameters.

    Attributes:
        body: JSON of an `InferenceRequest`.
        id: that it has, or None.
        model_name, model_version: as those of `InferenceRequest`.
    """

    body: bytes
    id: str | None
    model_name: str
    model_version: str | None

    def tensor_bytes(self) -> int:
        """Decode the request; return the bytes of the data of its tensors, 0 if it is not valid."""
        try:
            return size_of(decode_request(self.body).inputs) or 0
        except MLSrvError:
            return 0


@define(eq=False)
class EncodedResponse:
    """The response to an `EncodedRequest`, with what is counted of both.

    Attributes:
        body: JSON of the response, without its ``parameters.headers``; empty where `response` is set.
        headers: these.
        rows: of the request.
        received, sent: bytes of the data of the tensors of request and response, if anything observes them.
        response: the response itself where it is large, to be encoded by the transport.
    """

    body: bytes
    headers: dict[str, str]
    rows: int
    received: int
    sent: int
    response: InferenceResponse | None = None


def encoded_request(
    body: bytes | bytearray, model_name: str, model_version: str | None
) -> EncodedRequest | None:
    """Return a request that may travel as its JSON, or None if it must be decoded first: it has parameters,
    which decide what happens to it, an id in another place than the first, or escape sequences, which may
    spell either.

    Args:
        body: JSON of an `InferenceRequest`, not checked.
        model_name, model_version: of the address.
    """
    if b'"parameters"' in body or b"\\" in body:
        return None
    count, found = body.count(b'"id"'), None
    if count:
        found = _ID.match(body)
        if found is None or count > 1:
            return None
    request_id = None if found is None else found[1].decode("ascii")
    return EncodedRequest(bytes(body), request_id, model_name, model_version)
