"""Base64 codec: binary data in texts, the content type ``base64``."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Any, ClassVar

from mlsrv.codecs.elements import ElementsCodec


class Base64Codec(ElementsCodec):
    """Codec between a BYTES tensor of base64 texts and a list of `bytes` (MLServer 1.5 manual, section
    8.1.2).

    Encoding takes a list of `bytes` (a `str` stands for its UTF-8 bytes), or a single `bytes`.

    Raises:
        CodecError: the datatype is not BYTES, the shape is not that of a list, an element is not base64 (RFC
            4648, section 4, with padding), or a value is neither `bytes` nor `str`.
    """

    ContentType: ClassVar[str] = "base64"
    TypeHint: ClassVar[Any] = list[bytes]
    Element: ClassVar[type | tuple[type, ...]] = (bytes, str)

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, bytes) or (
            isinstance(payload, list) and bool(payload) and all(isinstance(value, bytes) for value in payload)
        )

    @classmethod
    def decode_element(cls, element: str | bytes) -> bytes:
        try:
            return b64decode(element, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("not base64") from None

    @classmethod
    def encode_element(cls, value: Any) -> str:
        if isinstance(value, str):
            value = value.encode()
        if not isinstance(value, bytes | bytearray | memoryview):
            raise ValueError(f"a {type(value).__name__}, not bytes")
        return b64encode(value).decode()
