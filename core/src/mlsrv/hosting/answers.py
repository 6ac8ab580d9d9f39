"""Answers: the responses of one model, checked and completed as they leave its code."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlsrv.context import CallContext
from mlsrv.errors import ModelFailed, OutputNotFound
from mlsrv.model import MLModel
from mlsrv_protocol.converters import to_parameters
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.strings import fitting_shape
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_protocol.verbatim import Verbatim


class Answers:
    """Completes responses of a model: name, version and id, the outputs that were asked for, the shapes of
    texts, the values of masked arrays.

    Args:
        cls: of the model.
        name, version: of the model.
        declared: the outputs in its metadata.
    """

    def __init__(
        self, cls: type[MLModel], name: str, version: str | None, declared: Sequence[MetadataTensor] = ()
    ) -> None:
        self._cls = cls
        self._name = name
        self._version = version
        self._declared = declared
        self._chooses_outputs = _chooses(cls)

    def finished(
        self,
        response: Any,
        request: InferenceRequest | None,
        context: CallContext,
        method: Callable[..., Any],
        is_first: bool = True,
    ) -> InferenceResponse:
        """Return the response as it leaves the model.

        Args:
            response: what the code of the model returned.
            request: that it answers; of a stream the first one, None if there was none.
            context: of the request.
            method: of `MLModel` that made it.
            is_first: False for each response of a stream but the first.

        Raises:
            ModelFailed: it is no response, or two of its outputs have one name.
            OutputNotFound: the request asks for an output that the model does not have.
        """
        if not isinstance(response, InferenceResponse):
            raise self._wrong_type(response, method.__name__)
        outputs = response.outputs
        if len(outputs) > 1:
            self._check_names(outputs, method)
        if (
            request is not None
            and request.outputs
            and not (method is MLModel.predict and self._chooses_outputs)
        ):
            # Of a stream, each response may have some of the outputs, and the last one perhaps none.
            outputs = self._chosen(outputs, request.outputs, may_lack_all=not is_first)
        for output in outputs:
            if output.datatype is Datatype.BYTES:
                _settle_shape(output)
            elif type(output.data) is not np.ndarray and isinstance(output.data, np.ma.MaskedArray):
                self._fill(output)
        # A new message: a model may answer several requests with one object.
        return InferenceResponse.construct(
            self._name,
            [*outputs],
            self._version,
            (request.id if request is not None else None) or context.request_id,
            to_parameters(response.parameters),
        )

    def _chosen(
        self, outputs: list[ResponseOutput], asked: Sequence[RequestOutput], may_lack_all: bool
    ) -> list[ResponseOutput]:
        """Return the outputs that a request asks for, in its order, without those that the model declares and
        does not have now.

        Raises:
            OutputNotFound: it declares none of that name, or has none of them all.
        """
        by_name = {output.name: output for output in outputs}
        names = dict.fromkeys(output.name for output in asked)
        found = [by_name[name] for name in names if name in by_name]
        if len(found) < len(names) and not may_lack_all:
            declared = {tensor.name for tensor in self._declared}
            absent = [name for name in names if name not in by_name]
            unknown = [name for name in absent if name not in declared]
            if unknown or not found:
                raise OutputNotFound.unknown(self._name, (unknown or absent)[0], by_name)
        return found

    def _fill(self, output: ResponseOutput) -> None:
        # Here, before batching, caches and worker processes take the array apart and lose its mask.
        try:
            output.data = numeric(output.data, output.datatype)
        except InvalidPayload as error:
            raise ModelFailed(f'Model {self._name}, output "{output.name}": {error}') from None

    def _check_names(self, outputs: Sequence[ResponseOutput], method: Callable[..., Any]) -> None:
        names = [output.name for output in outputs]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            place = place_of(getattr(self._cls, method.__name__))
            raise ModelFailed(
                f'Model {self._name}: {method.__name__} returned two outputs called "{twice}"; '
                f"names must be unique{place}."
            )

    def _wrong_type(self, response: object, name: str) -> ModelFailed:
        method = getattr(self._cls, name)
        return ModelFailed(
            f"Model {self._name}: {name} returned a {type(response).__name__}, "
            f"not an InferenceResponse{place_of(method)}."
        )


def place_of(method: Callable[..., Any]) -> str:
    """Return the file and line of a method of user code, for the end of a sentence."""
    code = getattr(inspect.unwrap(method), "__code__", None)
    return f" ({Path(code.co_filename).name}, line {code.co_firstlineno})" if code else ""


def _chooses(cls: type[MLModel]) -> bool:
    """Return whether `predict` of a class itself answers with the outputs that a request asks for."""
    owner = next(base for base in cls.__mro__ if "predict" in vars(base))
    return bool(vars(owner).get("own_output_choice"))


def _settle_shape(output: ResponseOutput) -> None:
    """Let the shape of texts count texts, where a model wrote how many characters they have."""
    data = output.data
    if type(data) is Verbatim:
        return
    expected = math.prod(output.shape)
    if isinstance(data, str | bytes) or (isinstance(data, list) and len(data) != expected):
        try:
            output.shape = fitting_shape(data, output.shape, expected)
        except InvalidPayload:
            return  # the writer of the response says what does not fit
