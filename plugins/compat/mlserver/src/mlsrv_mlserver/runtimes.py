"""Runtimes: those of mlsrv as classes that models derive from, with MLServer's types."""

from __future__ import annotations

from typing import Any, ClassVar

from mlserver.errors import MLServerError
from mlserver.model import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse

import mlsrv
from mlsrv.errors import ModelLoadError
from mlsrv.plugins.offers import resolve_target
from mlsrv_mlserver.calls import called
from mlsrv_mlserver.content import tolerated_request
from mlsrv_mlserver.messages import their_declared, their_response
from mlsrv_mlserver.settings import our_model_settings


class Runtime(MLModel):
    """Base of the runtimes: a runtime of mlsrv does the work.

    A subclass may call ``await super().load()`` and ``await super().predict(payload)``, and read and replace
    the model of the framework, ``self._model``, in between.

    Attributes:
        target: the runtime's class, as ``"package:Class"``.
        plugin: the distribution that it comes from.
        attribute: of the runtime, which holds the model of the framework.
    """

    target: ClassVar[str]
    plugin: ClassVar[str]
    attribute: ClassVar[str]

    _runtime: mlsrv.MLModel | None = None

    @property
    def _model(self) -> Any:
        return getattr(self._made(), self.attribute)

    @_model.setter
    def _model(self, value: Any) -> None:
        runtime = self._runtime or self._new()
        take = getattr(runtime, "take", None)
        if take is not None:
            take(value)
        elif self._runtime is None:
            raise ModelLoadError(
                f"Model {self.name}: call `await super().load()` before you set `self._model`; "
                f"the runtime of {self.plugin} reads more than the model from the artifact."
            )
        else:
            setattr(runtime, self.attribute, value)
        self._runtime = runtime

    async def load(self) -> bool:
        """Read the artifact.

        Raises:
            ModelLoadError: it cannot be used, or the plugin with the runtime is not installed.
        """
        runtime = self._new()
        answer = await called(runtime.load)
        self._runtime = runtime
        await self._describe()
        return answer is None or bool(answer)

    async def unload(self) -> bool:
        if self._runtime is not None:
            await called(self._runtime.unload)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        response = await called(self._made().predict, tolerated_request(self, payload))
        response.model_name, response.model_version = self.name, self.version
        return their_response(response)

    async def metadata(self) -> MetadataModelResponse:
        found = await super().metadata()
        if self._runtime is not None:
            found.platform = (await called(self._runtime.metadata)).platform or found.platform
        return found

    async def _describe(self) -> None:
        metadata = await called(self._made().metadata)
        self.inputs = [their_declared(tensor) for tensor in metadata.inputs]
        self.outputs = [their_declared(tensor) for tensor in metadata.outputs]

    def _made(self) -> mlsrv.MLModel:
        if self._runtime is None:
            raise MLServerError(f"Model {self.name} is not loaded: its load() did not call `super().load()`.")
        return self._runtime

    def _new(self) -> mlsrv.MLModel:
        try:
            cls = resolve_target(self.target)
        except ModuleNotFoundError as error:
            raise ModelLoadError(
                f"Model {self.name}: its runtime is in the plugin {self.plugin}, which is not installed "
                f"(pip install {self.plugin})."
            ) from error
        settings = self.settings._ours or our_model_settings(self.settings)
        made: mlsrv.MLModel = cls(settings)
        if getattr(self, "codecs", None) is not None:
            made.bind(self.codecs)
        return made
