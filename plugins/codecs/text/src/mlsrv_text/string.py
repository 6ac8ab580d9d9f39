"""String codecs: the content type ``str`` for a tensor and for a whole request."""

from __future__ import annotations

from typing import Any, ClassVar

from mlsrv.codecs.elements import ElementsCodec
from mlsrv.codecs.single import SingleInputRequestCodec


class StringCodec(ElementsCodec):
    """Codec between a BYTES tensor and a list of `str` (MLServer 1.5 manual, section 8.1.2).

    Decoding takes elements of `str` or of UTF-8 `bytes`. Encoding takes a list of `str` (or of UTF-8
    `bytes`), or a single `str`; the data is `bytes`, or `str` with ``use_bytes=False``.

    Raises:
        CodecError: the datatype is not BYTES, the shape is not that of a list, an element is not UTF-8, or a
            value is not a text.
    """

    ContentType: ClassVar[str] = "str"
    TypeHint: ClassVar[Any] = list[str]
    Element: ClassVar[type | tuple[type, ...]] = str

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        # Without elements a list may be anything; a list of texts is what it mostly would have been.
        return isinstance(payload, str) or (
            isinstance(payload, list) and all(isinstance(value, str) for value in payload)
        )

    @classmethod
    def decode_element(cls, element: str | bytes) -> str:
        if isinstance(element, str):
            return element
        try:
            return element.decode()
        except UnicodeDecodeError:
            raise ValueError("not UTF-8; send binary data with the content type base64") from None

    @classmethod
    def encode_element(cls, value: Any) -> str:
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, bytes):
            return cls.decode_element(value)
        raise ValueError(f"a {type(value).__name__}, not a text")


class StringRequestCodec(SingleInputRequestCodec):
    """Codec of a whole request, or response, that is a single list of texts (MLServer 1.5 manual, section
    8.1.2)."""

    ContentType: ClassVar[str] = StringCodec.ContentType
    TypeHint: ClassVar[Any] = StringCodec.TypeHint
    InputCodec = StringCodec
