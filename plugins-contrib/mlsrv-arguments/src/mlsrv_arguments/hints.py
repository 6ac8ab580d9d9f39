"""Hints: readers of inputs and writers of outputs for the annotations of a method."""

from __future__ import annotations

import collections.abc
import functools
import operator
from collections.abc import Callable
from datetime import datetime
from types import GenericAlias, NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import numpy as np

from mlsrv.codecs.content import apply_codec, decode_input, input_content_type
from mlsrv.errors import CodecError, CodecNotFound
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.types import RequestInput, ResponseOutput

if TYPE_CHECKING:
    from mlsrv.codecs.model_view import ModelView

Read: TypeAlias = Callable[[RequestInput], Any]
Write: TypeAlias = Callable[[str, Any], ResponseOutput]

_UNIONS = (Union, UnionType)
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable)
_NUMBERS = {bool: Datatype.BOOL, int: Datatype.INT64, float: Datatype.FP64}
_WORDS = {bool: "true and false, or 1 and 0,", int: "whole numbers", float: "numbers"}
_SINGLE = (str, bytes, datetime, *_NUMBERS)
_EXACT = 2**53
"""Up to here a double holds every integer."""


def simplify(hint: Any) -> Any:
    """Return the one spelling of an annotation: ``List[str]`` and ``Sequence[str]`` become ``list[str]``.

    ``NDArray[float32]`` becomes ``ndarray``; `Annotated` is taken off. A union stays, `None` in it too.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    aliased = getattr(origin or hint, "__value__", None)
    if aliased is not None:  # a `type` statement of Python 3.12, which NDArray is since numpy 2.5
        return simplify(aliased[arguments] if arguments else aliased)
    if origin is None or origin is Literal:
        return hint
    if origin is Annotated:
        return simplify(arguments[0])
    if origin in _UNIONS:
        return functools.reduce(operator.or_, map(simplify, arguments))
    if origin in _LISTS:
        return GenericAlias(list, (simplify(arguments[0]),))
    if origin in (dict, collections.abc.Mapping):
        return GenericAlias(dict, (str, simplify(arguments[1])))
    if origin is tuple:
        return GenericAlias(tuple, tuple(part if part is ... else simplify(part) for part in arguments))
    return origin


def without_none(hint: Any) -> tuple[Any, bool]:
    """Return a simplified hint without `None`, and whether it contained `None`."""
    arguments = get_args(hint)
    if get_origin(hint) not in _UNIONS or NoneType not in arguments:
        return hint, False
    return functools.reduce(operator.or_, (part for part in arguments if part is not NoneType)), True


def hint_text(hint: Any) -> str:
    """Return an annotation about as its author wrote it, for messages."""
    return hint.__qualname__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def codec_for(model: ModelView, hint: Any, kind: Literal["input", "request"]) -> Any:
    """Return the codec whose own ``TypeHint`` is this simplified hint, or None; those of the model first.

    A subclass of a codec does not take over the hint of its base.

    Raises:
        OfferClash: two codecs of the model, or of the server, claim the hint.
    """
    return model.codecs.claiming(kind, lambda codec: _claims(codec, hint), hint_text(hint))


def unusable(model: ModelView) -> str:
    """Return sentences, each behind a space, about the codecs that could not be imported."""
    return "".join(f" {failure}." for failure in model.codecs.failures())


def _claims(codec: Any, hint: Any) -> bool:
    owner = codec if isinstance(codec, type) else type(codec)
    hints = vars(owner).get("TypeHint")
    return any(
        known is not None and simplify(known) == hint
        for known in (hints if isinstance(hints, tuple) else (hints,))
    )


def reader(model: ModelView, hint: Any) -> Read | None:
    """Return the function that makes a value of this type from an input, or None if no codec does."""
    if hint is Any:
        return lambda tensor: decode_input(model, tensor, _natural(model, tensor))
    codec = codec_for(model, hint, "input")
    if codec is not None:
        return lambda tensor: apply_codec(codec, tensor)
    if get_origin(hint) is Literal:
        return _choice_reader(model, get_args(hint))
    if hint in _SINGLE:
        read = reader(model, GenericAlias(list, (hint,)))
        return None if read is None else lambda tensor: _only(tensor, read)
    (element,) = get_args(hint) if get_origin(hint) is list else (None,)
    return functools.partial(_read_numbers, element) if element in _NUMBERS else None


def _choice_reader(model: ModelView, choices: tuple[Any, ...]) -> Read | None:
    """Return the reader of one of some texts or numbers; None if they are of several types or of others."""
    kinds = {type(choice) for choice in choices}
    read = reader(model, kinds.pop()) if len(kinds) == 1 and kinds <= set(_SINGLE) else None
    if read is None:
        return None

    def choose(tensor: RequestInput) -> Any:
        value = read(tensor)
        if value not in choices:
            listed = ", ".join(map(str, choices))
            raise CodecError(f'input "{tensor.name}": one of {listed} is expected, {value!r:.60} was sent.')
        return value

    return choose


def writer(model: ModelView, hint: Any) -> Write | None:
    """Return the function that makes an output from a value of this type, or None if no codec does."""
    if hint is Any:
        return lambda name, value: _write_any(model, name, value)
    codec = codec_for(model, hint, "input")
    if codec is not None:
        return lambda name, value: codec.encode_output(name, value)
    if hint in _NUMBERS:
        return lambda name, value: _write_numbers(name, [value], _NUMBERS[hint], [1])
    (element,) = get_args(hint) if get_origin(hint) is list else (None,)
    if element in _NUMBERS:
        return lambda name, value: _write_numbers(name, value, _NUMBERS[element], [len(value), 1])
    if hint in _SINGLE:
        codec = codec_for(model, list[hint], "input")
        if codec is not None:
            return lambda name, value: codec.encode_output(name, [value])
    return None


def _natural(model: ModelView, tensor: RequestInput) -> Any:
    """Return the default codec for the datatype of a tensor without a content type, else None."""
    if input_content_type(model, tensor) is not None:
        return None
    return model.codecs.input_codec("str" if tensor.datatype is Datatype.BYTES else "np")


def _only(tensor: RequestInput, read: Read) -> Any:
    values = read(tensor)
    if len(values) != 1:
        raise CodecError(f'input "{tensor.name}": one value is expected, {len(values)} were sent.')
    return values[0]


def _read_numbers(element: type, tensor: RequestInput) -> list[Any]:
    datatype = tensor.datatype
    if datatype is Datatype.BYTES or datatype is Datatype.BF16:
        raise CodecError(f'input "{tensor.name}": numbers are expected, {datatype} was sent.')
    if (element is bool and datatype.is_float) or (element is not bool and datatype is Datatype.BOOL):
        expected = "true and false" if element is bool else _WORDS[element]
        raise CodecError(f'input "{tensor.name}": {expected} are expected, {datatype} was sent.')
    if sum(length != 1 for length in tensor.shape) > 1:
        raise CodecError(
            f'input "{tensor.name}": a list such as [n] or [n, 1] is expected, not {tensor.shape}.'
        )
    try:
        values: list[Any] = numeric(tensor.data, datatype).tolist()
    except InvalidPayload as error:
        raise CodecError(f'input "{tensor.name}": {error}') from None
    if _NUMBERS[element] is datatype:
        return values
    for index, value in enumerate(values):
        if not _is_exact(value, element, datatype):
            raise CodecError(
                f'input "{tensor.name}": {_WORDS[element]} are expected, element {index} is {value}.'
            )
    return list(map(element, values))


def _is_exact(value: Any, element: type, datatype: Datatype) -> bool:
    """Return whether a number means exactly one value of a Python type."""
    if element is bool:
        return value in (0, 1)
    if element is float:
        return datatype.is_float or -_EXACT <= value <= _EXACT
    # From here on a number of this datatype may have been rounded to a whole one.
    limit = 2.0 ** (np.finfo(datatype.dtype).nmant + 1) if datatype.is_float else None
    return limit is None or (-limit <= value <= limit and value.is_integer())


def _write_numbers(name: str, values: Any, datatype: Datatype, shape: list[int]) -> ResponseOutput:
    return ResponseOutput(name, shape, datatype, numeric(list(values), datatype))


def _write_any(model: ModelView, name: str, value: Any) -> ResponseOutput:
    codec = model.codecs.input_codec_for(value)
    if codec is not None:
        return codec.encode_output(name, value)
    first = value[0] if isinstance(value, list) and value else value
    if type(first) in _NUMBERS:
        values = value if isinstance(value, list) else [value]
        shape = [len(values), 1] if isinstance(value, list) else [1]
        return _write_numbers(name, values, _NUMBERS[type(first)], shape)
    raise CodecNotFound.for_payload(value, f'output "{name}"')
