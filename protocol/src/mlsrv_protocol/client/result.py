"""Result: the outputs of an inference as numpy arrays."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mlsrv_protocol.datatypes import Datatype, bf16_to_float32
from mlsrv_protocol.inference import InferenceResponse


class Result(Mapping[str, npt.NDArray[Any]]):
    """The outputs of a response as arrays, by name.

    Numeric outputs have the dtype of their datatype (BF16: float32) and their shape, and may be read-only
    views of what was received. BYTES are object arrays of bytes (binary and gRPC) or str (JSON).

    Attributes:
        response: the message itself.
    """

    def __init__(self, response: InferenceResponse) -> None:
        self.response = response
        self._outputs = {output.name: output for output in response.outputs}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        output = self._outputs[name]
        if output.datatype is Datatype.BYTES:
            array = np.empty(len(output.data), dtype=object)
            array[:] = output.data
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
