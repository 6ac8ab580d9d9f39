"""Tensors over gRPC: `InferInputTensor` and `InferOutputTensor`, which have the same fields."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload, MLSrvError
from mlsrv_protocol.grpc.message_classes import message_class, parse
from mlsrv_protocol.grpc.parameters import Value, decode_entry, encode_parameters, to_parameters
from mlsrv_protocol.grpc.wire_format import fields, len_field, len_header, numbers, packed, signed, text, utf8
from mlsrv_protocol.inference import RequestInput, ResponseOutput
from mlsrv_protocol.message import TensorData
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.pieces import pieces_of
from mlsrv_protocol.quoting import clip
from mlsrv_protocol.raw import Raw, from_raw, octets, texts_from_raw, to_raw
from mlsrv_protocol.strings import fitting_shape
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.validation import (
    MAX_DIMENSIONS,
    as_integers,
    check_count,
    check_name,
    check_shape,
    check_texts,
    refuse_shared_memory,
)

Span = tuple[int, int]
"""The bounds of a part of a message: `body[start:stop]`."""
Parts = tuple[str, list[int], Datatype, TensorData, Parameters | None]
"""The fields of `RequestInput` and `ResponseOutput`, in their order."""

_NAME, _DATATYPE, _SHAPE, _LENGTH, _PARAMETER, _CONTENTS = 0x0A, 0x12, 0x1A, 0x18, 0x22, 0x2A
_CONTENTS_CLASS = "inference.InferTensorContents"
_DATATYPES = {datatype.value.encode(): datatype for datatype in Datatype}
_DATATYPE_FIELDS = {datatype: len_field(_DATATYPE, datatype.value.encode()) for datatype in Datatype}
TYPED = {
    Datatype.BOOL: ("bool_contents", np.bool_),
    Datatype.INT8: ("int_contents", np.int32),
    Datatype.INT16: ("int_contents", np.int32),
    Datatype.INT32: ("int_contents", np.int32),
    Datatype.INT64: ("int64_contents", np.int64),
    Datatype.UINT8: ("uint_contents", np.uint32),
    Datatype.UINT16: ("uint_contents", np.uint32),
    Datatype.UINT32: ("uint_contents", np.uint32),
    Datatype.UINT64: ("uint64_contents", np.uint64),
    Datatype.FP32: ("fp32_contents", np.float32),
    Datatype.FP64: ("fp64_contents", np.float64),
    Datatype.BYTES: ("bytes_contents", np.bytes_),
}
"""The field of the typed contents of each datatype, and the numpy type of its values."""
_IN_MEMORY = {Datatype.BOOL: 0x0A, Datatype.FP32: 0x32, Datatype.FP64: 0x3A}
"""Tags of the typed contents whose packed form is the same as the array in memory."""


class _Tensor(NamedTuple):
    name: str
    shape: list[int]
    datatype: Datatype
    expected: int
    parameters: Parameters | None
    contents: tuple[bytes, int, int] | None


def decode_tensors(
    body: bytes, spans: Sequence[Span], raw: Sequence[Span], group: str
) -> tuple[list[Parts], bool]:
    """Decode the tensors of a message; return their fields, and whether one has typed contents.

    Entries of `raw` belong, in order, to the tensors that have no contents of their own.

    Args:
        body: the message.
        spans, raw: the bounds of its tensors and of its raw contents.
        group: `inputs` or `outputs`, for messages.

    Raises:
        InvalidPayload: the sentence names the tensor.
    """
    tensors = []
    bare = texts = 0
    for at, (start, stop) in enumerate(spans):
        try:
            tensor = _decode_tensor(body, start, stop)
            if tensor.datatype is Datatype.BYTES and group == "inputs":
                texts += tensor.expected
                check_texts(texts)
        except InvalidPayload as error:
            raise InvalidPayload(f"{group}[{at}]: {error}") from None
        tensors.append(tensor)
        bare += tensor.contents is None
    entries = raw if bare == len(raw) == len(tensors) else _match_raw_contents(tensors, raw, group)
    found: list[Parts] = []
    for at, (tensor, entry) in enumerate(zip(tensors, entries, strict=True)):
        try:
            shape, data = _from_contents(tensor) if entry is None else _from_entry(body, entry, tensor)
        except InvalidPayload as error:
            raise InvalidPayload(f"{group}[{at}] {clip(tensor.name)}: {error}") from None
        found.append((tensor.name, shape, tensor.datatype, data, tensor.parameters))
    return found, None in entries


def encode_tensors(
    tensors: Sequence[RequestInput | ResponseOutput],
    tags: tuple[int, int],
    typed: bool,
    group: str,
    failure: type[MLSrvError],
) -> list[Raw]:
    """Encode tensors as the pieces of their fields, raw contents last.

    Args:
        tensors: what to encode.
        tags: of the field for the tensor, and of that for its raw contents.
        typed: write `contents`. When a tensor is FP16 or BF16, which have none, all are raw.
        group: `inputs` or `outputs`, for messages.
        failure: raised when a tensor's parts do not fit; the sentence names the tensor.
    """
    tag, raw_tag = tags
    typed = typed and all(tensor.datatype in TYPED for tensor in tensors)
    described: list[Raw] = []
    last: list[Raw] = []
    for at, tensor in enumerate(tensors):
        try:
            shape = as_integers(tensor.shape)
            expected = check_shape(shape)
            datatype = tensor.datatype if type(tensor.datatype) is Datatype else Datatype(tensor.datatype)
            if datatype is Datatype.BYTES:
                shape = _fitting(tensor.data, shape, expected)
                expected = check_shape(shape)
            content = _tensor_fields(tensor, datatype, shape)
            if typed:
                contents = _to_contents(tensor.data, datatype, shape, expected)
                size = size_of(contents)
                content += len_header(_CONTENTS, size)
                described += [len_header(tag, len(content) + size) + content, *contents]
            else:
                data = to_raw(tensor.data, datatype, shape, expected)
                described.append(len_field(tag, content))
                last += [len_header(raw_tag, _size(data)), data]
        except InvalidPayload as error:
            raise failure(f"{group}[{at}] {clip(tensor.name)}: {error}") from None
    return described + last


def size_of(pieces: Iterable[Raw]) -> int:
    """Return the size of all pieces together, in bytes."""
    return sum(map(_size, pieces))


def _size(piece: Raw) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.nbytes


def _decode_tensor(body: bytes, start: int, stop: int) -> _Tensor:
    name = ""
    shape: list[int] = []
    datatype: Datatype | None = None
    values: dict[str, Value] = {}
    contents: tuple[bytes, int, int] | None = None
    for tag, a, b in fields(body, start, stop):
        if tag == _NAME:
            name = text(body, a, b)
        elif tag == _DATATYPE:
            datatype = _DATATYPES.get(body[a:b]) or Datatype(text(body, a, b))
        elif tag == _SHAPE:
            shape += _lengths(body, a, b)
        elif tag == _LENGTH:
            shape.append(signed(a))
        elif tag == _CONTENTS:
            # Protobuf merges repeated occurrences of a message: their bytes are joined.
            merged = b"" if contents is None else contents[0][contents[1] : contents[2]] + body[a:b]
            contents = (merged, 0, len(merged)) if contents is not None else (body, a, b)
        elif tag == _PARAMETER:
            key, values[key] = decode_entry(body, a, b)
    check_name(name)
    if datatype is None:
        raise InvalidPayload(f"datatype is missing; it is one of {', '.join(Datatype)}.")
    parameters = None
    if values:
        parameters = to_parameters(values)
        refuse_shared_memory(parameters)
    return _Tensor(name, shape, datatype, check_shape(shape), parameters, contents)


def _lengths(body: bytes, start: int, stop: int) -> list[int]:
    if stop - start > 10 * MAX_DIMENSIONS:
        raise InvalidPayload(f"shape has too many dimensions; at most {MAX_DIMENSIONS} are possible.")
    return list(map(signed, numbers(body, start, stop)))


def _match_raw_contents(tensors: Sequence[_Tensor], raw: Sequence[Span], group: str) -> list[Span | None]:
    """Return the raw contents of each tensor; None for one with typed contents."""
    if raw:
        # Some clients send an empty `contents` along with raw contents.
        for is_bare in (_has_no_contents, _has_empty_contents):
            bare = [is_bare(tensor) for tensor in tensors]
            if sum(bare) == len(raw):
                entries = iter(raw)
                return [next(entries) if takes_one else None for takes_one in bare]
        raise InvalidPayload(
            f"There are {len(raw)} raw contents for {sum(map(_has_no_contents, tensors))} {group} without "
            "contents; each needs exactly one of the two."
        )
    for at, tensor in enumerate(tensors):
        if tensor.contents is None and tensor.expected:
            raise InvalidPayload(
                f"{group}[{at}] {clip(tensor.name)}: it has neither contents nor raw contents."
            )
    return [(0, 0) if tensor.contents is None else None for tensor in tensors]


def _has_no_contents(tensor: _Tensor) -> bool:
    return tensor.contents is None


def _has_empty_contents(tensor: _Tensor) -> bool:
    return tensor.contents is None or tensor.contents[1] == tensor.contents[2]


def _from_entry(body: bytes, entry: Span, tensor: _Tensor) -> tuple[list[int], TensorData]:
    if tensor.datatype is Datatype.BYTES:
        return texts_from_raw(body, *entry, tensor.shape, tensor.expected)
    return tensor.shape, from_raw(body, *entry, tensor.datatype, tensor.shape, tensor.expected)


def _from_contents(tensor: _Tensor) -> tuple[list[int], TensorData]:
    assert tensor.contents is not None
    body, start, stop = tensor.contents
    datatype, expected = tensor.datatype, tensor.expected
    if start == stop:
        check_count(0, tensor.shape, expected)
        return tensor.shape, [] if datatype is Datatype.BYTES else np.empty(0, datatype.dtype)
    if datatype not in TYPED:
        raise InvalidPayload(f"{datatype} has no typed contents; send it as raw contents.")
    name, kind = TYPED[datatype]
    if body[start] == _IN_MEMORY.get(datatype) and datatype.itemsize is not None:
        _, at, end = next(fields(body, start, stop))
        if end == stop and end - at == expected * datatype.itemsize:
            array = np.frombuffer(body, datatype.dtype, expected, at)
            if datatype is not Datatype.BOOL or array.view(np.uint8).max(initial=0) <= 1:
                return tensor.shape, array
    contents = parse(message_class(_CONTENTS_CLASS), body[start:stop])
    given = [field.name for field, _ in contents.ListFields()]
    if given != [name]:
        raise InvalidPayload(f"it has {' and '.join(given)}; {datatype} takes {name} alone.")
    values = getattr(contents, name)
    if datatype is Datatype.BYTES:
        elements: list[str | bytes] = []
        for piece in pieces_of(values):
            elements += piece
        return _fitting(elements, tensor.shape, expected), elements
    check_count(len(values), tensor.shape, expected)
    array = np.concatenate([np.array(piece, dtype=kind) for piece in pieces_of(values)])
    return tensor.shape, numeric(array, datatype)


def _fitting(data: TensorData, shape: list[int], expected: int) -> list[int]:
    """Return the shape of a BYTES tensor by the number of its elements, as `fitting_shape` does."""
    fits = isinstance(data, list) and len(data) == expected
    return shape if fits else fitting_shape(data, shape, expected)


def _to_contents(data: TensorData, datatype: Datatype, shape: list[int], expected: int) -> list[Raw]:
    name, _ = TYPED[datatype]
    if datatype is Datatype.BYTES:
        elements = octets(data)
        check_count(len(elements), shape, expected)
        return _serialized(name, elements)
    array = numeric(data, datatype)
    check_count(len(array), shape, expected)
    if not expected:
        return []
    if datatype in _IN_MEMORY:
        return [len_header(_IN_MEMORY[datatype], array.nbytes), array.data]
    return _serialized(name, array)


def _serialized(name: str, values: Any) -> list[Raw]:
    """Write one field of typed contents; what several messages repeat in it is one list for who reads them
    one after the other."""
    made = message_class(_CONTENTS_CLASS)
    return [made(**{name: piece}).SerializeToString() for piece in pieces_of(values)]


def _tensor_fields(tensor: RequestInput | ResponseOutput, datatype: Datatype, shape: list[int]) -> bytes:
    name = check_name(tensor.name)
    describe = _known_description if len(name) <= _LONGEST_KNOWN else _description
    found = describe(name, datatype, *shape)
    if tensor.parameters is not None:
        found += encode_parameters(tensor.parameters, _PARAMETER)
    return found


def _description(name: str, datatype: Datatype, *shape: int) -> bytes:
    found = len_field(_NAME, utf8(name)) + _DATATYPE_FIELDS[datatype]
    if shape:
        found += len_field(_SHAPE, packed(shape))
    return found


_LONGEST_KNOWN: Final = 128
_known_description = lru_cache(256)(_description)  # a model has the same tensors in each answer
