"""Handlers: custom endpoints of models with MLServer's types, as handlers of mlsrv."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, get_type_hints

import pydantic
from mlserver.errors import MLServerError
from mlserver.handlers.custom import get_custom_handlers

from mlsrv.errors import InferenceError, ModelAnswered
from mlsrv.handlers import HandlerOptions, Reply
from mlsrv_mlserver.raw_requests import is_raw_request, raw_request

_ANY = pydantic.TypeAdapter(Any)
_NO_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_BODY, _HEADERS, _QUERY = "body_of_request", "headers", "query"
"""Arguments of which a raw request is made; the last two names are those that mlsrv fills."""


def our_handlers(model: Any) -> dict[str, HandlerOptions]:
    """Return the custom handlers of a model: attribute -> route at the root, and below the model's path."""
    found = {}
    for custom, method in get_custom_handlers(model):
        path = "/" + custom.rest_path.strip("/")
        name = getattr(method, "__name__", path)
        found[name] = HandlerOptions(path, custom.rest_method.upper(), True, True, True)
    return found


def served_handler(method: Callable[..., Any], options: HandlerOptions) -> Callable[..., Any]:
    """Return a handler whose arguments mlsrv makes: the body arrives as bytes where the annotation is a
    pydantic type, and is validated here; an argument annotated as starlette's Request gets the request
    itself; pydantic models among the results become JSON."""
    hints = get_type_hints(method)
    signature = inspect.signature(method)
    bodies = {
        name: pydantic.TypeAdapter(hints[name])
        for name in signature.parameters
        if options.rest_method not in _NO_BODY and _is_model(hints.get(name))
    }
    raw = [name for name in signature.parameters if is_raw_request(hints.get(name))]
    own = {name: parameter for name, parameter in signature.parameters.items() if name not in raw}
    body_name = next(iter(bodies), _BODY)
    segments = set(re.findall(r"{(\w+)}", options.rest_path))

    @functools.wraps(method)
    async def handler(**arguments: Any) -> Any:
        if raw:
            body = arguments[body_name] if body_name in own else arguments.pop(body_name, b"")
            headers, query = (
                arguments[name] if name in own else arguments.pop(name) for name in (_HEADERS, _QUERY)
            )
            values = {name: value for name, value in arguments.items() if name in segments}
            for name in raw:
                arguments[name] = raw_request(options, body, headers, query, values)
        for name, adapter in bodies.items():
            if isinstance(arguments.get(name), bytes):
                arguments[name] = _validated(adapter, arguments[name])
        try:
            answer = method(**arguments)
            answer = await answer if inspect.isawaitable(answer) else answer
        except MLServerError as error:
            status = error.status_code if 400 <= error.status_code <= 599 else 500
            raise ModelAnswered(str(error), status) from error
        return _reply(answer)

    del handler.__wrapped__  # whose annotations would count
    changed = [
        parameter.replace(
            annotation=bytes if name in bodies else hints.get(name, Any), default=_default(parameter)
        )
        for name, parameter in own.items()
    ]
    if raw:
        changed = _with_parts(changed, body_name, options.rest_method not in _NO_BODY)
    handler.__signature__ = signature.replace(parameters=changed)  # type: ignore[attr-defined]  # as `inspect` reads it
    handler.__annotations__ = {parameter.name: parameter.annotation for parameter in changed}
    return handler


def _with_parts(own: list[inspect.Parameter], body: str, has_body: bool) -> list[inspect.Parameter]:
    """Return the arguments of a handler with those of which a raw request is made; the body comes first, as
    mlsrv gives it to the first argument."""
    kind = inspect.Parameter.KEYWORD_ONLY
    found = {name: inspect.Parameter(name, kind, annotation=dict[str, str]) for name in (_HEADERS, _QUERY)}
    if has_body:
        found[body] = inspect.Parameter(body, kind, annotation=bytes, default=b"")
    found |= {parameter.name: parameter.replace(kind=kind) for parameter in own}
    return sorted(found.values(), key=lambda parameter: parameter.name != body)


def _default(parameter: inspect.Parameter) -> Any:
    """Return the default of an argument; none where it is a marker of fastapi, such as ``Body(...)``."""
    is_marker = type(parameter.default).__module__.partition(".")[0] == "fastapi"
    return inspect.Parameter.empty if is_marker else parameter.default


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, pydantic.BaseModel)


def _validated(adapter: pydantic.TypeAdapter[Any], body: bytes) -> Any:
    try:
        return adapter.validate_json(body)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the body"
        raise InferenceError(f"{where}: {problem['msg']}.") from error


def _reply(answer: Any) -> Any:
    body, status = getattr(answer, "body", None), getattr(answer, "status_code", None)
    if isinstance(body, bytes) and isinstance(status, int):  # a response of starlette
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return Reply(body, status, headers)
    if isinstance(answer, bytes | Reply):
        return answer
    return Reply(_ANY.dump_json(answer), headers={"content-type": "application/json"})


__all__ = ["our_handlers", "served_handler"]
