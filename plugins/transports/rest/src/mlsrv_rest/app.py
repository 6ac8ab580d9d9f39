"""The application: one ASGI callable, the same under every server and in somebody else's application."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp

from mlsrv.context import CallContext
from mlsrv.kernel import Kernel
from mlsrv.settings import KernelSettings, Owner, Settings
from mlsrv.telemetry.request_logging import report
from mlsrv_rest.access import AccessLogged
from mlsrv_rest.body_budget import Bodies
from mlsrv_rest.body_reader import BodyReader, Unread, send_and_close
from mlsrv_rest.calls import Call, InFlight
from mlsrv_rest.cors import CORS
from mlsrv_rest.errors import AnswerBroken, ClientGone, error_reply, failure, wrong_method
from mlsrv_rest.middleware import all_middleware
from mlsrv_rest.paths import infer_route, infer_target, split
from mlsrv_rest.reply import Receive, Reply, Scope, Send
from mlsrv_rest.request_metrics import Metered
from mlsrv_rest.router import Router
from mlsrv_rest.routes.common import CALL, ROUTE
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

    Inference requests are matched and answered by hand; everything else goes through Starlette's router.
    Either way the body is read first, within limits, so that no answer leaves a connection with an unread
    body behind.

    Args:
        kernel: answers the requests; it need not run yet.

    Raises:
        ConfigurationError: two plugins bring the same route, or one brings something else than it should.
    """

    def __init__(self, kernel: Kernel) -> None:
        settings = rest_settings(kernel)
        self.in_flight = InFlight()
        self._infer = Infer(kernel, settings.gzip_enabled)
        groups = (Health(kernel), Metadata(kernel), Repository(kernel), Statistics(kernel), Streaming(kernel))
        own = [route for group in groups for route in group.routes()]
        routes = [*all_routes(kernel, own), CustomHandlers(kernel)]
        self._router = Router(routes, settings.prefix)
        self.bodies = Bodies(settings.total_limit)
        self._reader = BodyReader(self.bodies, settings, kernel)
        self._prefix = settings.prefix.split("/") if settings.prefix else []
        cors = settings.cors_settings
        self._http: ASGIApp = self._serve if cors is None else CORS(self._serve, cors)
        for around in reversed(all_middleware(kernel)):
            self._http = around(self._http)
        self._http = Metered(self._http, kernel)
        if kernel.settings.of(KernelSettings).access_log:
            self._http = AccessLogged(self._http, kernel)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await _lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = scope[CALL] = self.in_flight.enter(receive)
        unread = False
        try:
            try:
                reply = await self._answer(call, scope, receive, send)
            except Unread as error:
                reply, unread = failure(_cause(error)), True
            except (Exception, asyncio.CancelledError) as error:
                reply = self._failed(error, call)
            if reply is not None and unread:
                # What was read is no longer held, not even by the error.
                self.bodies.drop(call)
                await send_and_close(reply, scope, receive, send)
            elif reply is not None:
                await reply.send(send)
        except asyncio.CancelledError:
            # Cut while it was being sent: the client does not read, there is nothing more to say to it.
            if not self.in_flight.was_cut(call):
                raise
        finally:
            self.in_flight.leave(call)
            self.bodies.drop(call)

    def _failed(self, error: Exception | asyncio.CancelledError, call: Call) -> Reply | None:
        """The answer to what was raised, or None if there is none, or nobody to get it."""
        if isinstance(error, AnswerBroken):
            broken = error.__cause__
            if isinstance(broken, asyncio.CancelledError):
                raise broken from None
            if isinstance(broken, Exception):
                report(broken, call.asked or CallContext())
            return None
        if isinstance(error, ClientGone):
            return None
        if isinstance(error, Exception):
            return failure(error, call.asked)
        if not self.in_flight.was_cut(call):
            raise error
        return error_reply(503, "The server is stopping and did not wait for this request any longer.")

    async def _answer(self, call: Call, scope: Scope, receive: Receive, send: Send) -> Reply | None:
        """The answer, or None if an endpoint has sent it."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = await self._reader.read(call, headers)
        segments = split(scope, self._prefix)
        target = infer_target(segments)
        if target is None:
            await self._router(scope, segments, body, receive, send)
            return None
        if scope["method"] != "POST":
            raise wrong_method(scope["method"], {"POST"})
        scope[ROUTE] = infer_route(target[1])
        return await self._infer(call, headers, body, *target)


def create_app(kernel: Kernel) -> ASGIApp:
    """The REST application of a kernel, to be mounted in another application or served by any ASGI server.

    It answers for as long as the kernel runs (``async with kernel``); entering the kernel is the caller's
    business. The prefix under which it is mounted is taken from the scope.

    Raises:
        ConfigurationError: two plugins bring the same route.
    """
    return RestApp(kernel)


def rest_settings(kernel: Kernel) -> RestSettings:
    """The plugin's settings, or the defaults where an application uses `create_app` without the plugin."""
    try:
        return kernel.settings.of(RestSettings)
    except KeyError:
        return Settings().resolve([Owner("mlsrv-rest", RestSettings)]).of(RestSettings)


def _cause(error: Unread) -> Exception:
    assert isinstance(error.__cause__, Exception)
    return error.__cause__


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
