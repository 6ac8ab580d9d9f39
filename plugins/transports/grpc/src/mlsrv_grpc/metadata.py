"""Metadata of calls and headers of requests and responses: the same names and values."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Final

from mlsrv_protocol import InvalidOutput

REQUEST_ID: Final = "x-request-id"
LONGEST_ID: Final = 200
"""Characters of an id that is taken from metadata."""

_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")
# The server itself decides about these, whatever a model (that may just echo what it got) says.
_OWN = frozenset(
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
    """The headers of a call. Binary ones (``…-bin``) are base64, as on the wire; of one that comes twice, the
    last counts."""
    return {
        name: value if isinstance(value, str) else b64encode(value).decode("ascii")
        for name, value in metadata or ()
    }


def trailing_metadata(headers: Mapping[str, str]) -> dict[str, str | bytes]:
    """The trailing metadata for the headers that a model wants. Those that belong to the server are left out.

    Raises:
        InvalidOutput: a name or a value cannot be metadata.
    """
    found: dict[str, str | bytes] = {}
    for name, value in headers.items():
        lower, text = str(name).lower(), str(value).strip()
        if lower in _OWN or lower.startswith("grpc-"):
            continue
        try:
            found[lower] = b64decode(text, validate=True) if lower.endswith("-bin") else text
        except ValueError:
            raise _impossible(lower) from None
        if not _NAME.fullmatch(lower) or not _VALUE.fullmatch(text):
            raise _impossible(lower)
    return found


def _impossible(name: str) -> InvalidOutput:
    return InvalidOutput(
        f"The model returned the header {name[:60]!r}, which gRPC cannot carry: names are single words, "
        "values one line of ASCII text, and base64 if the name ends in -bin."
    )
