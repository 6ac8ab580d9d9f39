"""Custom handlers: methods of a model that transports offer beside inference.

::

    class Model(MLModel):
        @custom_handler("/explain/{method}")
        async def explain(self, body: dict, method: str, top: int = 3) -> dict: ...

is ``POST /v2/models/NAME/explain/shap?top=5``. The source of each argument follows from its name and
annotation, when the model is loaded:

* a name in braces in the path: that segment of the path;
* ``headers``, ``query``: all headers (names in lower case), the whole query, as ``dict[str, str]``;
* `CallContext`: deadline, cancellation, request id;
* the first of the other arguments, unless the verb has no body (GET, HEAD, DELETE, OPTIONS): the body, as
  `bytes`, as `str`, as a message such as `InferenceRequest`, or, with any other annotation or none, as the
  JSON value that it holds;
* every further argument: the value of that name in the query, as `str`, `int`, `float` or `bool`.

The result is sent as JSON, a `str` as plain text, `bytes` as they are, None as an empty body, a `Reply` with
its own status and headers.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from attrs import field, frozen

from mlsrv.errors import ModelLoadError
from mlsrv_protocol.json import dumps

__all__ = [
    "Arguments",
    "HandlerOptions",
    "HandlerRequest",
    "Handlers",
    "Reply",
    "check_root_paths",
    "custom_handler",
    "find_handler",
    "handlers_of",
]

_F = TypeVar("_F", bound=Callable[..., Any])
_MARK = "__mlsrv_handler__"
NO_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
"""Verbs whose requests have no body."""


@frozen
class HandlerOptions:
    """The route of a custom handler.

    Attributes:
        rest_path: path with a slash before it; ``{name}`` stands for one segment.
        rest_method: HTTP verb in upper case.
        below: the route is below the model's own path.
        root: the route is at the root of the server.
        shared: other models may offer the same route at the root.
        summary: the first line of the method's docstring, for documents.
        arguments: name, place ("path", "query" or "body") and annotation of each argument that comes from the
            request, for documents.
    """

    rest_path: str
    rest_method: str = "POST"
    below: bool = True
    root: bool = False
    shared: bool = False
    summary: str = field(default="", eq=False)
    arguments: Sequence[tuple[str, str, str]] = field(default=(), eq=False)

    @property
    def key(self) -> tuple[str, str]:
        """Key of the route; two routes of one key hide each other."""
        return re.sub(r"{\w+}", "{}", self.rest_path), self.rest_method

    @property
    def claims_root(self) -> bool:
        """Sole claim of the route at the root: no other model may offer it there."""
        return self.root and not self.shared

    def __str__(self) -> str:
        return f"{self.rest_method} {self.rest_path}"


Handlers: TypeAlias = Mapping[str, HandlerOptions]
"""Custom handlers as `ModelInfo.handlers` has them, by the name of their attribute."""


def custom_handler(
    rest_path: str, rest_method: str = "POST", *, root: bool | Literal["shared"] = False
) -> Callable[[_F], _F]:
    """Mark a method of an `MLModel` as a custom handler.

    Args:
        rest_path: path of the route; ``{name}`` stands for one segment. The route is below the model's own
            path ``/v2/models/NAME`` (and ``…/versions/VERSION``), where routes of two models cannot clash.
        rest_method: HTTP verb.
        root: put the route at the root of the server instead, for clients that know of no models. A model
            does not load while another model has the same route there. ``"shared"`` puts the route in both
            places, at the root only while no other model offers the same route there.

    Raises:
        ValueError: the path is empty.
    """
    path = "/" + rest_path.strip("/")
    if path == "/":
        raise ValueError("A custom handler needs a path.")

    def mark(function: _F) -> _F:
        verb = rest_method.upper()
        options = HandlerOptions(
            path,
            verb,
            root is not True,
            bool(root),
            root == "shared",
            summary=(inspect.getdoc(function) or "").partition("\n")[0],
            arguments=tuple(_arguments(function, path, verb)),
        )
        setattr(function, _MARK, options)
        return function

    return mark


def _arguments(function: Callable[..., Any], path: str, verb: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, place and annotation of the arguments that come from the request."""
    segments = re.findall(r"{(\w+)}", path)
    has_body = verb not in NO_BODY
    for parameter in [*inspect.signature(function).parameters.values()][1:]:
        note = parameter.annotation
        text = "" if note is parameter.empty else getattr(note, "__name__", str(note))
        if parameter.name in segments:
            yield parameter.name, "path", text
        elif parameter.name not in ("headers", "query") and text.rpartition(".")[2] != "CallContext":
            yield parameter.name, "body" if has_body else "query", text
            has_body = False


