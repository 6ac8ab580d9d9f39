"""Datetime codec: ISO 8601 texts, the content type ``datetime``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from mlsrv.codecs.elements import ElementsCodec


class DatetimeCodec(ElementsCodec):
    """Codec between a BYTES tensor of ISO 8601 texts and a list of `datetime` (MLServer 1.5 manual, section
    8.1.2).

    Texts with an offset become aware datetimes, others naive ones. Encoding takes a list of `datetime` or of
    such texts, which pass as they are, or a single one.

    Raises:
        CodecError: the datatype is not BYTES, the shape is not that of a list, an element is not a date of
            ISO 8601, or a value is neither a `datetime` nor a text.
    """

    ContentType: ClassVar[str] = "datetime"
    TypeHint: ClassVar[Any] = (list[datetime], list[str | datetime])
    Element: ClassVar[type | tuple[type, ...]] = (datetime, str)

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, datetime) or (
            isinstance(payload, list)
            and bool(payload)
            and all(isinstance(value, datetime) for value in payload)
        )

    @classmethod
    def decode_element(cls, element: str | bytes) -> datetime:
        try:
            return datetime.fromisoformat(element if isinstance(element, str) else element.decode("ascii"))
        except ValueError:
            raise ValueError("not a date of ISO 8601") from None

    @classmethod
    def encode_element(cls, value: Any) -> str:
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, str):
            cls.decode_element(value)
            return str.__str__(value)
        raise ValueError(f"a {type(value).__name__}, not a date")
