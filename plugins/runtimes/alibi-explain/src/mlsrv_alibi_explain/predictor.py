"""Predictor: the model that is explained, as the function that explainers call.

An explainer keeps one predictor for its whole life, and calls it in the thread of a request. So the predictor
is told before each explanation on whose behalf it asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from mlsrv.context import CallContext
from mlsrv.errors import ModelAnswered, ModelFailed, ModelNotFound, ModelNotReady
from mlsrv_alibi_explain.options import Options
from mlsrv_alibi_explain.question import DEFAULT_NAME, Array, predictions, question
from mlsrv_alibi_explain.remote import Remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlsrv.types import InferenceRequest, InferenceResponse


@frozen
class Behalf:
    """A request that is answered with an explanation.

    Attributes:
        loop: on which other models of this server are asked.
        context: of the request.
        name, datatype: of its tensor.
    """

    loop: asyncio.AbstractEventLoop
    context: CallContext
    name: str
    datatype: str


class Predictor:
    """Asks the model that is explained; called by one thread at a time.

    Args:
        options: which model, and where.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._behalf: Behalf | None = None
        self._remote = Remote(options.infer_uri, options.ssl_verify_path) if not options.model else None

    @contextmanager
    def on_behalf(self, behalf: Behalf) -> Iterator[None]:
        """Ask for a request while this lasts."""
        self._behalf = behalf
        try:
            yield
        finally:
            self._behalf = None

    def __call__(self, values: Array | Sequence[str]) -> Array:
        """Return the predictions for rows, or texts.

        Before the first request they are zeros, as explainers try their predictor when they are read, which
        may be before the model is loaded.

        Raises:
            MLSrvError: as the model that is asked.
        """
        behalf, options = self._behalf, self._options
        if behalf is None:
            return np.zeros(len(values))
        behalf.context.check()
        if self._remote is not None:
            name = self._remote.input_name(behalf.context) or behalf.name or DEFAULT_NAME
            output = options.infer_output or self._remote.output_name(behalf.context)
            asked = question(values, name, behalf.datatype, output)
            answer = self._remote.infer(asked, behalf.context)
        else:
            output = options.infer_output
            asked = question(values, behalf.name or DEFAULT_NAME, behalf.datatype, output)
            asked.model_name, asked.model_version = options.model, options.version
            answer = asyncio.run_coroutine_threadsafe(_ask(asked, behalf.context), behalf.loop).result()
        return predictions(answer, output, len(values))


async def _ask(request: InferenceRequest, context: CallContext) -> InferenceResponse:
    if context.asker is None:
        raise ModelFailed("The explained model can only be asked in a server.")
    try:
        return await context.asker(request, context)
    except (ModelNotFound, ModelNotReady) as error:  # it is there later, or was unloaded
        raise ModelAnswered(f"The model to explain cannot be asked now: {error}", 503) from error
