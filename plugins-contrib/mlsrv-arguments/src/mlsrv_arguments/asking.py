"""Asking: code of a model asks other models of the same server, wherever they run."""

from __future__ import annotations

from mlsrv.context import current_context
from mlsrv.errors import ModelFailed
from mlsrv_protocol.types import InferenceRequest, InferenceResponse


async def ask(request: InferenceRequest) -> InferenceResponse:
    """Return the answer of the model of this server that ``model_name`` of a request names.

    Call it in asynchronous code of a model. The question has the deadline, the headers, the trace and the
    principal of the request that is being answered, and counts for the other model as any request does.

    Raises:
        MLSrvError: that of the other model; or no request is being answered here, models ask in a circle, or
            the executor takes no questions, such as that for Ray.
    """
    context = current_context.get()
    if context is None:
        raise ModelFailed("ask() works while a request is answered, in the code of a model.")
    if context.asker is None:
        raise ModelFailed(
            "The executor of this model takes no questions to other models; those of workers and inline do."
        )
    return await context.asker(request, context)
