"""Call context: turns metadata and deadline of a gRPC call into the contexts of its requests."""

from __future__ import annotations

import time
from typing import Final

from mlsrv.context import CallContext, new_request_id
from mlsrv.errors import InvalidPayload
from mlsrv_grpc.guarded import current_admitted
from mlsrv_grpc.metadata import MAX_ID_LENGTH, REQUEST_ID, request_headers
from mlsrv_grpc.observer import current_call
from mlsrv_grpc.status import Rpc
from mlsrv_protocol import InferenceRequest, Parameters

_TRACE: Final = ("traceparent", "tracestate")
_EMPTY_FINAL: Final = "triton_enable_empty_final_response"


class ContextFactory:
    """Makes the context of each request of one call. They share headers, deadline and trace."""

    def __init__(self, rpc: Rpc) -> None:
        admitted = current_admitted.get()
        # Those that the guard has seen: it has taken the credentials out.
        self.headers = request_headers(rpc.invocation_metadata()) if admitted is None else admitted.headers
        self._principal = None if admitted is None else admitted.principal
        self._id = self.headers.get(REQUEST_ID)
        self._deadline = _deadline(rpc.time_remaining())

    def context(self, request: InferenceRequest) -> CallContext:
        """Return the context of a request. Sets the id and the headers of the request.

        Raises:
            InvalidPayload: the request names no model.
        """
        if not request.model_name:
            raise InvalidPayload("model_name is empty; name the model that is asked.")
        headers = dict(self.headers)
        if request.id is None:
            # The header names one id: in a stream, that of the first request.
            given, self._id = self._id, None
            request.id = given if given and len(given) <= MAX_ID_LENGTH else new_request_id()
        if request.parameters is None:
            request.parameters = Parameters.construct(None, headers, {})
        else:
            request.parameters.headers = headers
        context = CallContext(request.id, deadline=self._deadline, headers=headers, transport="grpc")
        if "traceparent" in headers:
            context.trace = {key: headers[key] for key in _TRACE if key in headers}
        if self._principal is not None:
            context.principal = self._principal
        call = current_call.get()
        if call is not None and call.context is None:
            call.context = context
        return context


def pop_empty_final(request: InferenceRequest) -> bool:
    """Return whether the client wants the end of a stream of responses to be marked. Removes the parameter
    that says so, which is not meant for the model."""
    return request.parameters is not None and request.parameters.extra.pop(_EMPTY_FINAL, False) is True


def _deadline(remaining: float | None) -> float | None:
    return None if remaining is None else time.monotonic() + remaining
