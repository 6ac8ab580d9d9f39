"""Schema: the inputs and outputs that annotations describe, as metadata of a model that declares none."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np

from mlsrv_arguments.hints import simplify, without_none
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.types import MetadataTensor

if TYPE_CHECKING:
    from mlsrv.codecs.model_view import ModelView

_SCALARS: dict[Any, tuple[Datatype, str | None]] = {
    bool: (Datatype.BOOL, None),
    int: (Datatype.INT64, None),
    float: (Datatype.FP64, None),
    str: (Datatype.BYTES, "str"),
    bytes: (Datatype.BYTES, "base64"),
    datetime: (Datatype.BYTES, "datetime"),
}


def tensors_of(
    model: ModelView, name: str, hint: Any, *, optional: bool = False, for_input: bool = True
) -> list[MetadataTensor]:
    """Return the metadata of what an annotation means; of a dataclass one tensor for each field. Empty if the
    annotation alone does not tell it.

    An array is ``[-1, -1]``, of the element type that ``NDArray[...]`` names (an input without one: FP64); a
    list ``[-1]``; one value ``[1]``; of a table whose columns are given beside its type, each column
    ``[-1]``. The parameters may hold `content_type`, `optional` and, of a `Literal`, `choices`.

    Args:
        model: whose codecs count.
        name: of the input or output.
        hint: its annotation, not simplified.
        optional: whether it need not be sent.
        for_input: whether it is that of an input.
    """
    simple, may_be_none = without_none(simplify(hint))
    optional = optional or may_be_none
    if for_input and dataclasses.is_dataclass(simple) and isinstance(simple, type):
        hints = get_type_hints(simple)
        return [
            tensor
            for one in dataclasses.fields(simple)
            for tensor in tensors_of(model, one.name, hints[one.name], optional=has_default(one))
        ]
    found = _described(simple, hint)
    if found is None:
        return _columns(model, hint) if for_input else []
    datatype, shape, parameters = found
    if datatype is None and not for_input:
        return []
    if optional:
        parameters["optional"] = True
    return [MetadataTensor(name, datatype or Datatype.FP64, shape, parameters or None)]


def _columns(model: ModelView, hint: Any) -> list[MetadataTensor]:
    """Return the metadata of a table's columns: the fields of a dataclass or a `TypedDict` beside its type,
    as in ``Annotated[pd.DataFrame, Person]``. Empty without one."""
    parts = get_args(hint)
    if get_origin(hint) is not Annotated:
        return next((found for part in parts if (found := _columns(model, part))), [])
    for fields in parts[1:]:
        if is_typeddict(fields) or (dataclasses.is_dataclass(fields) and isinstance(fields, type)):
            cells = [
                tensor
                for name, cell in get_type_hints(fields).items()
                for tensor in tensors_of(model, name, cell)
            ]
            return [MetadataTensor(cell.name, cell.datatype, [-1], cell.parameters) for cell in cells]
    return []


def has_default(field: dataclasses.Field[Any]) -> bool:
    """Return whether a field of a dataclass need not be given."""
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def _described(simple: Any, hint: Any) -> tuple[Datatype | None, list[int], dict[str, Any]] | None:
    """Return datatype (None: any numbers), shape and parameters; None if the hint describes no tensor."""
    if get_origin(simple) is Literal:
        choices = list(get_args(simple))
        datatype, content_type = _SCALARS.get(type(choices[0]), (Datatype.BYTES, None))
        return datatype, [1], _parameters(content_type) | {"choices": choices}
    if simple in _SCALARS:
        datatype, content_type = _SCALARS[simple]
        return datatype, [1], _parameters(content_type)
    if simple is np.ndarray:
        return _element_type(hint), [-1, -1], {"content_type": "np"}
    element = get_args(simple)[0] if get_origin(simple) is list else None
    if element in _SCALARS:
        datatype, content_type = _SCALARS[element]
        return datatype, [-1], _parameters(content_type)
    return None


def _parameters(content_type: str | None) -> dict[str, Any]:
    return {} if content_type is None else {"content_type": content_type}


def _element_type(hint: Any) -> Datatype | None:
    """Return the datatype of ``NDArray[X]``, also as one of several alternatives; None of other arrays."""
    if get_origin(hint) is Annotated:
        return _element_type(get_args(hint)[0])
    aliased = getattr(get_origin(hint) or hint, "__value__", None)
    if aliased is not None:  # a `type` statement of Python 3.12, which NDArray is since numpy 2.5
        return _element_type(aliased[get_args(hint)] if get_args(hint) else aliased)
    for part in get_args(hint):
        if get_origin(part) is np.dtype and isinstance(element := get_args(part)[0], type):
            try:
                return Datatype.from_numpy(element)
            except (InvalidPayload, TypeError):
                return None
        if get_origin(part) is np.ndarray or get_origin(part) is Annotated:
            return _element_type(part)
    return None
