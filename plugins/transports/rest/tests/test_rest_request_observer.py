"""The request observer tells responses from requests whose clients disconnected."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mlsrv_rest.plugin
from mlsrv import Kernel
from mlsrv_rest.access import CLIENT_CLOSED_REQUEST
from mlsrv_rest.request_observer import RequestObserver


async def test_a_disconnected_client_is_logged_as_499() -> None:
    records: list[Any] = []
    kernel: Any = Kernel(plugins=[mlsrv_rest.plugin], discover=False)
    kernel.access = SimpleNamespace(note=records.append)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        return

    scope = {"type": "http", "method": "GET", "path": "/a b", "client": None}
    receive: Any = None
    send: Any = None
    await RequestObserver(app, kernel)(scope, receive, send)
    (access,) = records
    assert (access.request, access.status, access.client) == ("GET /a%20b", CLIENT_CLOSED_REQUEST, "")


async def test_an_unobserved_request_reaches_the_application_as_it_is() -> None:
    seen: list[Any] = []
    kernel = Kernel(plugins=[mlsrv_rest.plugin], discover=False)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(send)

    send: Any = object()
    receive: Any = None
    await RequestObserver(app, kernel)({"type": "http", "method": "GET"}, receive, send)
    assert seen == [send]
