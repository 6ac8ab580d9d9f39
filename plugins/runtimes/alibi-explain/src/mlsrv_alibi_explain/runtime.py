"""alibi runtime: answers requests with explanations of what another model says of them."""

from __future__ import annotations

import asyncio
import json
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mlsrv.context import CallContext, current_context
from mlsrv.errors import InferenceError, InvalidModelURI, MLSrvError, ModelFailed
from mlsrv.handlers import Reply, custom_handler
from mlsrv.model import MLModel
from mlsrv.threads import run_in_own_thread
from mlsrv.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
    ResponseOutput,
)
from mlsrv.utils import local_path, model_uri
from mlsrv_alibi_explain.explainer import fitted_model, made
from mlsrv_alibi_explain.options import Options, read_options
from mlsrv_alibi_explain.predictor import Behalf, Predictor
from mlsrv_runtime_kit import array_codecs, refused

OUTPUT = "explanation"
PARAMETERS = "explain_parameters"
"""The parameter of a request with the arguments of the explainer's `explain`: an object, or its JSON text."""

JSON = "application/json"


class AlibiExplainRuntime(MLModel):
    """Serves an explainer of alibi. A request is that of the model that is explained.

    ``parameters.extra``: see `mlsrv_alibi_explain.options`.
    """

    def load(self) -> bool:  # type: ignore[override]  # a plain method, as it blocks
        """Read or make the explainer.

        Raises:
            ModelLoadError: it cannot be used, or a setting is wrong.
        """
        self._options = options = read_options(self.settings)
        _, self._request_codec = array_codecs(self)
        self._lock = threading.Lock()
        self._predictor = None if options.kind.takes_model else Predictor(options)
        self._is_tried = self._predictor is None
        folder = self._folder(options)
        if options.kind.needs == "tensorflow":
            explained = None
        else:
            explained = self._predictor or fitted_model(
                self.name, self._path(options.infer_uri), options.kind.cls
            )
        self._model = made(self.name, options, folder, explained)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request with an explanation, as JSON.

        Raises:
            InferenceError: the explainer refuses the input.
            MLSrvError: as the model that is explained.
        """
        text = await self._explained(payload)
        parameters = Parameters(content_type="str")
        return InferenceResponse(
            self.name,
            [ResponseOutput(OUTPUT, [1, 1], Datatype.BYTES, [text], parameters)],
            self.version,
            parameters=Parameters(
                headers={"x-seldon-alibi-type": "explanation", "x-seldon-alibi-method": self._method}
            ),
        )

    @custom_handler("/explain", root="shared")
    async def explain(self, body: InferenceRequest) -> Reply:
        """Answer one request with the explanation itself, not wrapped in an answer of the protocol."""
        return Reply(await self._explained(body), headers={"content-type": JSON})

    async def metadata(self) -> MetadataModelResponse:
        """Return the metadata in the settings, and the output."""
        found = await super().metadata()
        found.platform = found.platform or "alibi-explain"
        found.outputs = found.outputs or [MetadataTensor(OUTPUT, Datatype.BYTES, [1, 1])]
        found.parameters = Parameters(explainer=self._options.kind.cls)
        return found

    @property
    def _method(self) -> str:
        return type(self._model).__module__.rpartition(".")[2]

    def _folder(self, options: Options) -> Path | None:
        if options.init_parameters is not None:
            return None
        uri = model_uri(self.settings)
        path = local_path(uri)
        if path is None:
            raise InvalidModelURI(
                f"Model {self.name}: parameters.uri {uri!r} is not local; fetch the explainer first."
            )
        return path

    def _path(self, uri: str) -> Path:
        path = local_path(uri)
        if path is None:
            raise InvalidModelURI(
                f"Model {self.name}: parameters.extra.infer_uri {uri!r} is no file of this machine, which "
                f"{self._options.kind.cls} needs."
            )
        return path if self.settings.folder is None else self.settings.folder / path

    async def _explained(self, payload: InferenceRequest) -> str:
        chosen = _explain_parameters(self.name, payload)
        values = self.decode_request(payload, self._request_codec)
        values = self._fitted(np.asarray(values))
        tensor = payload.inputs[0]
        context = current_context.get() or CallContext()
        behalf = Behalf(asyncio.get_running_loop(), context, tensor.name, str(tensor.datatype))
        return await run_in_own_thread(self._explain, values, chosen, behalf)

    def _fitted(self, values: Any) -> Any:
        """Return what the explainer takes: all rows, one of them, or a text."""
        if not values.size:
            raise InferenceError(f"Model {self.name}: the request has no rows.")
        if self._options.kind.cls == "AnchorText":
            first = values.reshape(-1)[0]
            return first.decode(errors="replace") if isinstance(first, bytes) else str(first)
        if values.dtype.kind not in "biuf":
            raise InferenceError(f"Model {self.name} explains numbers, not texts.")
        if not self._options.kind.takes_one:
            is_whole = self._options.explainer_batch or self._options.kind.takes_model
            return values if is_whole else values[:1]
        return values[0] if values.ndim > 1 and not self._options.explainer_batch else values

    def _explain(self, values: Any, chosen: dict[str, Any], behalf: Behalf) -> str:
        with self._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if self._predictor is None:
                    found = self._model.explain(values, **chosen)
                else:
                    with self._predictor.on_behalf(behalf):
                        if not self._is_tried:
                            # It was read before the model could be asked, and may depend on its answers.
                            self._model.reset_predictor(self._predictor)
                            self._is_tried = True
                        found = self._model.explain(values, **chosen)
                return str(found.to_json())
            except Exception as error:  # alibi wraps what the predictor raises
                raise _of_question(error) or self._refused(error) from error

    def _refused(self, error: Exception) -> MLSrvError:
        if type(error).__name__ == "NotFittedError" or isinstance(error, OSError | MemoryError):
            return ModelFailed.of(self.name, self.version, error)
        return refused(self.name, error)


def _of_question(error: BaseException | None) -> MLSrvError | None:
    """Return the error of the explained model, where it is the cause of another."""
    while error is not None:
        if isinstance(error, MLSrvError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _explain_parameters(model: str, payload: InferenceRequest) -> dict[str, Any]:
    given = payload.parameters.extra.get(PARAMETERS) if payload.parameters is not None else None
    if given is None:
        return {}
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            given = None
    if not isinstance(given, dict):
        raise InferenceError(
            f"Model {model}: the parameter {PARAMETERS} must be an object, or its JSON text."
        )
    # A list of lists is an array; alibi takes only those.
    return {key: np.asarray(value) if key == "y" else value for key, value in given.items()}
