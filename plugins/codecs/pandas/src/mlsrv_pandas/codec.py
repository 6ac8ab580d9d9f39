"""DataFrame codec: the content type ``pd`` (its columns: `mlsrv_pandas.writing` and `.reading`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, TypeVar

import pandas as pd

from mlsrv.codecs import RequestCodec
from mlsrv.errors import CodecError
from mlsrv_pandas.reading import to_series
from mlsrv_pandas.writing import to_tensor
from mlsrv_protocol.plain_arrays import as_text
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
)

_Tensor = TypeVar("_Tensor", RequestInput, ResponseOutput)


class PandasCodec(RequestCodec):
    """Codec between a whole request, or response, and a DataFrame with one column for each tensor (MLServer
    1.5 manual, section 8.1.2).

    Decoding: a tensor has one element for each row; an input that has a content type of its own becomes the
    column that this gives. All columns have the same length, the index counts from 0.

    Encoding: a column of n rows has the shape ``[n, 1]``. A dtype that the receiver could not tell from the
    data travels as the parameter ``pd_dtype``. The index is not sent.

    Raises:
        CodecError: a shape is not that of a column, lengths differ, or no tensor holds a column; names the
        column.
    """

    ContentType: ClassVar[str] = "pd"
    TypeHint: ClassVar[Any] = pd.DataFrame

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, pd.DataFrame)

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> pd.DataFrame:
        return _frame(request.inputs)

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> pd.DataFrame:
        return _frame(response.outputs)

    @classmethod
    def encode_request(
        cls, payload: pd.DataFrame, *, use_bytes: bool = True, **kwargs: Any
    ) -> InferenceRequest:
        return InferenceRequest(
            inputs=list(_tensors(RequestInput, payload, use_bytes)),
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def encode_response(
        cls,
        model_name: str,
        payload: pd.DataFrame,
        model_version: str | None = None,
        *,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> InferenceResponse:
        return InferenceResponse(
            model_name=model_name,
            model_version=model_version,
            outputs=list(_tensors(ResponseOutput, payload, use_bytes)),
            parameters=Parameters(content_type=cls.ContentType),
        )


def _frame(tensors: Iterable[RequestInput] | Iterable[ResponseOutput]) -> pd.DataFrame:
    columns: dict[str, pd.Series[Any]] = {}
    for tensor in tensors:
        if tensor.name in columns:
            raise CodecError(f'Two columns are called "{tensor.name}"; names must be unique.')
        columns[tensor.name] = to_series(tensor)
    if len({len(column) for column in columns.values()}) > 1:
        counts = ", ".join(f'"{name}" has {len(column)}' for name, column in columns.items())
        raise CodecError(f"The columns of a DataFrame must have the same number of rows: {counts}.")
    return pd.DataFrame(columns)


def _tensors(kind: type[_Tensor], frame: Any, use_bytes: bool) -> Iterator[_Tensor]:
    if not isinstance(frame, pd.DataFrame):
        raise CodecError(f'The content type "pd" encodes a DataFrame, not a {type(frame).__name__}.')
    names = [as_text(name) for name in frame.columns]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise CodecError(f'Two columns are called "{name}"; names must be unique.')
        datatype, data, parameters = to_tensor(name, frame.iloc[:, index], use_bytes)
        yield kind(name, [len(frame), 1], datatype, data, parameters)
