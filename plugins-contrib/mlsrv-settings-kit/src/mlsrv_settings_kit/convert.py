"""Conversion: the one strict converter for settings; each unknown key is an error with its path."""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import cattrs

from mlsrv_settings_kit.hints import explain_unknown

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")


def _quote(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _bool(value: object, _type: Any) -> bool:
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    if isinstance(value, bool | int) and value in (0, 1):
        return bool(value)
    raise ValueError(f"expected true or false, got {_quote(value)}")


def _int(value: object, _type: Any) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError(f"expected a whole number, got {_quote(value)}")


def _float(value: object, _type: Any) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isnan(number):
            return number
    raise ValueError(f"expected a number, got {_quote(value)}")


def _str(value: object, _type: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected a text, got {_quote(value)}")


def _list(value: object, wanted: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a list, got {_quote(value)}")
    (element,) = get_args(wanted) or (Any,)
    made = []
    for index, item in enumerate(value):
        try:
            made.append(converter.structure(item, element))
        except ValueError as error:
            raise ValueError(f"[{index}]: {error}") from None
    return made


def _dict(value: object, wanted: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {_quote(value)}")
    _, element = get_args(wanted) or (Any, Any)
    return {str(key): converter.structure(item, element) for key, item in value.items()}


def _literal(value: object, wanted: Any) -> Any:
    if value in get_args(wanted):
        return value
    raise ValueError(f"expected one of {', '.join(map(repr, get_args(wanted)))}, got {_quote(value)}")


def _union(value: object, wanted: Any) -> Any:
    members = get_args(wanted)
    if value is None and type(None) in members:
        return None
    problems = []
    for member in members:
        if member is type(None):
            continue
        try:
            return converter.structure(value, member)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError("; or ".join(problems))


def _is_union(wanted: Any) -> bool:
    return get_origin(wanted) in (Union, types.UnionType)


def _object(value: object, wanted: Any) -> Any:
    if isinstance(value, wanted):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {_quote(value)}")
    instance, problems = structure_fields(wanted, value)
    if problems:
        raise ValueError("; ".join(f"{path}: {problem}" for path, problem in problems))
    return instance


def _is(kind: Any) -> Callable[[Any], bool]:
    return lambda wanted: wanted is kind or get_origin(wanted) is kind


converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
for _kind, _hook in ((bool, _bool), (int, _int), (float, _float), (str, _str)):
    converter.register_structure_hook(_kind, _hook)
converter.register_structure_hook_func(_is(Literal), _literal)
converter.register_structure_hook_func(_is_union, _union)
converter.register_structure_hook_func(_is(list), _list)
converter.register_structure_hook_func(_is(dict), _dict)
converter.register_structure_hook_func(lambda t: t is Any or t is object, lambda value, _type: value)
converter.register_structure_hook_func(attrs.has, _object)


def structure_fields(cls: type, values: dict[str, Any]) -> tuple[Any, list[tuple[str, str]]]:
    """Build a settings class from plain values.

    Returns the instance (None if there are problems) and the problems as (path, sentence) pairs.
    """
    fields = attrs.fields_dict(cls)
    problems = [(key, explain_unknown(key, fields)) for key in values if key not in fields]
    arguments: dict[str, Any] = {}
    for name in fields.keys() & values.keys():
        try:
            arguments[name] = _field_value(fields[name], values[name])
        except ValueError as error:
            problems.append((name, str(error)))
    if problems:
        return None, sorted(problems)
    try:
        return cls(**arguments), []
    except (TypeError, ValueError) as error:
        return None, [("", str(error))]


def _field_value(field: attrs.Attribute[Any], value: object) -> Any:
    wanted: Any = field.type
    made = converter.structure(value, wanted)
    if field.validator is not None:
        field.validator(None, field, made)
    return made


def from_text(text: str, wanted: Any) -> Any:
    """Return the plain value of a text from the environment or the command line.

    Where a list, an object or null is wanted the text is read as JSON, else it is the value itself.
    """
    members = get_args(wanted) if _is_union(wanted) else (wanted,)
    if str in members and not text.lstrip().startswith(("{", "[")):
        return None if text == "null" and type(None) in members else text
    if all(member in (str, int, float, bool) for member in members):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return None if not text and type(None) in members else text
