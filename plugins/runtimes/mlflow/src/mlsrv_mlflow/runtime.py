"""MLflow runtime: predictions of MLflow's models, and MLflow's endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pandas as pd
from mlflow.exceptions import MlflowException

from mlsrv.codecs.content import encode_named
from mlsrv.errors import InputsNotFound, ModelLoadError, OutputNotFound
from mlsrv.handlers import HandlerOptions, Handlers, Reply, custom_handler
from mlsrv.model import MLModel
from mlsrv.settings import ModelSettings
from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv.utils import local_path, model_uri
from mlsrv_mlflow import scoring
from mlsrv_mlflow.artifact import find_model, load_model
from mlsrv_mlflow.inputs import fitted, params
from mlsrv_mlflow.results import by_name, encoded, plain
from mlsrv_mlflow.schema import Interface
from mlsrv_runtime_kit import extra_value, refused


class MLflowRuntime(MLModel):
    """Serves any model of MLflow with the flavour ``python_function``, over the protocol and over MLflow's
    own endpoints.

    A request is decoded by its content type, else by what the signature says: ``pd`` for columns, ``dict``
    for named tensors, ``np`` for a tensor without a name. Parameters of the request that the signature knows
    are passed to `predict`.

    ``parameters.extra``: ``tracking_uri`` and ``registry_uri``, ``model_config``, ``root_paths``.
    """

    own_input_checks: ClassVar[bool] = True
    own_output_choice: ClassVar[bool] = True

    @classmethod
    def artifact_of(cls, settings: ModelSettings) -> Path | None:
        """Return the folder of a model on this machine. Raises as `find_model`."""
        if local_path(model_uri(settings)) is None:
            return None
        with ExitStack() as stack:
            return find_model(settings, stack)

    def load(self) -> bool:  # type: ignore[override]  # a plain method, as it blocks
        """Find the model and load it.

        Raises:
            ModelLoadError: it cannot be used, or a setting is wrong.
        """
        self._request_codecs = {name: self._codec(name) for name in ("dict", "np", "pd")}
        self._claims_root = extra_value(self.settings, "root_paths", bool, None)
        with ExitStack() as stack:
            self._model = load_model(self.settings, find_model(self.settings, stack))
            self._files = stack.pop_all()
        description = self._model.metadata
        self._interface = Interface.of(description.signature, self._model.input_example)
        self.inputs = self.inputs or list(self._interface.inputs)
        return True

    def unload(self) -> bool:  # type: ignore[override]  # a plain method, as it blocks
        """Remove the downloaded artifacts."""
        self._files.close()
        return True

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # plain, as `load`
        """Answer one request.

        Raises:
            InputsNotFound: inputs of the signature are missing, or others were sent.
            OutputNotFound: the model returned no such output.
            InferenceError: the model refuses the input.
        """
        values = self._decoded(payload)
        given = payload.parameters.extra if payload.parameters is not None else {}
        chosen = params(given, self._interface.params)
        try:
            result = self._model.predict(fitted(values, self._interface), params=chosen)
        except (MlflowException, ValueError, TypeError, KeyError) as error:
            if isinstance(error, MlflowException) and error.get_http_status_code() >= 500:
                raise
            raise refused(self.name, error, _error_text(error)) from error
        return self._response(result, payload.outputs)

    async def metadata(self) -> MetadataModelResponse:
        """Return the metadata in the settings, else that of the signature."""
        found = await super().metadata()
        found.platform = found.platform or "mlflow"
        found.outputs = found.outputs or list(self._interface.outputs)
        if self._interface.params:
            found.parameters = Parameters(params=list(self._interface.params.values()))
        return found

    def custom_handlers(self) -> Handlers:
        """Return MLflow's endpoints below the model, and at the root as ``root_paths`` says.

        True claims the paths at the root, False leaves them out, and without it they exist while no other
        model claims them.
        """
        found = super().custom_handlers()
        if self._claims_root is None:
            return found
        return {
            name: HandlerOptions(options.rest_path, options.rest_method, root=self._claims_root)
            for name, options in found.items()
        }

    @custom_handler("/invocations", root="shared")
    def invocations(self, body: bytes, headers: dict[str, str]) -> Reply:
        """Score a request in one of MLflow's forms."""
        return scoring.score(self._model, body, headers.get("content-type", ""))

    @custom_handler("/ping", "GET", root="shared")
    async def ping(self) -> Reply:
        """Answer that the model is loaded."""
        return scoring.PING

    @custom_handler("/health", "GET", root="shared")
    async def health(self) -> Reply:
        """Answer that the model is loaded."""
        return scoring.PING

    @custom_handler("/version", "GET", root="shared")
    async def mlflow_version(self) -> Reply:
        """Answer with the version of MLflow."""
        return scoring.VERSIONS

    def _codec(self, content_type: str) -> Any:
        codec = self.codecs.request_codec(content_type)
        if codec is None:
            raise ModelLoadError(
                f'Model {self.name} needs the content type "{content_type}", but its plugin was not loaded.'
            )
        return codec

    def _decoded(self, payload: InferenceRequest) -> Any:
        content_type = (
            (payload.parameters.content_type if payload.parameters is not None else None)
            or self.settings.parameters.content_type
            or self._interface.content_type
            or _fitting(payload)
        )
        if self._interface.is_strict and content_type in ("dict", "pd"):
            self._check_names(payload)
        return self.decode_request(self._with_cells(payload), self._request_codecs.get(content_type))

    def _with_cells(self, payload: InferenceRequest) -> InferenceRequest:
        """Return the request with the types of those columns that come as JSON texts because of gaps."""
        cells = self._interface.cells
        if not cells:
            return payload
        inputs = [_with_cells(tensor, cells.get(tensor.name)) for tensor in payload.inputs]
        return attrs.evolve(payload, inputs=inputs)

    def _check_names(self, payload: InferenceRequest) -> None:
        sent = [tensor.name for tensor in payload.inputs]
        known = {tensor.name: tensor.parameters for tensor in self._interface.inputs}
        required = [name for name, found in known.items() if found is None or not found.get("optional")]
        if missing := [name for name in required if name not in sent]:
            raise InputsNotFound.missing(self.name, missing, known)
        if unknown := [name for name in sent if name not in known]:
            raise InputsNotFound.unknown(self.name, unknown, known)

    def _response(self, result: Any, outputs: list[RequestOutput] | None) -> InferenceResponse:
        values = by_name(self.name, result, [output.name for output in self._interface.outputs])
        wanted = outputs or [RequestOutput(name) for name in values]
        for output in wanted:
            if output.name not in values:
                raise OutputNotFound.unknown(self.name, output.name, values)
        content_type = (
            "pd" if isinstance(result, pd.DataFrame) else "dict" if isinstance(result, Mapping) else None
        )
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[self._output(output, values[output.name]) for output in wanted],
            parameters=Parameters(content_type=content_type) if content_type else None,
        )

    def _output(self, output: RequestOutput, value: Any) -> ResponseOutput:
        made = encode_named(self, plain(value), output)
        if made is not None:
            return made
        return encoded(self.name, output.name, value)


def _with_cells(tensor: RequestInput, cells: Mapping[str, Any] | None) -> RequestInput:
    given = tensor.parameters
    if cells is None or given is None or given.content_type != "pd_json":
        return tensor
    return attrs.evolve(tensor, parameters=Parameters(**{**cells, **given.dict()}))


def _fitting(payload: InferenceRequest) -> str:
    """Return the codec of a request for a model without a signature."""
    if len(payload.inputs) == 1:
        return "np"
    are_columns = all(all(length == 1 for length in tensor.shape[1:]) for tensor in payload.inputs)
    return "pd" if are_columns else "dict"


def _error_text(error: Exception) -> str:
    """Return the cause in an error of MLflow, without the data and the schema that MLflow puts before it."""
    if isinstance(error, MlflowException):
        return str(error.message).rpartition(". Error: ")[2]
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
