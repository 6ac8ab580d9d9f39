"""Request head: the rules for the head of an HTTP/1.1 request, the same on every HTTP server.

Source: RFC 9112, sections 2 to 6, and RFC 9110, sections 7.2 and 7.8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from mlsrv_rest.errors import error_response, phrase

MAX_HEAD_BYTES: Final = 2**16
"""Bytes that the request line and the headers of a request may have together."""

_VERSIONS = ("1.0", "1.1")
_HOST = re.compile(rb"(\[[0-9A-Za-z:.%]+\]|[^\x00-\x20\x7f@/?#\\,:\[\]]*)(:[0-9]*)?")
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_UPGRADES = (b"upgrade", b"http2-settings")


class Refusal(NamedTuple):
    """Status and sentence of the answer to a request that is not taken; its connection is closed."""

    status: int
    message: str

    def encoded(self) -> bytes:
        """Return the whole response."""
        response = error_response(*self)
        lines = [
            f"HTTP/1.1 {self.status} {phrase(self.status)}".encode(),
            *(b"%s: %s" % header for header in response.headers),
            b"connection: close",
        ]
        return b"\r\n".join([*lines, b"", response.body])


INVALID = Refusal(400, "This is not a valid HTTP/1.1 request.")
TOO_LARGE = Refusal(431, f"The headers of this request have more than {MAX_HEAD_BYTES} bytes.")
UNKNOWN_CODING = Refusal(501, "The Transfer-Encoding of this request is not supported; send chunked or none.")
UNKNOWN_VERSION = Refusal(505, "This version of HTTP is not supported; send HTTP/1.1.")
_CONNECT = Refusal(501, "The method CONNECT is not supported.")
_HOSTS = Refusal(400, "The request must have exactly one header Host, with a host and perhaps a port.")
_TWO_LENGTHS = Refusal(
    400, "The request has both a Content-Length and a Transfer-Encoding; send one of them."
)
_OLD_CODING = Refusal(400, "A Transfer-Encoding needs HTTP/1.1.")


def check_head(
    method: bytes, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]
) -> Refusal | None:
    """Return the refusal of a request whose head breaks a rule, or None.

    Args:
        method, target: of the request line.
        version: of HTTP, such as ``"1.1"``.
        headers: names in lower case.
    """
    size = len(method) + len(target)
    hosts, host, coding, has_length = 0, b"", b"", False
    for name, value in headers:
        size += len(name) + len(value) + 4
        if name == b"host":
            hosts += 1
            host = value
        elif name == b"transfer-encoding":
            coding = coding + b"," + value if coding else value
        elif name == b"content-length":
            has_length = True
    if size > MAX_HEAD_BYTES:
        return TOO_LARGE
    if version not in _VERSIONS:
        return UNKNOWN_VERSION
    if hosts != 1 and (hosts or version == "1.1"):
        return _HOSTS
    if _HOST.fullmatch(host) is None:
        return _HOSTS
    if method == b"CONNECT":
        return _CONNECT
    if coding:
        if coding.strip().lower() != b"chunked":
            return UNKNOWN_CODING
        if has_length:
            return _TWO_LENGTHS
        if version == "1.0":
            return _OLD_CODING
    return None


def origin_form(target: bytes) -> bytes:
    """Return a target without scheme and authority, which clients of proxies send too (absolute form)."""
    if target[:1] == b"/":
        return target
    match = _ABSOLUTE.match(target)
    if match is None:
        return target
    rest = target[match.end() :].partition(b"#")[0]
    return rest if rest[:1] == b"/" else b"/" + rest


def offers_h2c(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request without a body offers to switch to HTTP/2; a body would have to come first.

    Args:
        headers: names in lower case.
    """
    found = False
    for name, value in headers:
        if name == b"upgrade":
            found = value.strip().lower() == b"h2c"
        elif name in (b"content-length", b"transfer-encoding"):
            return False
    return found


def without_upgrade(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return headers without the offer to change the protocol, which a server may ignore.

    Args:
        headers: names in lower case.
    """
    found = []
    for name, value in headers:
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            value = b", ".join(token for token in tokens if token.lower() not in _UPGRADES)
        if name not in _UPGRADES and (value or name != b"connection"):
            found.append((name, value))
    return found
