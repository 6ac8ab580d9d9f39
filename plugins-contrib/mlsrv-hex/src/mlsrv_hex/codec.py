from mlsrv import codecs, types


class HexCodec(codecs.InputCodec):
    ContentType = "hex"

    @classmethod
    def decode_input(cls, request_input: types.RequestInput) -> list[bytes]:
        return [bytes.fromhex(text) for text in request_input.data]

    @classmethod
    def encode_output(cls, name: str, payload: list[bytes], **kwargs: object) -> types.ResponseOutput:
        return types.ResponseOutput(name, [len(payload)], "BYTES", [item.hex() for item in payload])
