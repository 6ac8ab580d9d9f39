"""Message: the base class of all messages of the protocol."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self, TypeAlias

import attrs
import numpy as np

from mlsrv_protocol.json_text import dumps, loads
from mlsrv_protocol.parameters import Parameters

Fields = dict[str, Any]
Exclude: TypeAlias = set[str] | dict[str, Any]
TensorData: TypeAlias = Any
"""The elements of a tensor, row-major.

From a wire form: a flat C-contiguous numpy array for numeric datatypes (BF16 as uint16 bit patterns), a list
of `str` or `bytes` for BYTES. A model author may also give a shaped array, an array of another dtype, or
(nested) lists; they are normalised when encoded.
"""


class Message(ABC):
    """A message with a JSON form. The methods have the names that they have in MLServer."""

    __slots__ = ()
    __attrs_attrs__: ClassVar[tuple["attrs.Attribute[Any]", ...]]

    def to_plain(self) -> Any:
        """Return the fields that are present, for `json_text.dumps`; arrays and messages may be inside."""
        return present_fields({field.name: getattr(self, field.name) for field in self.__attrs_attrs__})

    def dict(self, *, exclude: Exclude | None = None) -> Any:
        """Return plain data for any JSON library: tensor data as flat lists, NaN as None, bytes as `str`,
        without fields that are None or absent.

        Args:
            exclude: names of fields to leave out, or a dict of names to what is left out below them;
                `"__all__"` stands for each element of a list.
        """
        plain = loads(dumps(self))
        return plain if exclude is None else exclude_keys(plain, exclude)

    def json(self) -> str:
        """Return the JSON text of the message."""
        return dumps(self).decode()

    @classmethod
    @abstractmethod
    def parse_obj(cls, obj: Any) -> Self:
        """Make a message from plain data, and check every rule of the protocol.

        Raises:
            InvalidPayload: a rule is broken; the sentence names the field and the rule.
        """

    @classmethod
    def parse_raw(cls, text: str | bytes) -> Self:
        """Make a message from JSON text; otherwise as `parse_obj`."""
        return cls.parse_obj(loads(text))


def exclude_keys(plain: Any, exclude: Exclude) -> Any:
    """Return plain data without some of its keys; see `Message.dict`."""
    inner: dict[str, Any] = exclude if isinstance(exclude, dict) else dict.fromkeys(exclude, True)
    if isinstance(plain, list):
        each = inner.get("__all__")
        return plain if each is None else [exclude_keys(item, each) for item in plain]
    if not isinstance(plain, dict):
        return plain
    gone = {key for key, rule in inner.items() if rule is True or rule is ...}
    kept = {key: value for key, value in plain.items() if key not in gone}
    return {key: exclude_keys(value, inner[key]) if key in inner else value for key, value in kept.items()}


def present_fields(fields: Fields) -> Fields:
    """Return the fields that are neither None nor empty parameters."""
    return {
        name: value
        for name, value in fields.items()
        if value is not None and not (isinstance(value, Parameters) and not value.dict())
    }


def same_data(left: TensorData, right: TensorData) -> bool:
    """Return whether two tensors have the same elements, whatever their shapes; NaN equals NaN."""
    if not isinstance(left, np.ndarray) and not isinstance(right, np.ndarray):
        return bool(left == right)
    try:
        a, b = np.asarray(left).reshape(-1), np.asarray(right).reshape(-1)
    except ValueError:  # a ragged list
        return False
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")
