"""Handler arguments: made from a request, by the annotations of a custom handler.

The rules are in `mlsrv.handlers`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from attrs import frozen

from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, InvalidPayload, ModelLoadError
from mlsrv.handlers import NO_BODY, HandlerOptions, HandlerRequest, Handlers
from mlsrv_protocol.json_text import loads
from mlsrv_protocol.message import Message

_TAKEN = frozenset(
    [
        "config",
        "docs",
        "generate",
        "generate_stream",
        "infer",
        "infer_stream",
        "load",
        "ready",
        "stats",
        "trace",
        "unload",
        "versions",
    ]
)
_REQUIRED: Any = inspect.Parameter.empty


def compile_handlers(model: object, handlers: Handlers) -> dict[str, Handler]:
    """Return the handlers of a model, checked.

    Args:
        model: its attributes are called.
        handlers: which of them, and with what options.

    Raises:
        ModelLoadError: a path belongs to the protocol, or two handlers share one.
        TypeError: as `Handler`.
    """
    seen: dict[tuple[str, str, str], str] = {}
    for name, options in handlers.items():
        if not isinstance(options, HandlerOptions):
            raise ModelLoadError(f"custom_handlers returns no HandlerOptions for the handler {name}.")
        path = options.rest_path
        first = path.split("/")[1]
        if (options.root and first == "v2") or (options.below and first in _TAKEN):
            raise ModelLoadError(
                f"The handler {name} cannot have the path {path}: it belongs to the protocol."
            )
        for place, is_there in (("below", options.below), ("root", options.root)):
            other = seen.setdefault((*options.key, place), name) if is_there else name
            if other != name:
                raise ModelLoadError(f"The handlers {other} and {name} both have the path {options}.")
    return {name: Handler(name, getattr(model, name), options) for name, options in handlers.items()}


class Handler:
    """One custom handler of one model, with a function for each of its arguments.

    Args:
        name: attribute of the model.
        method: the bound method.
        options: that it was marked with.

    Raises:
        TypeError: an argument cannot be made from a request.
    """

    def __init__(self, name: str, method: Callable[..., Any], options: HandlerOptions) -> None:
        self.method = method
        self._arguments: dict[str, tuple[Callable[[_Call], Any], Any]] = {}
        segments = re.findall(r"{(\w+)}", options.rest_path)
        body_allowed = options.rest_method not in NO_BODY
        hints = get_type_hints(method)
        for parameter in inspect.signature(method).parameters.values():
            hint = hints.get(parameter.name, Any)
            make: Callable[[_Call], Any]
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"handler {name}: arguments are passed by name, {parameter} cannot be")
            if parameter.name in segments:
                make = _text_value(_path, parameter.name, hint)
            elif hint is CallContext:
                make = _context
            elif parameter.name == "headers":
                make = _headers
            elif parameter.name == "query":
                make = _query
            elif body_allowed:
                body_allowed = False
                make = _body(hint)
            else:
                make = _text_value(_query, parameter.name, hint)
            self._arguments[parameter.name] = make, parameter.default
        missing = set(segments) - self._arguments.keys()
        if missing:
            raise TypeError(f"handler {name}: no argument takes {', '.join(sorted(missing))} of its path")

    def arguments(self, request: HandlerRequest, context: CallContext) -> dict[str, Any]:
        """Return the arguments of one call.

        Raises:
            InvalidPayload, InferenceError: the body or a value is not what the annotation says, or is
            missing.
        """
        call = _Call(request, context)
        made = {name: (make(call), default) for name, (make, default) in self._arguments.items()}
        missing = [name for name, (value, default) in made.items() if value is default is _REQUIRED]
        if missing:
            raise InferenceError(f"The request lacks {', '.join(missing)}.")
        return {name: default if value is _REQUIRED else value for name, (value, default) in made.items()}


@frozen
class _Call:
    request: HandlerRequest
    context: CallContext


def _context(call: _Call) -> CallContext:
    return call.context


def _headers(call: _Call) -> dict[str, str]:
    return dict(call.request.headers)


def _query(call: _Call) -> dict[str, str]:
    return dict(call.request.query)


def _path(call: _Call) -> Mapping[str, str]:
    return call.request.path


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


_SCALARS: dict[Any, Callable[[str], Any]] = {str: str, int: int, float: float, bool: _boolean, Any: str}


def _text_value(source: Callable[[_Call], Mapping[str, str]], name: str, hint: Any) -> Callable[[_Call], Any]:
    """Return the function that takes one value of the path or the query from a call."""
    inner = [part for part in getattr(hint, "__args__", ()) if part is not type(None)]
    convert = _SCALARS.get(hint) or (_SCALARS.get(inner[0]) if len(inner) == 1 else None)
    if convert is None:
        raise TypeError(
            f"the argument {name} comes from the path or the query: it can be str, int, float or bool"
        )

    def make(call: _Call) -> Any:
        text = source(call).get(name)
        if text is None:
            return _REQUIRED
        try:
            return convert(text)
        except (KeyError, ValueError):
            raise InferenceError(
                f"{name} is {text[:60]!r}, which is no {convert.__name__.strip('_')}."
            ) from None

    return make


def _body(hint: Any) -> Callable[[_Call], Any]:
    """Return the function that takes the body from a call."""
    if hint is bytes:
        return lambda call: call.request.body
    if hint is str:
        return lambda call: _text(call.request.body)
    if isinstance(hint, type) and issubclass(hint, Message):
        return lambda call: hint.parse_raw(call.request.body)
    wanted = getattr(hint, "__origin__", hint)

    def make(call: _Call) -> Any:
        if not call.request.body:
            return _REQUIRED
        value = loads(call.request.body)
        if wanted in (dict, list) and not isinstance(value, wanted):
            raise InvalidPayload(f"The body must be a JSON {'object' if wanted is dict else 'array'}.")
        return value

    return make


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidPayload("The body is not UTF-8 text.") from None
