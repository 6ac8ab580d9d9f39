from mlsrv.codecs import ElementsCodec


class HexCodec(ElementsCodec):
    ContentType = "hex"
    Element = bytes

    @classmethod
    def decode_element(cls, element: str | bytes) -> bytes:
        return bytes.fromhex(element if isinstance(element, str) else element.decode())

    @classmethod
    def encode_element(cls, value: bytes) -> str:
        return value.hex()
