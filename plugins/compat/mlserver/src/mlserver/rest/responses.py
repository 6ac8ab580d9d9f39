"""Responses: an answer of a custom handler, with a status and headers."""

from __future__ import annotations

from typing import Any

import pydantic
from starlette.responses import JSONResponse

__all__ = ["Response"]

_ANY = pydantic.TypeAdapter(Any)


class Response(JSONResponse):
    """An answer in JSON, whose content may hold messages and other pydantic models, and bytes with UTF-8."""

    def render(self, content: Any) -> bytes:
        """Return the content as JSON."""
        return _ANY.dump_json(content, exclude_none=True)
