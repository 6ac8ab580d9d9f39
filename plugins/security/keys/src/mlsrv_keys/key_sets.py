"""Key sets: the text of a JSON Web Key Set, from a file or from an address."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mlsrv.errors import ConfigurationError

LONGEST_SET = 2**20
"""Bytes of a key set."""

FETCH_SECONDS = 10.0
"""Seconds for a whole answer, however slowly it comes."""


def read_set(path: str) -> bytes:
    """Return the key set of a file. Raises `ConfigurationError`."""
    try:
        with open(path, "rb") as file:
            return file.read(LONGEST_SET)
    except OSError as error:
        raise ConfigurationError(f"jwt_jwks {path}: cannot be read: {error.strerror}") from error


def fetch_set(url: str) -> bytes:
    """Return the key set at an address. Redirects are not followed: they may lead away from TLS.

    Raises:
        ConfigurationError: it cannot be read within `FETCH_SECONDS`, or is too long.
    """
    where = f"jwt_jwks_url {url}"
    handler = _Handler()
    opener = urllib.request.build_opener(handler, _NoRedirects())
    try:
        with _limit(handler), opener.open(url, timeout=FETCH_SECONDS) as answer:
            text: bytes = answer.read(LONGEST_SET + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise ConfigurationError(f"{where}: cannot be read: the status is {error.code}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = f"it takes more than {FETCH_SECONDS:g} s" if handler.is_late else error
        raise ConfigurationError(f"{where}: cannot be read: {reason}") from error
    if handler.is_late:
        raise ConfigurationError(f"{where}: cannot be read: it takes more than {FETCH_SECONDS:g} s")
    if len(text) > LONGEST_SET:
        raise ConfigurationError(f"{where}: has more than {LONGEST_SET} bytes")
    return text


@contextmanager
def _limit(handler: _Handler) -> Iterator[None]:
    timer = threading.Timer(FETCH_SECONDS, handler.stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Handler(urllib.request.HTTPSHandler):
    """Opens connections, and can end all of them: a timeout of a socket begins anew with each byte."""

    def __init__(self) -> None:
        super().__init__(context=ssl.create_default_context())
        self.is_late = False
        self._sockets: list[socket.socket] = []

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        sockets = self._sockets

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                sockets.append(self.sock)

        context: Any = self._context  # type: ignore[attr-defined]  # of the base class
        return self.do_open(Connection, request, context=context)

    def stop(self) -> None:
        """End the connections."""
        self.is_late = True
        for one in self._sockets:
            with suppress(OSError):  # it has ended already
                one.shutdown(socket.SHUT_RDWR)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: the answer is an error then."""
