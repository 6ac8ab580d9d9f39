"""Reading: requests as rows and options of a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

from mlsrv.codecs import NumpyCodec, StringCodec
from mlsrv.errors import CodecError, InferenceError, InputsNotFound
from mlsrv.model import MLModel
from mlsrv.types import Datatype, InferenceRequest, MetadataTensor, Parameters, RequestInput
from mlsrv_huggingface.codecs import ImageCodec, JSONCodec, NumpyListCodec, image_of, is_image
from mlsrv_huggingface.options import checked, parsed, plain_option
from mlsrv_huggingface.task import Field, Task

_LISTS = ("candidate_labels", "targets", "ignore_labels", "stop")
"""Options that are lists, also with one element."""


@frozen
class Given:
    """A request, read.

    Attributes:
        rows: one value for each row: what its field holds, or an object of fields by name.
        options: the checked options.
        chat: the messages of a conversation, where that came in place of rows.
    """

    rows: list[Any]
    options: dict[str, Any]
    chat: list[dict[str, Any]] | None = None


def declared_inputs(task: Task) -> list[MetadataTensor]:
    """Return the inputs of a task, for the metadata."""
    tensors = [_declared(one) for one in task.fields]
    for name in task.required:
        parameters = Parameters("str", by_row=False)
        tensors.append(MetadataTensor(name, Datatype.BYTES, [-1], parameters))
    return tensors


def read(model: MLModel, task: Task, request: InferenceRequest) -> Given:
    """Return what a request asks.

    Raises:
        InputsNotFound: an input is missing.
        InferenceError: an input or an option is unknown, or does not fit.
        CodecError: an input cannot be decoded.
    """
    columns: dict[str, list[Any]] = {}
    given: dict[str, Any] = dict(request.parameters.extra) if request.parameters is not None else {}
    chat: list[dict[str, Any]] | None = None
    only = _only_input(task, request)
    for tensor in request.inputs:
        found = task.fields[0] if tensor is only else _field(task, tensor.name)
        if found is not None:
            if found.name in columns:
                raise InferenceError(f'Model {model.name}: the input "{found.name}" was sent twice.')
            columns[found.name] = _rows(model, found, tensor)
        elif tensor.name == "messages" and task.name == "text-generation":
            chat = _messages(model, tensor)
        else:
            given[tensor.name] = _option(model, task, tensor)
    options = checked(model.name, task.name, task.options, given)
    if "max_tokens" in options:  # as clients of OpenAI call it
        options.setdefault("max_new_tokens", options.pop("max_tokens"))
    if missing := [name for name in task.required if name not in options]:
        raise InputsNotFound.missing(model.name, missing, [*_names(task), *task.required])
    return Given(_joined(model, task, columns, chat), options, chat)


def _only_input(task: Task, request: InferenceRequest) -> RequestInput | None:
    """Return the input of a task that has one, under a name of the client's own; else None."""
    others = [tensor for tensor in request.inputs if tensor.name not in task.options]
    return others[0] if len(task.fields) == 1 and len(others) == 1 and others[0].name != "messages" else None


def _names(task: Task) -> list[str]:
    return [one.name for one in task.fields]


def _field(task: Task, name: str) -> Field | None:
    return next((one for one in task.fields if name == one.name or name in one.aliases), None)


def _declared(one: Field) -> MetadataTensor:
    optional: dict[str, Any] = {"optional": True} if one.optional else {}
    if one.kind == "audio":
        return MetadataTensor(one.name, Datatype.FP32, [-1, -1], Parameters("nplist", **optional))
    if one.kind == "video":
        return MetadataTensor(one.name, Datatype.UINT8, [-1, -1, -1, -1, 3], Parameters("np", **optional))
    content_type = one.content_type or {"text": "str", "json": "str", "image": "pillow_image"}[one.kind]
    return MetadataTensor(one.name, Datatype.BYTES, [-1], Parameters(content_type, **optional))


