"""Verbatim: data of a tensor that is written to JSON as it is, whether it fits the tensor or not."""

from __future__ import annotations

from typing import Any


class Verbatim(list[Any]):
    """The data of an output as its model wrote it: nested or flat, of any values that JSON can carry.

    Neither its count nor its values are compared with the shape and the datatype of the output, which are
    sent as they are, too. Only JSON has such a form: everywhere else the data counts as a plain list.

    Attributes:
        bare: whether it is one value that is written without a list around it.
    """

    bare: bool = False

    @classmethod
    def of(cls, value: Any) -> Verbatim:
        """Return the data of a value: of a list or tuple, or of one bare value."""
        if isinstance(value, list | tuple):
            return cls(value)
        made = cls([value])
        made.bare = True
        return made

    @property
    def value(self) -> Any:
        """The value as JSON has it, a plain list or the bare value."""
        return self[0] if self.bare else list(self)
