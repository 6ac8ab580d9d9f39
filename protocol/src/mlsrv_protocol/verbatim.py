"""Verbatim: data of a tensor that is written to JSON as it is, whether it fits the tensor or not."""

from typing import Any


class Verbatim(list[Any]):
    """The data of an output as its model wrote it: nested or flat, of any values that JSON can carry.

    Neither its count nor its values are compared with the shape and the datatype of the output, which are
    sent as they are, too. Only JSON has such a form: everywhere else the data counts as a plain list.
    """
