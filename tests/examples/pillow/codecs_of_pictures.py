"""Pictures as a content type that this model alone knows."""

import io
from typing import Any

from PIL import Image

from mlsrv.codecs import InputCodec, register_input_codec
from mlsrv.codecs.utils import InputOrOutput
from mlsrv.errors import CodecError
from mlsrv.types import Parameters, RequestInput, ResponseOutput


@register_input_codec
class PillowCodec(InputCodec):
    """The content type ``img``: rows of grey values (UINT8), or the bytes of a picture file (BYTES)."""

    ContentType = "img"
    TypeHint = Image.Image

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, Image.Image)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Image.Image:
        return cls._decode(request_input)

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Image.Image:
        return cls._decode(response_output)

    @classmethod
    def encode_input(cls, name: str, payload: Image.Image, **kwargs: Any) -> RequestInput:
        output = cls.encode_output(name, payload)
        return RequestInput(name, output.shape, output.datatype, output.data, output.parameters)

    @classmethod
    def encode_output(cls, name: str, payload: Image.Image, **kwargs: Any) -> ResponseOutput:
        grey = payload.convert("L")
        shape = [grey.height, grey.width]
        return ResponseOutput(name, shape, "UINT8", list(grey.tobytes()), Parameters(cls.ContentType))

    @classmethod
    def _decode(cls, tensor: InputOrOutput) -> Image.Image:
        try:
            if tensor.datatype == "BYTES":
                (file,) = tensor.data
                return Image.open(io.BytesIO(file)).convert("L")
            height, width = tensor.shape
            return Image.frombytes("L", (width, height), bytes(bytearray(tensor.data)))
        except (TypeError, ValueError, OSError) as error:
            raise CodecError(f'"{tensor.name}" is not a picture: {error}') from None
