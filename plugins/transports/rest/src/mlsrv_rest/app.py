"""Application: one ASGI callable, the same under every server and mounted in another application."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from starlette.types import ASGIApp

from mlsrv.authorization import Action
from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, Overloaded
from mlsrv.kernel_api import Guard, KernelAPI
from mlsrv.settings import KernelSettings, Owner, Settings
from mlsrv.telemetry.request_logging import report
from mlsrv_rest.access import access_request, without_credentials
from mlsrv_rest.asgi import DISCONNECTED, Message, Receive, Scope, Send, flushed
from mlsrv_rest.body_budget import UNCOUNTED_BYTES, BodyBudget
from mlsrv_rest.body_decoder import BodyDecoder
from mlsrv_rest.body_reader import MAX_CONTROL_BYTES, BodyReader, UnreadBody, send_and_close
from mlsrv_rest.buffered_response import BufferedResponse
from mlsrv_rest.calls import ActiveCalls, Call
from mlsrv_rest.cors import CORS
from mlsrv_rest.entry_checks import EntryChecks
from mlsrv_rest.errors import (
    ClientDisconnected,
    HTTPProblem,
    ResponseInterrupted,
    error_response,
    error_to_response,
    wrong_method,
)
from mlsrv_rest.middleware import all_middleware
from mlsrv_rest.paths import infer_route, infer_target, split
from mlsrv_rest.request_observer import RequestObserver
from mlsrv_rest.router import Router, RouteRight
from mlsrv_rest.routes.common import CALL, PRINCIPAL, ROUTE
from mlsrv_rest.routes.handlers import CustomHandlers
from mlsrv_rest.routes.health import Health
from mlsrv_rest.routes.infer import Infer
from mlsrv_rest.routes.metadata import Metadata
from mlsrv_rest.routes.plugins import all_routes
from mlsrv_rest.routes.repository import Repository
from mlsrv_rest.routes.statistics import Statistics
from mlsrv_rest.routes.streaming import Streaming
from mlsrv_rest.settings import RestSettings


class RestApp:
    """The protocol over HTTP, as an ASGI application.

    Inference requests are routed and answered here, without Starlette, because they are the hot path; all
    others go through Starlette's router. The body is read first, within limits, so that no response leaves an
    unread body on its connection.

    Args:
        kernel: answers the requests; it need not be running yet.
        is_admin: whether it listens on the admin port.

    Raises:
        ConfigurationError: two plugins add the same route, or one returns an object of the wrong type.
    """

    def __init__(self, kernel: KernelAPI, *, is_admin: bool = False) -> None:
        settings = rest_settings(kernel)
        self._entry = EntryChecks(settings, kernel.settings.of(KernelSettings), is_admin=is_admin)
        self.kernel = kernel
        self.calls = ActiveCalls()
        self._decoder = BodyDecoder()
        self._infer = Infer(kernel, self._decoder, settings.gzip_enabled)
        groups = (Health(kernel), Metadata(kernel), Repository(kernel), Statistics(kernel))
        control = [route for group in groups for route in group.routes()]
        own = [*control, *Streaming(kernel, self._decoder).routes()]
        routes = [*all_routes(kernel, own), CustomHandlers(kernel)]
        self._router = Router(routes, control, settings.prefix)
        self.body_budget = BodyBudget(settings.total_limit)
        self._reader = BodyReader(self.body_budget, settings, kernel)
        self._prefix = settings.prefix.split("/") if settings.prefix else []
        cors = settings.cors_settings
        self._http: ASGIApp = self._serve if cors is None else CORS(self._serve, cors)
        for middleware in reversed(all_middleware(kernel)):
            self._http = middleware(self._http)
        self._http = RequestObserver(self._http, kernel)

    @property
    def routes(self) -> list[RouteRight]:
        """Every route but those of custom handlers, with the right that it needs."""
        return self._router.rights()

    def close(self) -> None:
        """End the thread that decodes bodies."""
        self._decoder.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await _lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state")
        lost = None if state is None else state.get(DISCONNECTED)
        call = scope[CALL] = self.calls.enter(receive, lost)
        unread = False
        try:
            try:
                response = await self._answer(call, scope, receive, send)
            except UnreadBody as error:
                response, unread = error_to_response(_cause(error)), True
            except (Exception, asyncio.CancelledError) as error:
                response = self._error_response(error, call)
            if response is not None and unread:
                # Nothing holds the part that was read any more, not even the error.
                self.body_budget.release(call)
                await send_and_close(response, scope, receive, send)
            elif response is not None:
                if len(response.body) > UNCOUNTED_BYTES:
                    response = self._counted(response, call)
                await response.send(send)
                if call.counted_bytes:
                    await flushed(scope)
        except asyncio.CancelledError:
            # Aborted while the response was being sent: the client does not read it.
            if not self.calls.was_aborted(call):
                raise
        finally:
            self.calls.leave(call)
            self.body_budget.release(call)

    def _counted(self, response: BufferedResponse, call: Call) -> BufferedResponse:
        """Count a large answer in place of the body of its request; return a refusal if there is no room."""
        self.body_budget.release(call)
        try:
            self.body_budget.check_answers()
        except Overloaded as error:
            self._reader.record_rejection(error.reason)
            return error_to_response(error, call.request_context)
        self.body_budget.add_answer(call, len(response.body))
        return response

    def _counting(self, send: Send, scope: Scope, call: Call) -> Send:
        """Return a `send` that counts large messages until the client has read them."""

        is_refused = False

        async def count(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start" and _content_length(message) > UNCOUNTED_BYTES:
                try:
                    self.body_budget.check_answers()
                except Overloaded as error:
                    is_refused = True
                    self._reader.record_rejection(error.reason)
                    await error_to_response(error, call.request_context).send(send)
            if is_refused:
                return
            size = len(message.get("body", b""))
            if size <= UNCOUNTED_BYTES:
                await send(message)
                return
            self.body_budget.add_answer(call, size)
            await send(message)
            await flushed(scope)
            self.body_budget.remove_answer(call, size)

        return count

    def _error_response(
        self, error: Exception | asyncio.CancelledError, call: Call
    ) -> BufferedResponse | None:
        """Return the response to an error, or None if none can be sent."""
        if isinstance(error, ResponseInterrupted):
            broken = error.__cause__
            if isinstance(broken, asyncio.CancelledError):
                raise broken from None
            if isinstance(broken, Exception):
                report(broken, call.request_context or CallContext())
            return None
        if isinstance(error, ClientDisconnected):
            return None
        if isinstance(error, Exception):
            return error_to_response(error, call.request_context)
        if not self.calls.was_aborted(call):
            raise error
        return error_response(503, "The server is stopping and did not wait for this request any longer.")

    async def _answer(
        self, call: Call, scope: Scope, receive: Receive, send: Send
    ) -> BufferedResponse | None:
        """Return the response, or None if an endpoint has sent it."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            segments = split(scope, self._prefix)
        except HTTPProblem:
            if self.kernel.guard is not None:
                await self._admit(self.kernel.guard, call, scope, headers, None, None)
            await self._reader.read(call, headers, MAX_CONTROL_BYTES)
            raise
        target = infer_target(segments)
        guard, entry = self.kernel.guard, self._entry
        if guard is not None or entry.are_limited or "origin" in headers:
            action, model = ("infer", target[0]) if target else self._router.needs(scope, segments)
            if entry.are_limited or "origin" in headers:
                try:
                    entry.check(scope["method"], headers, action)
                except MLSrvError as error:
                    await self._refuse(call, headers, error)
            if guard is not None:
                await self._admit(guard, call, scope, headers, action, model)
        scope[PRINCIPAL] = call.principal
        if guard is not None and target is None:
            scope["headers"] = without_credentials(scope["headers"], headers, guard.credential_headers)
        limit = MAX_CONTROL_BYTES if target is None and self._router.is_control(segments) else None
        body = await self._reader.read(call, headers, limit)
        if target is None:
            await self._router(scope, segments, body, receive, self._counting(send, scope, call))
            return None
        if scope["method"] != "POST":
            raise wrong_method(scope["method"], {"POST"})
        scope[ROUTE] = infer_route(target[1])
        return await self._infer(call, headers, body, *target)

    async def _admit(
        self,
        guard: Guard,
        call: Call,
        scope: Scope,
        headers: dict[str, str],
        action: Action | None,
        model: str | None,
    ) -> None:
        """Find the principal of a request, before its body is read. Raises as `Guard.admit`."""
        access = access_request(scope, headers, action, model)
        try:
            call.principal = await guard.admit(access)
        except Exception as error:
            await self._refuse(call, headers, error)

    async def _refuse(self, call: Call, headers: dict[str, str], error: Exception) -> NoReturn:
        """Raise an error about a request whose body was not read."""
        if not await self._reader.discard(call, headers):
            raise UnreadBody from error
        raise error


def create_app(kernel: KernelAPI) -> ASGIApp:
    """Return the REST application of a kernel, to be mounted in another application or run by an ASGI server.

    It answers while the kernel runs; the caller must enter the kernel (``async with kernel``). The prefix
    under which it is mounted is taken from the scope.

    Raises:
        ConfigurationError: two plugins add the same route.
    """
    return RestApp(kernel)


def rest_settings(kernel: KernelAPI) -> RestSettings:
    """Return the plugin's settings, or the defaults if the plugin is not loaded (see `create_app`)."""
    try:
        return kernel.settings.of(RestSettings)
    except KeyError:
        return Settings().resolve([Owner("mlsrv-rest", RestSettings)]).of(RestSettings)


def _cause(error: UnreadBody) -> Exception:
    assert isinstance(error.__cause__, Exception)
    return error.__cause__


def _content_length(start: Message) -> int:
    return next((int(value) for name, value in start.get("headers", ()) if name == b"content-length"), 0)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
