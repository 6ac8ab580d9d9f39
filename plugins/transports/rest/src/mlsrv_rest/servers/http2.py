"""HTTP/2 under Hypercorn: Hypercorn's protocol with an orderly end and bounds on what clients may do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.stream import StreamState
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol as HypercornH2Protocol
from hyperframe.frame import GoAwayFrame

from mlsrv_rest.servers.stream_buffer import StreamBuffer

FREE_RESETS = 100
"""Streams of a connection that a client may reset; beyond, no more than half of all."""


class H2Protocol(HypercornH2Protocol):
    """The streams of one connection.

    Attributes:
        is_last: returns whether the connection ends as soon as no stream is open.
    """

    is_last: Callable[[], bool] = staticmethod(lambda: False)
    _resets = 0
    _requests = 0
    _last_stream: int | None = None

    @property
    def idle(self) -> bool:
        return not self.streams and not any(buffer.buffer for buffer in self.stream_buffers.values())

    async def handle(self, event: Event) -> None:
        """Handle an event of the connection. Once it is closed, nothing waits to be sent any more."""
        await super().handle(event)
        if isinstance(event, Closed):
            for buffer in self.stream_buffers.values():
                await buffer.close()
            self.stream_buffers.clear()

    async def say_goodbye(self) -> None:
        """Tell the client that streams after those that it has begun are not served, which it may therefore
        ask another server for (GOAWAY)."""
        if self._last_stream is None:
            self._last_stream = self.connection.highest_inbound_stream_id
            # h2 takes a connection for closed once it has sent such a frame itself.
            frame = GoAwayFrame(0, last_stream_id=self._last_stream, error_code=ErrorCodes.NO_ERROR)
            await self.send(RawData(data=frame.serialize()))

    async def stream_send(self, event: StreamEvent) -> None:
        await super().stream_send(event)
        if isinstance(event, StreamClosed):
            await self._say_goodbye_if_last()

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        await self._say_goodbye_if_last()

    async def _say_goodbye_if_last(self) -> None:
        # Some clients read nothing of a connection after that frame: all answers come before it.
        if not self.streams and not self.stream_buffers and self.is_last():
            await self.say_goodbye()

    def waiting(self) -> Iterator[tuple[int, int]]:
        """Yield (number, bytes) of each stream whose answer waits for its client to read."""
        return ((number, len(each.buffer)) for number, each in self.stream_buffers.items() if each.buffer)

    async def give_up(self, number: int) -> None:
        """Reset a stream, and drop what waits to be sent on it."""
        buffer = self.stream_buffers.pop(number, None)
        if buffer is None:
            return
        self.priority.remove_stream(number)
        await buffer.close()
        await self._close_stream(number)
        self._reset(number, ErrorCodes.CANCEL)
        await self._flush()
        await self.send(Updated(idle=self.idle))

    def reset_unread(self) -> bool:
        """Reset the streams that were answered before their requests had been sent whole; return whether any
        was. Hypercorn forgets them, and further data on them would end the whole connection."""
        unread = [
            number
            for number, stream in self.connection.streams.items()
            if number not in self.streams and stream.state_machine.state is StreamState.HALF_CLOSED_LOCAL
        ]
        for number in unread:
            self._reset(number, ErrorCodes.NO_ERROR)
        return bool(unread)

    async def _handle_events(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, RequestReceived):
                await self._begin(event)
            elif isinstance(event, DataReceived):
                if event.stream_id in self.streams:
                    await self.streams[event.stream_id].handle(
                        Body(stream_id=event.stream_id, data=event.data)
                    )
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                if event.stream_id in self.streams:
                    await self.streams[event.stream_id].handle(EndBody(stream_id=event.stream_id))
            elif isinstance(event, StreamReset):
                self._resets += 1
                if self._resets > FREE_RESETS and 2 * self._resets > self._requests:
                    await self._end_abuse()
                    return
                await super()._handle_events([event])
            else:
                await super()._handle_events([event])
        await self._flush()

    async def _create_stream(self, request: RequestReceived) -> None:
        await super()._create_stream(request)
        buffer = self.stream_buffers.get(request.stream_id)
        if buffer is not None and not buffer.buffer:  # the application has not begun
            self.stream_buffers[request.stream_id] = StreamBuffer(self.context.event_class)

    async def _begin(self, event: RequestReceived) -> None:
        """Begin to serve a request, unless the client has been told that no more are served."""
        self._requests += 1
        if self._last_stream is not None and event.stream_id > self._last_stream:
            return
        if not _is_ascii(event.headers):
            self._reset(event.stream_id, ErrorCodes.PROTOCOL_ERROR)
        else:
            await self._create_stream(event)
            await self.send(Updated(idle=False))

    async def _end_abuse(self) -> None:
        """End a connection whose client begins streams only to reset them."""
        self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        await self._flush()
        await self.send(Closed())

    def _reset(self, number: int, code: ErrorCodes) -> None:
        try:
            self.connection.reset_stream(number, code)
        except ProtocolError:
            return  # the stream, or its connection, has ended meanwhile


def _is_ascii(headers: Any) -> bool:
    return all(value.isascii() for name, value in headers if name in (b":method", b":path"))
