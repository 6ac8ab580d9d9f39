"""Event stream: an answer that is sent piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError
from mlsrv.telemetry.request_logging import reported
from mlsrv_openai.answers import DONE, Frame, event, usage
from mlsrv_openai.errors import error_body
from mlsrv_openai.tensors import Piece

_STATUS = {Code.INVALID_ARGUMENT: 400, Code.NOT_FOUND: 404, Code.OVERLOADED: 429}


class EventStream(StreamingResponse):
    """Sends the pieces of a text as server-sent events, and closes their source, however it ends."""

    def __init__(self, events: AsyncGenerator[bytes, None], pieces: AsyncIterator[Piece]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._events = events
        self._pieces = pieces

    @classmethod
    async def begun(
        cls,
        call: Any,
        context: CallContext,
        pieces: AsyncIterator[Piece],
        frame: Frame,
        echo: str,
        with_usage: bool,
    ) -> EventStream:
        """Return the response, once the first piece is there: an error before it is answered like any other.

        Args:
            call: of REST, which waits for the model as long as the client does.
            context: of the request.
            pieces: of the text.
            frame: of the answer.
            echo: text to send first.
            with_usage: whether a last event has the counts of tokens.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(aclosing(pieces))  # type: ignore[type-var]  # an async generator
            first = await call.wait_for(context, anext(pieces, None))
            made = cls(_events(first, pieces, context, frame, echo, with_usage), pieces)
            stack.pop_all()
        return made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces), aclosing(self._events):  # type: ignore[type-var]  # as above
            await super().__call__(scope, receive, send)


async def _events(
    first: Piece | None,
    pieces: AsyncIterator[Piece],
    context: CallContext,
    frame: Frame,
    echo: str,
    with_usage: bool,
) -> AsyncGenerator[bytes, None]:
    if frame.chat:
        yield event(frame.body([frame.part(0, None)], is_chunk=True))
    if echo:
        yield event(frame.body([frame.part(0, Piece(echo, "", None, None, []))], is_chunk=True))
    last = first
    try:
        if first is not None:
            yield event(frame.body([frame.part(0, first)], is_chunk=True))
            async for piece in pieces:
                last = piece
                yield event(frame.body([frame.part(0, piece)], is_chunk=True))
        if last is None or not last.reason:
            end = Piece("", "stop", None, None, [])
            yield event(frame.body([frame.part(0, end)], is_chunk=True))
        if with_usage:
            counts = usage(last.prompt_tokens if last else 0, (last.completion_tokens if last else 0) or 0)
            yield event({**frame.body([], is_chunk=True), "usage": counts})
        yield DONE
    except Exception as error:  # the response has begun: the error is its last event
        told = reported(error, context)
        status = _STATUS.get(error.code, 500) if isinstance(error, MLSrvError) else 500
        yield event(error_body(status, str(told)))
