"""Headers: conversion between HTTP headers and the messages of the protocol."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from typing import Final

from mlsrv.context import CallContext, new_request_id
from mlsrv_protocol import InvalidOutput, InvalidPayload
from mlsrv_protocol.binary import HEADER

REQUEST_ID: Final = "x-request-id"
MAX_ID_LENGTH: Final = 200
"""Characters that a request id from a header may have; a longer one is ignored."""

_TRACE: Final = ("traceparent", "tracestate")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
# Set by the server alone: a model may just echo the headers of its request.
_SERVER_HEADERS = frozenset(
    (
        "accept-ranges",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        HEADER,
    )
)


def accepts_gzip(headers: Mapping[str, str]) -> bool:
    """Return whether the client accepts a response that is compressed with gzip."""
    for part in headers.get("accept-encoding", "").split(","):
        coding, _, weight = part.partition(";")
        if coding.strip().lower() == "gzip":
            return not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight)
    return False


def context_of(headers: Mapping[str, str], request_id: str | None = None) -> CallContext:
    """Return the context of a request. Its id is `request_id`, else that of ``X-Request-Id``, else a new one.

    Raises:
        InvalidPayload: as `deadline_of`.
    """
    given = headers.get(REQUEST_ID, "")
    return CallContext(
        request_id or (given if len(given) <= MAX_ID_LENGTH else "") or new_request_id(),
        deadline_of(headers),
        headers=headers,
        trace=trace_of(headers),
        transport="rest",
    )


def trace_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the W3C trace context that the client sent; mostly empty."""
    return {key: headers[key] for key in _TRACE if key in headers} if "traceparent" in headers else {}


def deadline_of(headers: Mapping[str, str]) -> float | None:
    """Return the deadline of the header ``X-Request-Timeout`` (seconds) as a time of `time.monotonic`, or
    None.

    Raises:
        InvalidPayload: it is not a positive number.
    """
    given = headers.get("x-request-timeout")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidPayload(
            f"The header X-Request-Timeout is {given[:40]!r}; it must be a number of seconds."
        )
    return time.monotonic() + seconds


def response_headers(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a model in the form of ASGI, without those that only the server may set.

    Raises:
        InvalidOutput: a name or a value cannot be a header; a line break would begin another one.
    """
    found = []
    for name, value in headers.items():
        lower = str(name).lower()
        if lower in _SERVER_HEADERS:
            continue
        text = str(value)
        if not _NAME.fullmatch(lower) or not _VALUE.fullmatch(text):
            raise InvalidOutput(
                f"The model returned the header {lower[:60]!r}, which HTTP cannot carry: "
                "names are single words, values one line of Latin-1 text."
            )
        found.append((lower.encode("ascii"), text.strip().encode("latin-1")))
    return found