def _joined(
    model: MLModel, task: Task, columns: dict[str, list[Any]], chat: Sequence[Any] | None
) -> list[Any]:
    """Return the rows: the values of the only field, or objects of all fields."""
    if chat is not None:
        if columns:
            raise InferenceError(f'Model {model.name}: send "messages" or "args", not both.')
        return []
    needed = [one.name for one in task.fields if not one.optional]
    if missing := [name for name in needed if name not in columns]:
        raise InputsNotFound.missing(model.name, missing, _names(task))
    if len(task.fields) == 1:
        return columns[task.fields[0].name]
    counts = {len(column) for column in columns.values()}
    count = max(counts)
    if not counts <= {1, count}:
        told = ", ".join(f"{name}: {len(column)}" for name, column in columns.items())
        raise InferenceError(
            f"Model {model.name}: its inputs must have equally many rows, or one for all ({told})."
        )
    full = {name: column * (count if len(column) == 1 else 1) for name, column in columns.items()}
    return [dict(zip(full, row, strict=True)) for row in zip(*full.values(), strict=True)]


def _rows(model: MLModel, one: Field, tensor: RequestInput) -> list[Any]:
    if one.kind == "image":
        return [_image(tensor.name, value) for value in _listed(model.decode(tensor, ImageCodec))]
    if one.kind == "audio":
        return _waveforms(tensor.name, model.decode(tensor, NumpyListCodec))
    if one.kind == "video":
        return _films(tensor.name, model.decode(tensor, NumpyCodec))
    found = _listed(model.decode(tensor, StringCodec))
    if one.kind == "text" and not all(isinstance(value, str) for value in found):
        raise CodecError(f'Input "{tensor.name}": its elements must be texts.')
    return found


def _listed(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OSU":
            return [str(one) if isinstance(one, str) else one for one in value.reshape(-1).tolist()]
        return list(value)
    return value if isinstance(value, list) else [value]


def _image(name: str, value: Any) -> Any:
    if is_image(value):
        return value
    try:
        if isinstance(value, bytes):
            return image_of(value)
        if isinstance(value, np.ndarray):
            from PIL import Image

            return Image.fromarray(value)
    except (ValueError, TypeError) as error:
        raise CodecError(f'Input "{name}": {error}.') from None
    # A text is never handed to a pipeline, which would open it as a URL or a file.
    raise CodecError(f'Input "{name}": images come as base64 of a file, or as arrays [height, width, 3].')


def _waveforms(name: str, value: Any) -> list[Any]:
    found = value if isinstance(value, list) else list(np.atleast_1d(np.asarray(value)))
    if found and all(np.size(one) == 1 for one in found):  # the samples of a single sound
        found = [np.asarray(found).reshape(-1)]
    arrays = [np.asarray(one) for one in found]
    if any(array.ndim != 1 or array.dtype.kind not in "fiu" for array in arrays):
        raise CodecError(f'Input "{name}": sounds come as numbers of the shape [samples] or [rows, samples].')
    return [_scaled(array) for array in arrays]


def _films(name: str, value: Any) -> list[Any]:
    array = np.asarray(value)
    array = array[np.newaxis] if array.ndim == 4 else array
    if array.ndim != 5 or array.shape[-1] != 3 or array.dtype != np.uint8 or 0 in array.shape[1:]:
        raise CodecError(
            f'Input "{name}": films come as UINT8 of the shape [frames, height, width, 3], or with '
            "rows before that."
        )
    return list(array)


def _scaled(array: Any) -> Any:
    """Return samples from -1 to 1; those of integers count in steps of their type."""
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    info = np.iinfo(array.dtype)
    middle = 0.0 if array.dtype.kind == "i" else (info.max + 1) / 2
    return ((array.astype(np.float64) - middle) / (info.max + 1 - middle)).astype(np.float32)


def _messages(model: MLModel, tensor: RequestInput) -> list[dict[str, Any]]:
    found = model.decode(tensor, JSONCodec)
    if isinstance(found, list) and len(found) == 1 and not _is_message(found[0]):
        # One text of the content type str, or one element of hg_jsonlist.
        found = parsed(found[0]) if isinstance(found[0], str) else found[0]
    if isinstance(found, list) and found and all(_is_message(one) for one in found):
        return found
    raise CodecError(
        f'Input "{tensor.name}": a JSON list of messages is expected, each with a "role" and a "content".'
    )


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and "content" in value


def _option(model: MLModel, task: Task, tensor: RequestInput) -> Any:
    if tensor.name not in task.options:
        return None if tensor.data is None else tensor.data  # refused, by name
    default = StringCodec if tensor.datatype is Datatype.BYTES else NumpyListCodec
    value = model.decode(tensor, default)
    if tensor.name in _LISTS:
        found = _listed(value)
        return found[0] if len(found) == 1 and isinstance(found[0], str) else found
    return plain_option(np.asarray(value) if default is NumpyListCodec else value)
