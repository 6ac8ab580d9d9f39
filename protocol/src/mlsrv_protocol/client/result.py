"""Result: the outputs of an inference as numpy arrays."""

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlsrv_protocol.datatypes import Datatype, bf16_to_float32
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.inference import InferenceResponse, ResponseOutput
from mlsrv_protocol.json_text import loads


class Result(Mapping[str, npt.NDArray[Any]]):
    """The outputs of a response as arrays, by name.

    Numeric outputs have the dtype of their datatype (BF16: float32) and their shape, and may be read-only
    views of what was received. BYTES are object arrays of `str`, whichever way they came; of `bytes` where
    the content type of the output is ``base64``, which is decoded, or where an element is no UTF-8.

    Attributes:
        response: the message itself.

    Raises:
        InvalidPayload: an output of the content type ``base64`` holds something else.
    """

    def __init__(self, response: InferenceResponse) -> None:
        self.response = response
        self._outputs = {output.name: output for output in response.outputs}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        output = self._outputs[name]
        if output.datatype is Datatype.BYTES:
            array = np.empty(len(output.data), dtype=object)
            array[:] = _texts(output)
        else:
            array = output.data
            if output.datatype is Datatype.BF16:
                array = bf16_to_float32(array)
        return array.reshape(output.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        return f"Result({self.response!r})"

    def labels(self, name: str) -> list[str] | None:
        """Return the classes that the columns of an output stand for, or None if the answer does not tell
        them."""
        parameters = self._outputs[name].parameters
        found = None if parameters is None else parameters.get("labels")
        if isinstance(found, str):  # gRPC has no lists
            try:
                found = loads(found.encode())
            except InvalidPayload:
                return None
        return found if isinstance(found, list) else None


def _texts(output: ResponseOutput) -> Sequence[str | bytes]:
    content_type = output.parameters.content_type if output.parameters is not None else None
    if content_type == "base64":
        try:
            return [b64decode(text, validate=True) for text in output.data]
        except (binascii.Error, ValueError):
            raise InvalidPayload(f'The output "{output.name}" is no base64.') from None
    try:
        return [text if isinstance(text, str) else text.decode() for text in output.data]
    except UnicodeDecodeError:
        return [text.encode() if isinstance(text, str) else text for text in output.data]
