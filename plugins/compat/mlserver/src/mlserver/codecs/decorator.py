"""Decorator: decodes the inputs of a method, and encodes what it returns, by its annotations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from mlserver.types import InferenceRequest, InferenceResponse

__all__ = ["decode_args"]

_F = TypeVar("_F", bound=Callable[..., Any])


def decode_args(predict: _F) -> _F:
    """Let a method ``predict`` or ``predict_stream`` take decoded inputs by name.

    The annotations are those of `mlsrv_arguments.decode_args`; a method may return an `InferenceResponse`.
    The response has every output, whichever the request asks for, and an unknown content type counts as none.

    Raises:
        TypeError: the method cannot be called with inputs by name.
    """
    from mlsrv_arguments import decode_args as decorated
    from mlsrv_mlserver.content import tolerated_request
    from mlsrv_mlserver.messages import our_response, their_response

    def asked(self: Any, payload: InferenceRequest) -> Any:
        made = tolerated_request(self, payload)
        made.outputs = None
        return made

    @functools.wraps(predict)
    async def answer(self: Any, **arguments: Any) -> Any:
        found = predict(self, **arguments)
        value = await found if inspect.isawaitable(found) else found
        return our_response(value) if isinstance(value, InferenceResponse) else value

    wrapper: Any
    if inspect.isasyncgenfunction(predict):

        @functools.wraps(predict)
        async def answers(self: Any, **arguments: Any) -> AsyncIterator[Any]:
            async for value in predict(self, **arguments):
                yield our_response(value) if isinstance(value, InferenceResponse) else value

        stream: Any = decorated(answers)

        @functools.wraps(predict)
        async def wrapper(self: Any, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[Any]:
            requests = (asked(self, payload) async for payload in payloads)
            async for response in stream(self, requests):
                yield their_response(response)

    else:
        called: Any = decorated(answer)

        @functools.wraps(predict)
        async def wrapper(self: Any, payload: InferenceRequest) -> InferenceResponse:
            return their_response(await called(self, asked(self, payload)))

    made: _F = wrapper
    return made
