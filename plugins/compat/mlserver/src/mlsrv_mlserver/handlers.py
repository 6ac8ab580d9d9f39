"""Handlers: custom endpoints of models with MLServer's types, as handlers of mlsrv."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import pydantic
from mlserver.errors import MLServerError
from mlserver.handlers.custom import get_custom_handlers

from mlsrv.errors import InferenceError, ModelAnswered
from mlsrv.handlers import HandlerOptions, Reply

_ANY = pydantic.TypeAdapter(Any)
_NO_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


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
    pydantic type, and is validated here; pydantic models among the results become JSON."""
    hints = get_type_hints(method)
    signature = inspect.signature(method)
    bodies = {
        name: pydantic.TypeAdapter(hints[name])
        for name in signature.parameters
        if options.rest_method not in _NO_BODY and _is_model(hints.get(name))
    }

    @functools.wraps(method)
    async def handler(**arguments: Any) -> Any:
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
        for name, parameter in signature.parameters.items()
    ]
    handler.__signature__ = signature.replace(parameters=changed)  # type: ignore[attr-defined]  # as `inspect` reads it
    handler.__annotations__ = {parameter.name: parameter.annotation for parameter in changed}
    return handler


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
