"""Utils: names that authors of codecs import from here, as in MLServer."""

from __future__ import annotations

from typing import TypeAlias

from mlsrv.codecs.single import SingleInputRequestCodec
from mlsrv_protocol.types import RequestInput, ResponseOutput

InputOrOutput: TypeAlias = RequestInput | ResponseOutput
"""One tensor, of a request or of a response."""

__all__ = ["InputOrOutput", "SingleInputRequestCodec"]
