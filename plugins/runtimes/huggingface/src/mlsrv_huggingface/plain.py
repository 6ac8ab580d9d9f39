"""Plain: answers of pipelines as JSON values."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return a value with everything in it that JSON does not know replaced.

    Numpy's numbers become numbers, arrays and tensors nested lists, images the base64 text of a PNG, numbers
    that are not finite None.

    Raises:
        TypeError: something has no such form.
    """
    if value is None or isinstance(value, str | bool | int):
        return str.__str__(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if hasattr(value, "detach"):  # a tensor of torch
        return plain(value.detach().float().cpu().tolist() if value.is_floating_point() else value.tolist())
    if hasattr(value, "tobitmap"):  # an image of Pillow
        return _png(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _png(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
