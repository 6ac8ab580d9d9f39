"""Samples: values to try a plugin with, where its author gives none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mlsrv.codecs import InputCodec, RequestCodec
from mlsrv.errors import ConfigurationError, MLSrvError
from mlsrv.hosting.warmup import sample_request, warm_up_requests
from mlsrv.kernel.kernel import Kernel
from mlsrv.settings import KernelModelSettings, ModelSettings
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.json_text import loads
from mlsrv_protocol.types import InferenceRequest


def stock_values() -> list[Any]:
    """Values of the types that codecs are most often about."""
    return [
        ["a", "é", ""],
        [b"a", b"\xff", b""],
        [datetime(2022, 1, 11, 11), datetime(9999, 12, 31, tzinfo=UTC)],
        np.array([[1, -2], [3, 4]]),
        np.array([[0.5, np.nan, -np.inf]], np.float32),
        np.array([[True], [False]]),
        [1, 2],
        [0.5],
        [{"a": [1, None]}],
        {"a": [1, 2], "b": ["x", "é"]},
        {"a": np.array([1.5, 2.5])},
    ]


def input_samples(codec: type[InputCodec], given: Iterable[InferenceRequest]) -> list[Any]:
    """Return the values that an input codec decodes from the given tensors of its content type or of none.

    Without any given, these are the stock values that it encodes.
    """
    tensors = [tensor for request in given for tensor in request.inputs]
    if tensors:
        chosen = [one for one in tensors if _content_type(one) in (None, codec.ContentType)]
        return [codec.decode_input(tensor) for tensor in chosen]
    return [_settled(value, codec) for value in stock_values() if _encodes(codec, value)]


def request_samples(codec: type[RequestCodec], given: Iterable[InferenceRequest]) -> list[Any]:
    """The same for a request codec and whole requests."""
    requests = list(given)
    if requests:
        chosen = [one for one in requests if _content_type(one) in (None, codec.ContentType)]
        return [codec.decode_request(request) for request in chosen]
    return [_settled_request(value, codec) for value in stock_values() if _encodes(codec, value)]


def model_requests(kernel: Kernel, name: str) -> list[InferenceRequest]:
    """The warm-up requests of a model, or else a sample of the inputs that it declares, if it does.

    Args:
        kernel: one that has the model and was not entered.

    Raises:
        MLSrvError: the model does not load.
    """
    return asyncio.run(_model_requests(kernel, name))


async def _model_requests(kernel: Kernel, name: str) -> list[InferenceRequest]:
    async with kernel:
        await kernel.loaded()
        problems = kernel.problems()
        if problems:
            raise MLSrvError(problems[0])
        handle = kernel.handle(name)
        assert handle.settings is not None  # since it was loaded
        assert handle.info is not None
        settings = kernel.resolve_model(handle.settings)
        if settings.of(KernelModelSettings).warm_up is not False:
            return await warm_up_requests(settings, handle.info)
        return [sample_request(name, handle.info)] if handle.info.inputs else []


def read_samples(paths: Sequence[Path]) -> list[InferenceRequest]:
    """Requests, or single tensors, in their JSON form.

    Raises:
        ConfigurationError: a file cannot be read, or holds something else; with one sentence for each.
    """
    found, problems = [], []
    for path in paths:
        try:
            values = loads(path.read_bytes())
            if isinstance(values, dict) and "inputs" not in values:
                values = {"inputs": [values]}
            found.append(InferenceRequest.parse_obj(values))
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror}.")
        except InvalidPayload as error:
            problems.append(f"{path} is no inference request and no tensor: {error}")
    if problems:
        raise ConfigurationError(problems)
    return found


def example_model(folder: Path) -> ModelSettings:
    """The model of a folder.

    Raises:
        ConfigurationError: it has no usable ``model-settings.json``.
    """
    return ModelSettings.parse_file(folder / "model-settings.json")


def _encodes(codec: type[InputCodec] | type[RequestCodec], value: Any) -> bool:
    try:
        return codec.can_encode(value)
    except Exception:  # one that raises here raises in the suite, where it is told
        return True


def _content_type(found: Any) -> str | None:
    return found.parameters.content_type if found.parameters is not None else None


def _settled(value: Any, codec: type[InputCodec]) -> Any:
    # A codec may take other forms than it makes, such as a list for an array: the contract is about those
    # that it makes. One that fails here fails in the suite, where it is told.
    try:
        return codec.decode_input(codec.encode_input("x", value))
    except Exception:
        return value


def _settled_request(value: Any, codec: type[RequestCodec]) -> Any:
    try:
        return codec.decode_request(codec.encode_request(value))
    except Exception:
        return value
