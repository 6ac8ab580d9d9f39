"""Tensor data: the elements of a tensor as a model reads them, made of an array when they are first read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
from pydantic_core import CoreSchema, core_schema, to_json

__all__ = ["TensorData"]

_SERIALIZE = orjson.OPT_SERIALIZE_NUMPY


class TensorData:
    """The data of a tensor: lists of Python values, nested as the client sent them, or any other value.

    Args:
        root: the value.

    Attributes:
        array: flat numpy array of the tensor, where the data came from one; the value is made of it when it
            is first asked for.
        decoded: what the tensor was decoded to, once it has been.
    """

    __slots__ = ("_root", "_shape", "array", "decoded")

    def __init__(self, root: Any) -> None:
        self._root = root.root if isinstance(root, TensorData) else root
        self.array: np.ndarray[Any, Any] | None = None
        self._shape: list[int] | None = None
        self.decoded: Any = None

    @classmethod
    def of_array(cls, array: np.ndarray[Any, Any], shape: list[int] | None = None) -> TensorData:
        """Return the data of a flat array, nested by `shape` if that is given."""
        made = cls.__new__(cls)
        made._root = None
        made.array = array
        made._shape = shape
        made.decoded = None
        return made

    @property
    def nested(self) -> bool:
        """True if the value is a list of lists."""
        if self.array is not None:
            return self._shape is not None
        return isinstance(self._root, list) and len(self._root) > 0 and isinstance(self._root[0], list)

    @property
    def root(self) -> Any:
        """The value: numbers are Python's `int`, `float` and `bool`."""
        if self.array is not None and self._root is None:
            self._root = _values(self.array, self._shape)
        return self._root

    @root.setter
    def root(self, value: Any) -> None:
        self._root, self.array = value, None

    __root__ = root

    def __iter__(self) -> Iterator[Any]:
        return iter(self.root)

    def __getitem__(self, key: Any) -> Any:
        return self.root[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        values = self.root
        self.array = None  # which would be out of date
        values[key] = value

    def __len__(self) -> int:
        return len(self.root)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorData) and bool(self.root == other.root)

    __hash__ = None  # type: ignore[assignment]  # as of every value that can change

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.root, dtype=dtype)

    def __repr__(self) -> str:
        return f"TensorData(root={self.root!r})"

    def model_dump(self, **options: Any) -> Any:
        """Return the value."""
        return self.root

    dict = model_dump

    def model_dump_json(self, **options: Any) -> str:
        """Return the value as JSON text."""
        return to_json(self.root).decode()

    json = model_dump_json

    @classmethod
    def model_validate(cls, value: Any) -> TensorData:
        """Return the data of a value."""
        return value if isinstance(value, TensorData) else cls(value)

    parse_obj = model_validate

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.model_validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                cls.model_dump, return_schema=core_schema.any_schema()
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> Any:
        return {"title": "Tensor data"}


def _values(array: np.ndarray[Any, Any], shape: list[int] | None) -> Any:
    shaped = array if shape is None or len(shape) < 2 else array.reshape(shape)
    if shaped.dtype.kind == "f" and shaped.dtype.itemsize < 8 and np.isfinite(shaped).all():
        # The shortest text of a float of 32 bits is what the client wrote; `tolist` has digits of its own.
        return orjson.loads(orjson.dumps(np.ascontiguousarray(shaped.astype(np.float32)), option=_SERIALIZE))
    return shaped.tolist()
