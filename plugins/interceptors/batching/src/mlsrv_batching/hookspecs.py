"""Hook specifications: hooks that this plugin adds to those of the kernel."""

# mypy: disable-error-code="empty-body"
# A specification has a signature and a docstring, but no body.

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mlsrv.plugins.markers import hookspec

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI
    from mlsrv.placement import ModelInfo
    from mlsrv.settings import ModelSettings
    from mlsrv.types import InferenceRequest


@hookspec
def mlsrv_batch_cost(
    kernel: KernelAPI, model: ModelSettings, info: ModelInfo
) -> Callable[[InferenceRequest], int]:
    """Tell what requests to a model cost in a batch, for the setting ``max_batch_tokens``.

    Called once for each load of a model with that setting, in the main process.

    Args:
        kernel: the kernel.
        model: the resolved settings of the model.
        info: what the loaded model says of itself.

    Returns:
        A function that returns the tokens of a request. It is called on the event loop for each request that
        can be joined with others, and must return at once; one that raises counts as 1. None means that the
        plugin knows no cost of this model.

    Example:
        >>> import asyncio, mlsrv, mlsrv_batching.plugin
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_batch_cost(self, model):
        ...         return lambda request: sum(len(text) for text in request.inputs[0].data)
        >>> from mlsrv.testing import EchoModel, text_request
        >>> limits = {"max_batch_size": 8, "max_batch_time": 0.1, "max_batch_tokens": 99}
        >>> model = mlsrv.ModelSettings(name="echo", implementation=EchoModel, **limits)
        >>> async def main():
        ...     plugins = [mlsrv_batching.plugin, Plugin()]
        ...     async with mlsrv.Kernel(plugins=plugins, models=[model], discover=False) as kernel:
        ...         await kernel.loaded()
        ...         response = await kernel.infer(text_request("echo", ["hi"]))
        ...         return response.outputs[0].data
        >>> asyncio.run(main())
        ['hi']
    """
