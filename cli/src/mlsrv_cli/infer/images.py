"""Images: their pixels as an array, in the form that a model declares."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import rich_click as click

from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.metadata import MetadataTensor

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name of pixels with so many channels."""


def pixels_of(content: bytes, tensor: MetadataTensor) -> npt.NDArray[np.uint8]:
    """Return the pixels of an image file, from 0 to 255.

    The axis of the channels is the last one of the declared shape, or the second of four; a shape of two
    axes, or of three without an axis of 1, 3 or 4 channels, means grey values.

    Args:
        content: the bytes of the file.
        tensor: the input that the model declares; a first axis of four is that of the images.

    Raises:
        InvalidPayload: it is no image that Pillow reads.
        click.ClickException: Pillow is missing.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise click.ClickException(
            f"The model takes pixels ({tensor.datatype}), which needs Pillow (the extra mlsrv-cli[image])."
        ) from error
    shape = tensor.shape
    first = len(shape) == 4 and shape[1] in _MODES and shape[3] not in _MODES
    channels: Any = shape[1] if first else shape[-1] if len(shape) > 2 else None
    colours = channels in _MODES or len(shape) == 4
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image.convert(_MODES.get(channels, "RGB") if colours else "L"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise InvalidPayload(f"it is no image that Pillow reads: {error}") from None
    if colours and pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return pixels.transpose(2, 0, 1) if first else pixels
