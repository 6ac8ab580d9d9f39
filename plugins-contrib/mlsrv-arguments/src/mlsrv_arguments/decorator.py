"""Decorator: `decode_args`, which decodes inputs and encodes results by the annotations of a method."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs
from attrs import frozen

from mlsrv.codecs.content import check_content_types, decode_inputs
from mlsrv.context import CallContext, current_context
from mlsrv.errors import InputsNotFound
from mlsrv.timeline import timed
from mlsrv_arguments.hints import Read, codec_for, hint_text, reader, simplify, unusable, without_none
from mlsrv_arguments.results import Results
from mlsrv_arguments.schema import has_default, tensors_of
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, MetadataTensor, Parameters, RequestInput

if TYPE_CHECKING:
    from mlsrv.codecs.model_view import ModelView

_F = TypeVar("_F", bound=Callable[..., Any])
_REQUIRED: Any = inspect.Parameter.empty


def decode_args(function: _F) -> _F:
    """Let a method ``predict`` or ``predict_stream`` take decoded inputs and return values to be encoded.

    ::

        class Answers(MLModel):
            @decode_args
            async def predict(self, questions: list[str], hints: np.ndarray | None = None) -> np.ndarray: ...

    **Arguments** are the inputs of the same names. An annotation is the ``TypeHint`` of a codec of the kernel
    or of the model (``np.ndarray``, ``NDArray[...]``, ``list[str]``, ``list[bytes]``, ``list[datetime]``, …),
    a list of ``int``, ``float`` or ``bool``, one such value for an input with one element, or ``Any``, which
    follows the content type of the input. Numbers are converted only where nothing is lost: 3.0 is an
    ``int``, 3.5 is not. An argument with a default, or that may be None, need not be sent.
    Further:

    * ``Literal["a", "b"]``: one text or number of these;
    * the ``TypeHint`` of a request codec (``pd.DataFrame``), ``dict`` or ``dict[str, X]``, or a dataclass,
      whose fields are inputs: one argument that takes all inputs which no other argument names;
    * `Parameters`: those of the request; ``headers: dict[str, str]``: the headers of the call, names in lower
      case; `InferenceRequest`: the request itself, with any inputs where no argument takes
      one; `CallContext`: deadline, cancellation, request id.

    **The result** is encoded by the return annotation: one output ``output-0``; for ``tuple[X, Y]`` (also a
    tuple of hints) ``output-0``, ``output-1``, …; for a DataFrame its columns, for ``dict[str, X]`` its
    items. The names are those of the model's metadata if it declares as many outputs. Without an annotation
    the type of the value decides. A content type that the request or the metadata names for an output is used
    instead. Only the outputs that the request asks for are sent. ``predict_stream`` is written as a
    generator, ``-> AsyncIterator[X]``, and runs once for each request of the stream.

    The annotations are also the model's metadata where neither its settings nor its `metadata` declare any.

    A wrong signature is an error when the class is defined, a wrong annotation when the model is loaded, and
    so is one that two codecs claim (`OfferClash`); codecs of the model come before those of plugins.

    Raises:
        TypeError: the method cannot be called with inputs by name.
        InputsNotFound: (in calls) inputs are missing or unknown, with their names.
        CodecError: (in calls) an input does not fit its annotation.
    """
    return decorated(function, is_method=True)


def decorated(function: _F, *, is_method: bool) -> _F:
    """Return a method that takes requests for a function; see `decode_args`.

    Args:
        function: takes decoded inputs.
        is_method: whether its first argument is the model.
    """
    signature = _Signature(function, is_method)
    call = signature.call
    wrapper: Any
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def wrapper(self: ModelView, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[Any]:
            plan = signature.plan(self)
            async for payload in payloads:
                async with aclosing(call(self, plan.arguments(payload))) as values:
                    async for value in values:
                        yield plan.results.response(value, payload)

    elif inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapper(self: ModelView, payloads: Iterator[InferenceRequest]) -> Iterator[Any]:
            plan = signature.plan(self)
            for payload in payloads:
                with closing(call(self, plan.arguments(payload))) as values:
                    for value in values:
                        yield plan.results.response(value, payload)

    elif inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(self: ModelView, payload: InferenceRequest) -> InferenceResponse:
            plan = signature.plan(self)
            return plan.results.response(await call(self, plan.arguments(payload)), payload)

    else:

        @functools.wraps(function)
        def wrapper(self: ModelView, payload: InferenceRequest) -> InferenceResponse:
            plan = signature.plan(self)
            return plan.results.response(call(self, plan.arguments(payload)), payload)

    wrapper.__mlsrv_prepare__ = signature.plan
    return cast("_F", wrapper)


class _Signature:
    """The parameters of a decorated method; `plan` decides what they mean for one model."""

    def __init__(self, function: Callable[..., Any], is_method: bool) -> None:
        self.function = function
        self.name = function.__qualname__
        self._is_method = is_method
        parameters = [*inspect.signature(function).parameters.values()][is_method:]
        for parameter in parameters:
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"{self.name}: decode_args passes arguments by name, {parameter} cannot be.")
            if parameter.annotation is _REQUIRED:
                raise TypeError(f"{self.name}: decode_args needs an annotation for {parameter.name}.")
        self.defaults = {parameter.name: parameter.default for parameter in parameters}

    def call(self, model: ModelView, arguments: Mapping[str, Any]) -> Any:
        """Call the function."""
        return self.function(model, **arguments) if self._is_method else self.function(**arguments)

    def plan(self, model: ModelView) -> Plan:
        """Return the plan for a model, made once for each."""
        plans: dict[_Signature, Plan] = vars(model).setdefault("_decode_args", {})
        if self not in plans:
            plans[self] = self._plan(model)
        return plans[self]

    def _plan(self, model: ModelView) -> Plan:
        try:
            hints = get_type_hints(self.function)
        except NameError as error:
            raise TypeError(f"{self.name}: an annotation cannot be resolved: {error}") from None
        results = Results(model, self.name, hints.get("return", Any))
        plan = Plan(model, results)
        given_hints = get_type_hints(self.function, include_extras=True)
        for name, default in self.defaults.items():
            hint, optional = without_none(simplify(hints[name]))
            given = _GIVEN.get(hint) or (_headers if name == "headers" and hint in _HEADER_HINTS else None)
            if given is not None:
                plan.given[name] = given
                plan.takes_request |= hint is InferenceRequest
                continue
            argument = _Argument(name, None if optional and default is _REQUIRED else default)
            is_optional = argument.default is not _REQUIRED
            plan.inputs += tensors_of(model, name, given_hints[name], optional=is_optional)
            read = reader(model, hint)
            if read is not None:
                plan.named[name] = argument, read
                continue
            rest = _rest(model, hint)
            if rest is None:
                raise TypeError(
                    f"{self.name}: no codec decodes {hint_text(hints[name])}, the annotation of {name}."
                    f"{unusable(model)}"
                )
            if plan.rest is not None:
                other = plan.rest[0].name
                raise TypeError(f"{self.name}: both {other} and {name} would take all remaining inputs.")
            plan.rest = argument, rest
        return plan


@frozen
class _Argument:
    name: str
    default: Any


_Rest: TypeAlias = Callable[[InferenceRequest], Any]


class Plan:
    """Makes the arguments of one model's method from a request, and responses from its results.

    Attributes:
        inputs, outputs: the tensors that the annotations describe, for the metadata of the model.
    """

    def __init__(self, model: ModelView, results: Results) -> None:
        self.results = results
        self.given: dict[str, Callable[[InferenceRequest], Any]] = {}
        self.named: dict[str, tuple[_Argument, Read]] = {}
        self.rest: tuple[_Argument, _Rest] | None = None
        self.takes_request = False
        self.inputs: list[MetadataTensor] = []
        self._model = model

    @property
    def outputs(self) -> list[MetadataTensor]:
        return self.results.described

    def arguments(self, request: InferenceRequest) -> dict[str, Any]:
        """Return the arguments of one call. Raises `InputsNotFound`, `CodecError`."""
        return timed("decode", self._arguments, request)

    def _arguments(self, request: InferenceRequest) -> dict[str, Any]:
        model = self._model
        check_content_types(model, request)
        found = {name: given(request) for name, given in self.given.items()}
        others: list[RequestInput] = []
        for tensor in request.inputs:
            if tensor.name in self.named:
                found[tensor.name] = self.named[tensor.name][1](tensor)
            else:
                others.append(tensor)
        missing = []
        for name, (argument, _) in self.named.items():
            if name not in found:
                found[name] = argument.default
                if argument.default is _REQUIRED:
                    missing.append(name)
        if missing:
            raise InputsNotFound.missing(model.name, missing, self._expected())
        if self.rest is not None:
            argument, read = self.rest
            if others or argument.default is _REQUIRED:
                found[argument.name] = read(attrs.evolve(request, inputs=others))
            else:
                found[argument.name] = argument.default
        elif others and (self.named or not self.takes_request):
            raise InputsNotFound.unknown(model.name, [tensor.name for tensor in others], self._expected())
        return found

    def _expected(self) -> list[str]:
        return [*self.named, *(["any others"] if self.rest is not None else [])]


def _rest(model: ModelView, hint: Any) -> _Rest | None:
    """Return the reader of one argument that takes all inputs not named by another, or None."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _fields_reader(model, hint)
    if hint is dict or get_origin(hint) is dict:
        values = get_args(hint)[1] if hint is not dict else Any
        read = reader(model, values)
        if read is None:
            return None
        return lambda request: {tensor.name: read(tensor) for tensor in request.inputs}
    codec = codec_for(model, hint, "request")
    if codec is None:
        return None
    return lambda request: codec.decode_request(decode_inputs(model, request))


