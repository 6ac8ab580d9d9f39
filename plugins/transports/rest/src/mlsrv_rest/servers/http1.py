"""HTTP/1.1 under Hypercorn: Hypercorn's protocol with the rules of `mlsrv_rest.servers.request_head`."""

from __future__ import annotations

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request
from hypercorn.protocol.h11 import (
    STREAM_ID,
    H2CProtocolRequiredError,
    H2ProtocolAssumedError,
    H11Protocol,
)
from hypercorn.protocol.http_stream import HTTPStream

from mlsrv_rest.servers.request_head import (
    INVALID,
    TOO_LARGE,
    UNKNOWN_CODING,
    Refusal,
    check_head,
    offers_h2c,
    origin_form,
)

_REFUSALS = {refusal.status: refusal for refusal in (TOO_LARGE, UNKNOWN_CODING)}
_LINE_BREAKS = b"\r\n"


class H1Protocol(H11Protocol):
    """The requests of one connection, one after another. Offers of other protocols than h2c are ignored.

    Attributes:
        takes_h2c: whether a request without a body may switch to HTTP/2.
    """

    connection: h11.Connection
    takes_h2c = True

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData):
            # Nothing may follow the last request of a connection, and what does is not for this server.
            if self.connection.their_state in (h11.MUST_CLOSE, h11.CLOSED):
                return
            data = event.data
            if data[:1] in (b"\r", b"\n") and self.connection.their_state is h11.IDLE:
                self.connection.receive_data(data)
                self._skip_empty_lines()
                await self._handle_events()
                return
        await super().handle(event)

    def _skip_empty_lines(self) -> None:
        """Drop line breaks before a request line (RFC 9112, 2.2), which some clients send after a body."""
        data, ended = self.connection.trailing_data
        if data[:1] not in (b"\r", b"\n"):
            return
        self.connection = h11.Connection(
            h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
        )
        if rest := data.lstrip(_LINE_BREAKS):
            self.connection.receive_data(rest)
        if ended:
            self.connection.receive_data(b"")

    async def _handle_events(self) -> None:
        while True:
            connection = self.connection
            if connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            if connection.their_state is h11.MUST_CLOSE:
                return
            if connection.their_state is h11.IDLE:
                self._skip_empty_lines()
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(_REFUSALS.get(error.error_status_hint, INVALID))
                return
            if type(event) is h11.Request:
                await self.send(Updated(idle=False))
                if not await self._begin(event):
                    return
            elif event is h11.PAUSED:
                await self.can_read.clear()
                await self.can_read.wait()
            elif event is h11.NEED_DATA or type(event) is h11.ConnectionClosed or self.stream is None:
                return
            elif type(event) is h11.Data:
                await self.stream.handle(Body(stream_id=STREAM_ID, data=event.data))
            elif type(event) is h11.EndOfMessage:
                await self.stream.handle(EndBody(stream_id=STREAM_ID))

    async def _begin(self, request: h11.Request) -> bool:
        """Begin to serve a request. Return False if it is refused, and the connection with it."""
        version = request.http_version.decode("ascii")
        if request.method == b"PRI" and request.target == b"*" and version == "2.0":
            raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + self.connection.trailing_data[0])
        headers = list(request.headers)
        refusal = check_head(request.method, request.target, version, headers)
        if refusal is not None:
            await self._refuse(refusal)
            return False
        if self.takes_h2c and offers_h2c(headers):
            response = h11.InformationalResponse(
                status_code=101, headers=[(b"connection", b"upgrade"), (b"upgrade", b"h2c")]
            )
            await self._send_h11_event(response)
            raise H2CProtocolRequiredError(self.connection.trailing_data[0], request)
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=headers,
                http_version=version,
                method=request.method.decode("ascii").upper(),
                raw_path=origin_form(request.target),
                state=self.connection_state,
            )
        )
        return True

    async def _refuse(self, refusal: Refusal) -> None:
        if self.connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self.send(RawData(data=refusal.encoded()))
        await self.send(Closed())
