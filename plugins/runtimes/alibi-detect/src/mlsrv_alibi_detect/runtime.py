"""alibi-detect runtime: answers requests with what a detector says of them."""

from __future__ import annotations

import logging
import threading
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mlsrv.errors import InferenceError, InvalidModelURI, OutputNotFound
from mlsrv.metrics import log, register
from mlsrv.model import MLModel
from mlsrv.types import InferenceRequest, InferenceResponse, MetadataModelResponse, Parameters
from mlsrv.utils import local_path, model_uri
from mlsrv_alibi_detect import state
from mlsrv_alibi_detect.answer import Array, arrays, copied, plain
from mlsrv_alibi_detect.detector import kind_of, read
from mlsrv_alibi_detect.options import read_options
from mlsrv_runtime_kit import array_codecs, refused

logger = logging.getLogger("mlsrv.alibi-detect")

METRIC = "seldon_model_drift"


class AlibiDetectRuntime(MLModel):
    """Serves a detector that alibi-detect has saved.

    A request without a content type is one array. It is passed to the detector whole; an online detector gets
    its rows one after the other. ``parameters.extra``: see `mlsrv_alibi_detect.options`.
    """

    own_output_choice: ClassVar[bool] = True

    @classmethod
    def artifact_of(cls, settings: Any) -> Path:
        """Return the folder of a detector. Raises `InvalidModelURI` for one on another machine."""
        uri = model_uri(settings)
        path = local_path(uri)
        if path is None:
            raise InvalidModelURI(
                f"Model {settings.name}: parameters.uri {uri!r} is not local; fetch the detector first."
            )
        return path.parent if path.name == "config.toml" else path

    def load(self) -> bool:  # type: ignore[override]  # a plain method, as it blocks
        """Read the detector.

        Raises:
            ModelLoadError: it cannot be used, or a setting is wrong.
        """
        self._options = read_options(self.settings)
        self._folder = self.artifact_of(self.settings)
        self._codec, self._request_codec = array_codecs(self)
        self._model = read(self.name, self._folder)
        self._is_online = hasattr(self._model, "save_state")
        self._kind, self._method = kind_of(self._model)
        self._collected: list[Array] = []
        self._lock = threading.Lock()
        register(METRIC, "Whether the detector found drift: 1 if it did, for each value of is_drift.")
        return True

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # plain, as `load`
        """Answer one request; with ``batch_size``, all but the last of a batch have no outputs.

        Raises:
            InferenceError: the detector refuses the input.
            OutputNotFound: there is no such output.
        """
        rows = np.array(self.decode_request(payload, self._request_codec))
        if rows.size == 0:
            raise InferenceError(f"Model {self.name}: the request has no rows.")
        with self._lock:
            if self._options.batch_size and not self._is_online:
                self._check_fit(rows)
                self._collected.append(rows)
                if len(self._collected) < self._options.batch_size:
                    return InferenceResponse(self.name, [], self.version)
                rows, self._collected = np.concatenate(self._collected), []
            found = [self._ask(part) for part in (rows if self._is_online else [rows])]
        return self._answer(found, payload)

    async def metadata(self) -> MetadataModelResponse:
        """Return the metadata in the settings, with the kind of the detector."""
        found = await super().metadata()
        found.platform = found.platform or "alibi-detect"
        found.parameters = Parameters(
            detector=type(self._model).__name__, type=self._kind, method=self._method
        )
        return found

    def _check_fit(self, rows: Array) -> None:
        if self._collected and self._collected[0].shape[1:] != rows.shape[1:]:
            raise InferenceError(
                f"Model {self.name}: rows of the shape {list(rows.shape[1:])} do not fit those that are "
                f"collected already, of {list(self._collected[0].shape[1:])}."
            )

    def _ask(self, rows: Array) -> dict[str, Any]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found: dict[str, Any] = self._model.predict(rows, **self._options.predict_parameters)
        except (ValueError, IndexError, TypeError, RuntimeError, AssertionError) as error:
            raise refused(self.name, error) from error
        # With a state that was loaded, alibi-detect counts in an array, which it changes with the next row.
        found = {**found, "data": {key: copied(value) for key, value in found["data"].items()}}
        for value in np.ravel(found["data"].get("is_drift", [])):
            log(**{METRIC: float(value)})
        frequency = self._options.state_save_freq if self._is_online else 0
        if frequency and self._model.t > 0 and self._model.t % frequency == 0:
            self._save()
        return found

    def _save(self) -> None:
        try:
            state.save(self._model, self._folder)
        except OSError as error:  # the answer is right all the same
            logger.error("Model %s: the state of the detector cannot be saved: %s", self.name, error)

    def _answer(self, found: list[dict[str, Any]], payload: InferenceRequest) -> InferenceResponse:
        made = arrays(found)
        wanted = [output.name for output in payload.outputs or ()] or list(made)
        for name in wanted:
            if name not in made:
                raise OutputNotFound.unknown(self.name, name, made)
        description = plain(found[0]["meta"])
        headers = {"x-seldon-alibi-type": self._kind, "x-seldon-alibi-method": self._method}
        return InferenceResponse(
            self.name,
            [self._codec.encode_output(name, made[name]) for name in wanted],
            self.version,
            parameters=Parameters(**{**description, "headers": headers}),
        )