def _fields_reader(model: ModelView, cls: type[Any]) -> _Rest:
    """Return the reader of a dataclass, whose fields are inputs."""
    hints = get_type_hints(cls)
    reads: dict[str, Read] = {}
    required = []
    for field in dataclasses.fields(cls):
        hint, optional = without_none(simplify(hints[field.name]))
        read = reader(model, hint)
        if read is None:
            raise TypeError(f"{cls.__name__}.{field.name}: no codec decodes {hint_text(hint)}.")
        reads[field.name] = read
        if not has_default(field):
            required.append((field.name, optional))

    def read_all(request: InferenceRequest) -> Any:
        found: dict[str, Any] = {name: None for name, optional in required if optional}
        for tensor in request.inputs:
            if tensor.name not in reads:
                raise InputsNotFound.unknown(model.name, [tensor.name], list(reads))
            found[tensor.name] = reads[tensor.name](tensor)
        missing = [name for name, _ in required if name not in found]
        if missing:
            raise InputsNotFound.missing(model.name, missing, list(reads))
        return cls(**found)

    return read_all


def _parameters(request: InferenceRequest) -> Parameters:
    return request.parameters or Parameters()


def _headers(request: InferenceRequest) -> Mapping[str, str]:
    found = request.parameters.headers if request.parameters is not None else None
    return dict(_context(request).headers) if found is None else found


def _context(request: InferenceRequest) -> CallContext:
    return current_context.get() or CallContext()


_GIVEN: dict[Any, Callable[[InferenceRequest], Any]] = {
    Parameters: _parameters,
    CallContext: _context,
    InferenceRequest: lambda request: request,
}
_HEADER_HINTS = (dict, dict[str, str], Any)
