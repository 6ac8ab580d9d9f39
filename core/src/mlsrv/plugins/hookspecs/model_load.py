"""Model hooks: the hooks that are called when a model is loaded, or changes its state."""

# mypy: disable-error-code="empty-body"
# A specification has a signature and a docstring, and never a body.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from mlsrv.plugins.markers import hookspec

if TYPE_CHECKING:
    from pathlib import Path

    from mlsrv.interceptor import Interceptor, UserCodeContext
    from mlsrv.kernel_api import KernelAPI
    from mlsrv.placement import ModelInfo
    from mlsrv.plugin_resources import Shared
    from mlsrv.repository import VerifiedFolder
    from mlsrv.settings import ModelSettings
    from mlsrv_protocol.types import State


@hookspec
def mlsrv_verified_folder(
    kernel: KernelAPI, model: ModelSettings
) -> AbstractContextManager[VerifiedFolder | None]:
    """Check a model's files, and give the load a copy that does not change any more.

    Called for each load and reload of a model, in the main process, before anything of its folder but the
    settings is read. The settings are read again from the copy, and the model is loaded from there, wherever
    it runs.

    Args:
        kernel: the kernel.
        model: its resolved settings; ``model.folder`` is where it is.

    Returns:
        A context manager, entered in a thread before the load and left once the model is unloaded. It gives
        the folder to load in place of the model's, or None for its own, and raises to refuse the model. What
        it found is shown in the index and in the model's metadata. None in place of it means that the plugin
        has nothing to check. Two plugins that check one model refuse it.

    Example:
        >>> import contextlib, mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_verified_folder(self, kernel, model):
        ...         @contextlib.contextmanager
        ...         def refuse():
        ...             raise mlsrv.errors.ModelLoadError(f"Model {model.name} is not trusted.")
        ...             yield
        ...         return refuse()
        >>> from mlsrv.testing import EchoModel
        >>> model = mlsrv.ModelSettings(name="echo", implementation=EchoModel)
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], models=[model], discover=False) as kernel:
        ...         await kernel.loaded()
        ...         return kernel.handle("echo").reason
        >>> import asyncio
        >>> asyncio.run(main())
        'Model echo is not trusted.'
    """


@hookspec(firstresult=True)
def mlsrv_select_runtime(model: ModelSettings, files: Sequence[Path]) -> str | None:
    """Say which runtime a model needs whose settings have no ``implementation``.

    Called for each load of such a model, in the main process, until one plugin answers. If none does, the
    kernel compares the files with the artifacts of the offered runtimes.

    Args:
        model: its settings.
        files: the artifact, or the files directly in the artifact's folder, sorted by name.

    Returns:
        The name of a runtime. None leaves the decision to others.

    Example:
        >>> import mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_select_runtime(self, model, files):
        ...         return "acme" if any(file.suffix == ".acme" for file in files) else None
        >>> from pathlib import Path
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> kernel.plugins.select_runtime(mlsrv.ModelSettings(name="m"), [Path("model.acme")])
        'acme'
    """


@hookspec
def mlsrv_interceptors(
    kernel: KernelAPI, model: ModelSettings, info: ModelInfo
) -> Interceptor | Iterable[Interceptor]:
    """Put something between the transports and a model, such as a cache or a batcher.

    Called once for each load and reload of a model, in the main process, before the model becomes ready. What
    is returned is entered, composed by phase, and called for each request of that model; a model that wants
    none of it costs nothing.

    Args:
        kernel: the kernel.
        model: the resolved settings of the model; ``model.of(MySettings)`` are the plugin's own.
        info: what the loaded model says of itself: declared tensors, and how many copies of it there are.

    Returns:
        One interceptor or several. None means none for this model.

    Example:
        >>> import asyncio, mlsrv
        >>> from mlsrv.interceptor import Interceptor
        >>> class Shout(Interceptor):
        ...     infer_only = True  # streams and custom handlers pass unchanged
        ...     async def __call__(self, request, context, call_next):
        ...         response = await call_next(request, context)
        ...         response.outputs[0].data = [text.upper() for text in response.outputs[0].data]
        ...         return response
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_interceptors(self, kernel, model):
        ...         return Shout()
        >>> from mlsrv.testing import EchoModel, text_request
        >>> model = mlsrv.ModelSettings(name="echo", implementation=EchoModel)
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], models=[model], discover=False) as kernel:
        ...         await kernel.loaded()
        ...         response = await kernel.infer(text_request("echo", ["hi"]))
        ...         return response.outputs[0].data
        >>> asyncio.run(main())
        ['HI']
    """


@hookspec
def mlsrv_user_code(settings: Mapping[str, Any], model: ModelSettings, shared: Shared) -> UserCodeContext:
    """Put something around the code of a model, such as a live span that the code can find.

    Called once for each load of a model, in the process where it runs: the main process, or a worker process.
    What it returns is called for each call of the model's code (``predict``, a step of ``predict_stream``, a
    custom handler); what fails then is logged, and the request goes on.

    Args:
        settings: the effective server settings as plain data, by name: a worker process has no kernel.
        model: the resolved settings of the model.
        shared: for objects that the models of this process, or of this kernel, share; see
            `mlsrv.plugin_resources.Shared`. In the main process it is the one of ``kernel.shared``.

    Returns:
        A callable that takes the call's `CallContext` and makes a context manager for it; one for a whole
        stream is a `mlsrv.hosting.call_scope.WholeCall`. None means that there is nothing to put around.

    Example:
        >>> import asyncio, contextlib, mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_user_code(self, settings, model):
        ...         @contextlib.contextmanager
        ...         def around(context):
        ...             print(settings["server_name"], "calls", model.name)
        ...             yield
        ...             print("done")
        ...         return around
        >>> from mlsrv.testing import EchoModel, text_request
        >>> model = mlsrv.ModelSettings(name="echo", implementation=EchoModel)
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], models=[model], discover=False) as kernel:
        ...         await kernel.loaded()
        ...         await kernel.infer(text_request("echo", ["hi"]))
        >>> _ = asyncio.run(main())
        mlsrv calls echo
        done
    """


@hookspec
def mlsrv_model_state(kernel: KernelAPI, model: ModelSettings, state: State, reason: str) -> None:
    """Hear of each change of a model's state.

    Called after the change, in the main process, on the event loop: it must return at once. An implementation
    that raises is logged and never fails a load.

    Args:
        kernel: the kernel.
        model: the model's settings.
        state: the new state.
        reason: why, when the state is UNAVAILABLE; else empty.

    Returns:
        Nothing.

    Example:
        >>> import asyncio, mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_model_state(self, model, state):
        ...         print(model.name, state.value)
        >>> from mlsrv.testing import EchoModel
        >>> model = mlsrv.ModelSettings(name="echo", implementation=EchoModel)
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], models=[model], discover=False) as kernel:
        ...         await kernel.loaded()
        >>> asyncio.run(main())
        echo LOADING
        echo READY
        echo UNLOADING
        echo UNAVAILABLE
    """
