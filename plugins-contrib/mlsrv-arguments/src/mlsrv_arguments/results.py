"""Results: responses from the values that a decorated method returns."""

from __future__ import annotations

import collections.abc
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_origin

from mlsrv.codecs.content import encode_named
from mlsrv.errors import MLSrvError, ModelFailed, OutputNotFound
from mlsrv.timeline import timed
from mlsrv_arguments.hints import Write, codec_for, hint_text, simplify, unusable, without_none, writer
from mlsrv_arguments.schema import tensors_of
from mlsrv_protocol.plain_arrays import as_text
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, RequestOutput, ResponseOutput

if TYPE_CHECKING:
    from mlsrv.codecs.model_view import ModelView
    from mlsrv.codecs.registry import AnyRequestCodec

_STREAMS = (
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
    collections.abc.Iterator,
    collections.abc.Generator,
)

_Output: TypeAlias = "tuple[str, Callable[[RequestOutput], ResponseOutput]]"
_Expand: TypeAlias = Callable[[str, Any], Iterator[_Output]]


class Results:
    """Makes responses from the values of one method.

    Args:
        model: whose method it is.
        method: its name, for messages.
        hint: its return annotation; `Any` without one.

    Attributes:
        described: the outputs that the annotation describes; empty if the values decide.

    Raises:
        TypeError: no codec encodes what the annotation says.
    """

    def __init__(self, model: ModelView, method: str, hint: Any) -> None:
        self._model = model
        self._method = method
        # Not simplified first: ``Iterator[X]`` is what a stream is made of, ``Iterable[X]`` is a list.
        if get_origin(hint) in _STREAMS:
            hint = get_args(hint)[0]
        several = hint if isinstance(hint, tuple) else get_args(hint) if get_origin(hint) is tuple else ()
        self._all_alike = hint is Any or ... in several
        self._parts = [self._expand(part) for part in several or (hint,) if part is not ...]
        self._is_tuple = bool(several)
        named = [(f"output-{index}", part) for index, part in enumerate(several or (hint,))]
        parts = [tensors_of(model, name, part, for_input=False) for name, part in named]
        self.described = [] if self._all_alike or not all(parts) else [tensor for [tensor] in parts]

    def response(self, value: Any, request: InferenceRequest) -> InferenceResponse:
        """Return the response that carries a value.

        Raises:
            OutputNotFound: the request asks for an output that the value does not have.
            CodecNotFound, CodecError: the content type that the request names for an output does not do.
            ModelFailed: the value is not what the annotation says.
        """
        return (
            value if isinstance(value, InferenceResponse) else timed("encode", self._encoded, value, request)
        )

    def _encoded(self, value: Any, request: InferenceRequest) -> InferenceResponse:
        made = dict(self._outputs(value))
        wanted = request.outputs or [RequestOutput(name) for name in made]
        for output in wanted:
            if output.name not in made:
                raise OutputNotFound.unknown(self._model.name, output.name, made)
        return InferenceResponse(outputs=[made[output.name](output) for output in wanted])

    def _outputs(self, value: Any) -> Iterator[_Output]:
        if self._is_tuple and not isinstance(value, tuple | list):
            raise self._unfit(value, "a tuple is annotated")
        values = list(value) if self._is_tuple or isinstance(value, tuple) else [value]
        parts = self._parts * len(values) if self._all_alike else self._parts
        if len(parts) != len(values):
            raise self._unfit(value, f"{len(parts)} values are annotated")
        declared = [tensor.name for tensor in self._model.outputs]
        for index, (expand, item) in enumerate(zip(parts, values, strict=True)):
            name = declared[index] if len(declared) == len(values) else f"output-{index}"
            yield from expand(name, item)

    def _expand(self, hint: Any) -> _Expand:
        """Return the function that makes outputs from a value with this annotation."""
        hint, optional = without_none(simplify(hint))
        if optional:
            expand = self._expand(hint)
            return lambda name, value: iter(()) if value is None else expand(name, value)
        if hint is Any:
            return self._expand_any
        if hint is InferenceResponse:
            return self._refuse
        write = writer(self._model, hint)
        if write is not None:
            return lambda name, value: iter([self._one(name, value, write)])
        if hint is dict or get_origin(hint) is dict:
            items = writer(self._model, Any if hint is dict else get_args(hint)[1])
            if items is not None:
                return lambda name, value: self._expand_dict(value, items)
        codec = codec_for(self._model, hint, "request")
        if codec is None:
            raise TypeError(
                f"{self._method}: no codec encodes {hint_text(hint)}, the return annotation."
                f"{unusable(self._model)}"
            )
        return lambda name, value: self._expand_whole(value, codec)

    def _expand_any(self, name: str, value: Any) -> Iterator[_Output]:
        write = writer(self._model, Any)
        assert write is not None
        if isinstance(value, dict):
            return self._expand_dict(value, write)
        codecs = self._model.codecs
        whole = None if codecs.input_codec_for(value) is not None else codecs.request_codec_for(value)
        if whole is not None:
            return self._expand_whole(value, whole)
        return iter([self._one(name, value, write)])

    def _expand_dict(self, value: Any, write: Write) -> Iterator[_Output]:
        if not isinstance(value, dict):
            raise self._unfit(value, "a dict is annotated")
        return iter([self._one(as_text(name), item, write) for name, item in value.items()])

    def _expand_whole(self, value: Any, codec: AnyRequestCodec) -> Iterator[_Output]:
        try:
            response = codec.encode_response(self._model.name, value, self._model.version)
        except (MLSrvError, TypeError, ValueError) as error:
            raise self._unfit(value, error) from error
        return iter([(output.name, functools.partial(_as_it_is, output)) for output in response.outputs])

    def _one(self, name: str, value: Any, write: Write) -> _Output:
        def make(asked: RequestOutput) -> ResponseOutput:
            if value is None:
                raise self._unfit(value, "None is not annotated")
            made = encode_named(self._model, value, asked)
            if made is not None:
                return made
            try:
                return write(asked.name, value)
            except (MLSrvError, TypeError, ValueError) as error:
                raise self._unfit(value, error) from error

        return name, make

    def _refuse(self, name: str, value: Any) -> Iterator[_Output]:
        raise self._unfit(value, "an InferenceResponse is annotated")

    def _unfit(self, value: Any, why: object) -> ModelFailed:
        return ModelFailed(
            f"Model {self._model.name}: {self._method} returned a {type(value).__name__} "
            f"that does not fit its return annotation: {why}"
        )


def _as_it_is(output: ResponseOutput, asked: RequestOutput) -> ResponseOutput:
    return output
