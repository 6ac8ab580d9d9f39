"""Datatypes: the element types of tensors and their numpy dtypes.

Source: Open Inference Protocol, "Tensor Data Types"; BF16 as in the comments of its .proto file.
"""

from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.quoting import clip

_BF16_MAX = float(np.array(0x7F7F0000, np.uint32).view(np.float32))


def _limits(name: str, dtype: np.dtype[Any] | None) -> tuple[float, float]:
    if name == "BF16":
        return -_BF16_MAX, _BF16_MAX
    if dtype is None or dtype.kind == "b":
        return 0, 0 if dtype is None else 1
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        return -largest, largest
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


class Datatype(str, Enum):
    """The type of a tensor's elements; a `str`, so that `Datatype.FP32 == "FP32"`.

    Calling it with an unknown name raises `InvalidPayload` with the names that exist.
    """

    dtype: np.dtype[Any] | None
    """The little-endian numpy dtype of one element in memory; None for BYTES. BF16 is held as its bit
    patterns in uint16.
    """
    itemsize: int | None
    """Bytes per element; None for BYTES, whose elements vary in length."""
    is_float: bool
    """True for FP16, FP32, FP64 and BF16: the types that know NaN and the infinities."""
    is_integer: bool
    """True for INT8 to INT64 and UINT8 to UINT64; false for BOOL."""
    lowest: float
    """The smallest finite value (0 for BYTES); an int where the datatype is BOOL or an integer."""
    highest: float
    """The largest finite value (0 for BYTES); an int where the datatype is BOOL or an integer."""

    def __new__(cls, name: str, code: str | None = None) -> "Datatype":
        self = str.__new__(cls, name)
        self._value_ = name
        self.dtype = None if code is None else np.dtype(code)
        self.itemsize = None if self.dtype is None else self.dtype.itemsize
        self.is_float = "FP" in name or name == "BF16"
        self.is_integer = "INT" in name
        self.lowest, self.highest = _limits(name, self.dtype)
        return self

    BOOL = "BOOL", "?"
    UINT8 = "UINT8", "u1"
    UINT16 = "UINT16", "<u2"
    UINT32 = "UINT32", "<u4"
    UINT64 = "UINT64", "<u8"
    INT8 = "INT8", "i1"
    INT16 = "INT16", "<i2"
    INT32 = "INT32", "<i4"
    INT64 = "INT64", "<i8"
    FP16 = "FP16", "<f2"
    FP32 = "FP32", "<f4"
    FP64 = "FP64", "<f8"
    BF16 = "BF16", "<u2"
    BYTES = "BYTES", None

    def __str__(self) -> str:
        return str.__str__(self)

    def __format__(self, format_spec: str) -> str:
        return str.__format__(self, format_spec)

    @classmethod
    def _missing_(cls, value: object) -> "Datatype":
        raise InvalidPayload(f"{clip(value)} is not a datatype; the datatypes are {', '.join(cls)}.")

    @classmethod
    def from_numpy(cls, dtype: npt.DTypeLike) -> "Datatype":
        """Return the datatype for elements of a numpy dtype.

        Strings (`str_`, `bytes_`, `object`, `StringDType`) are BYTES; `ml_dtypes.bfloat16` is BF16. Byte
        order does not matter.

        Raises:
            InvalidPayload: no datatype holds such elements (complex, dates, structures, …).
        """
        given = np.dtype(dtype)
        found = _BY_KIND.get((given.kind, given.itemsize))
        if found is not None:
            return found
        if given.kind in "OSUT":
            return cls.BYTES
        if given.name == "bfloat16":
            return cls.BF16
        raise InvalidPayload(
            f"No datatype holds numpy {given}; convert the array to a number, boolean or string type."
        )


_BY_KIND = {
    (member.dtype.kind, member.dtype.itemsize): member
    for member in Datatype
    if member.dtype is not None and member is not Datatype.BF16
}


def bf16_to_float32(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Convert BF16 bit patterns to their exact values, in the same shape."""
    patterns = np.asarray(bits, dtype=np.uint16)
    wide = patterns.reshape(-1).astype(np.uint32) << np.uint32(16)
    return wide.view(np.float32).reshape(patterns.shape)


def float32_to_bf16(values: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    """Convert values to the nearest BF16 bit patterns, ties to even, as in IEEE 754, in the same shape.

    NaN stays NaN (quiet); values beyond the range become infinities. Values of another type are first made
    float32.
    """
    with np.errstate(over="ignore"):
        single = np.asarray(values).astype(np.float32)
    bits = single.reshape(-1).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x0040)
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.where(nan, quiet, rounded).astype(np.uint16).reshape(single.shape)