@frozen
class HandlerRequest:
    """The request that a transport hands to a custom handler, in place of arguments.

    Attributes:
        body: as it came.
        headers: names in lower case.
        query: the query of the URL.
        path: the values of the segments in braces.
    """

    body: bytes = b""
    headers: Mapping[str, str] = field(factory=dict)
    query: Mapping[str, str] = field(factory=dict)
    path: Mapping[str, str] = field(factory=dict)


Arguments: TypeAlias = Mapping[str, Any] | HandlerRequest
"""Of a call of a custom handler: its arguments by name, or a request of which they are made; the answer to a
request is a `Reply` with a body of bytes."""


@frozen
class Reply:
    """The answer of a custom handler, with a status and headers.

    Attributes:
        body: `bytes`, `str`, a message, or a value that JSON can carry.
        status: of HTTP.
        headers: of the response; ``content-type`` replaces the one that follows from the body.
    """

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)

    def encoded(self) -> Reply:
        """Return the same with a body of `bytes`, ready for any transport."""
        kind, body = "application/json", self.body
        if isinstance(body, bytes | bytearray | memoryview):
            kind, body = "application/octet-stream", bytes(body)
        elif isinstance(body, str):
            kind, body = "text/plain; charset=utf-8", body.encode()
        elif body is None:
            return Reply(b"", self.status, self.headers)
        else:
            body = dumps(body)
        lower = {name.lower(): value for name, value in self.headers.items()}
        return Reply(body, self.status, {"content-type": kind, **lower} if body else lower)


def handlers_of(cls: type) -> dict[str, HandlerOptions]:
    """Return the custom handlers of a class: attribute name -> the options of its mark."""
    found: dict[str, HandlerOptions] = {}
    for name in dir(cls):
        options = getattr(inspect.getattr_static(cls, name, None), _MARK, None)
        if options is not None:
            found[name] = options
    return found


def check_root_paths(
    name: str,
    handlers: Handlers,
    others: Iterable[tuple[str, Handlers]],
) -> None:
    """Refuse a model that offers a path at the root of the server which another model offers there.

    Args:
        name: of the model.
        handlers: its `ModelInfo.handlers`.
        others: name and handlers of each model that is loaded.

    Raises:
        ModelLoadError: names both models and the path.
    """
    mine = {options.key for options in handlers.values() if options.claims_root}
    for other, theirs in others if mine else ():
        for options in theirs.values():
            if other != name and options.claims_root and options.key in mine:
                raise ModelLoadError(
                    f"Model {name} offers {options} at the root of the server, "
                    f"as model {other} does; unload one of them, or leave out root=True."
                )


def find_handler(
    handlers: Handlers, verb: str, segments: Sequence[str], *, root: bool
) -> tuple[str | None, dict[str, str], set[str]]:
    """Return the handler for a path, which is given without the part before it.

    Returns:
        Its attribute name (None if there is none for this verb), the values of the segments in braces, and
        all verbs that the path takes.
    """
    chosen: str | None = None
    values: dict[str, str] = {}
    verbs: set[str] = set()
    # Literal segments take precedence over segments in braces.
    for name, options in sorted(handlers.items(), key=lambda item: item[1].rest_path.count("{")):
        matched = _match(options.rest_path.split("/")[1:], segments)
        if not (options.root if root else options.below) or matched is None:
            continue
        verbs.add(options.rest_method)
        if chosen is None and options.rest_method == verb:
            chosen, values = name, matched
    return chosen, values, verbs


def _match(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    values = {}
    for wanted, segment in zip(pattern, segments, strict=True):
        if wanted[:1] == "{" and wanted[-1:] == "}":
            values[wanted[1:-1]] = segment
        elif wanted != segment:
            return None
    return values
