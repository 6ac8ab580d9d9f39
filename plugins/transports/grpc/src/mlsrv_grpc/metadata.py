"""Metadata: conversion between the metadata of calls and the headers of requests and responses."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Final

from mlsrv_protocol import InvalidOutput

REQUEST_ID: Final = "x-request-id"
MAX_ID_LENGTH: Final = 200
"""Characters that a request id from metadata may have; a longer one is ignored."""

_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")
# Set by the server alone: a model may just echo the headers of its request.
_SERVER_HEADERS = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
    )
)


def request_headers(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """Return the headers of a call. Binary ones (``…-bin``) are base64, as on the wire; of a repeated one the
    last counts."""
    return {
        name: value if isinstance(value, str) else b64encode(value).decode("ascii")
        for name, value in metadata or ()
    }


def trailing_metadata(headers: Mapping[str, str]) -> dict[str, str | bytes]:
    """Return the headers of a model as trailing metadata, without those that only the server may set.

    Raises:
        InvalidOutput: a name or a value cannot be metadata.
    """
    found: dict[str, str | bytes] = {}
    for name, value in headers.items():
        lower, text = str(name).lower(), str(value).strip()
        if lower in _SERVER_HEADERS or lower.startswith("grpc-"):
            continue
        try:
            found[lower] = b64decode(text, validate=True) if lower.endswith("-bin") else text
        except ValueError:
            raise _invalid_header(lower) from None
        if not _NAME.fullmatch(lower) or not _VALUE.fullmatch(text):
            raise _invalid_header(lower)
    return found


def _invalid_header(name: str) -> InvalidOutput:
    return InvalidOutput(
        f"The model returned the header {name[:60]!r}, which gRPC cannot carry: names are single words, "
        "values one line of ASCII text, and base64 if the name ends in -bin."
    )
