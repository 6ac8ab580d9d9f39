"""Errors: what codecs raise."""

from __future__ import annotations

from mlserver.errors import MLServerError

__all__ = ["CodecError"]


class CodecError(MLServerError):
    """A value cannot be decoded or encoded."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg, 400)
