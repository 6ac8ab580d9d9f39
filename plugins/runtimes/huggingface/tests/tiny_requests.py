"""Requests to models in tests, and the comparison of their answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlsrv.codecs import NumpyCodec
from mlsrv.types import InferenceRequest, Parameters, RequestInput, RequestOutput
from mlsrv_huggingface import JSONListCodec


def texts(name: str, values: list[str]) -> RequestInput:
    return RequestInput(name, [len(values)], "BYTES", list(values))


def ask(model: Any, *inputs: RequestInput, outputs: Any = None, **options: Any) -> Any:
    """The answers of a model, or its tensors by name where outputs are named."""
    wanted = None if outputs is None else [RequestOutput(name) for name in outputs]
    response = model.predict(
        InferenceRequest(inputs=list(inputs), parameters=Parameters(**options), outputs=wanted)
    )
    if outputs is None:
        (output,) = response.outputs
        assert (output.name, output.datatype.value) == ("output", "BYTES")
        found = JSONListCodec.decode_output(output)
        assert output.shape == [len(found), 1]
        return found
    return {
        output.name: NumpyCodec.decode_output(output).reshape(output.shape) for output in response.outputs
    }


def close(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    """Compare two JSON values, numbers within a tolerance."""
    if isinstance(expected, dict):
        assert sorted(found) == sorted(expected)
        for key, value in expected.items():
            close(found[key], value, tolerance)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            close(one, other, tolerance)
    elif isinstance(expected, np.ndarray | np.generic):
        close(found, expected.tolist(), tolerance)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=tolerance, rel=tolerance)
    else:
        assert found == expected


def picture(shade: int, size: int = 32) -> Image.Image:
    """A coloured image."""
    pixels = np.arange(size * size * 3, dtype=np.uint8).reshape(size, size, 3)
    return Image.fromarray((pixels + shade).astype(np.uint8))
