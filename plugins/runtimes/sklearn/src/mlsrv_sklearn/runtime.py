"""scikit-learn runtime: predictions of scikit-learn's estimators."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import NotFittedError

from mlsrv.errors import CodecError, InferenceError, ModelLoadError, OutputNotFound
from mlsrv.model import MLModel
from mlsrv.settings import ModelSettings
from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_runtime_kit import array_codecs, default_output, extra_value, find_artifact, labelled, refused
from mlsrv_sklearn.artifact import check_fitted, read
from mlsrv_sklearn.estimator import is_refusal, labels_of, takes_documents
from mlsrv_sklearn.features import columns_of
from mlsrv_sklearn.inputs import as_texts, in_doubles, table_class
from mlsrv_sklearn.plugin import ARTIFACTS
from mlsrv_sklearn.results import as_arrays, columns, is_table

logger = logging.getLogger(__name__)

OUTPUTS = ("predict", "predict_proba", "transform", "decision_function")
"""The outputs that a model may have: methods of the estimator."""


class SKLearnModel(MLModel):
    """Serves a fitted scikit-learn estimator, or anything with the same methods.

    A request is decoded by its content type, as a numpy array by default. A vector of shape ``[N]`` is a
    column to an estimator of tables; a column of texts is a vector to one of texts; an estimator that was
    fitted on named columns gets them by those names, in their order.

    Each requested output is the method of that name; without any, it is ``parameters.extra.predict_fn``, else
    ``predict``, else the first method that there is. What the estimator refuses (a `ValueError`) is the
    client's fault: `InferenceError`.
    """

    own_input_checks: ClassVar[bool] = True  # a matrix or a frame does as well as a tensor for each column
    own_output_choice: ClassVar[bool] = True  # a table has an output for each column

    @classmethod
    def artifact_of(cls, settings: ModelSettings) -> Path:
        """Return the file of the model. Raises as `mlsrv_runtime_kit.find_artifact`."""
        return find_artifact(settings, ARTIFACTS, "scikit-learn")

    def load(self) -> bool:  # type: ignore[override]  # a plain method, as it blocks
        """Read the artifact.

        Raises:
            ModelLoadError: it cannot be used, or the settings do not fit it.
        """
        path = self.artifact_of(self.settings)
        self.take(read(self.name, path, self._trusted_types()), f"{path} holds")
        return True

    def take(self, estimator: Any, origin: str = "there is") -> None:
        """Serve a fitted estimator, wherever it comes from.

        Args:
            estimator: it has one of the methods in `OUTPUTS`.
            origin: how messages begin that refuse it.

        Raises:
            ModelLoadError: it cannot be used, or the settings do not fit it.
        """
        self._codec, self._request_codec = array_codecs(self)
        self._estimator = estimator
        self._outputs = [name for name in OUTPUTS if callable(getattr(self._estimator, name, None))]
        if not self._outputs:
            raise ModelLoadError(
                f"Model {self.name}: {origin} a {type(self._estimator).__name__}, which has no "
                f"{', '.join(OUTPUTS[:-1])} or {OUTPUTS[-1]}; save the fitted estimator itself."
            )
        check_fitted(self.name, self._estimator)
        self._default = default_output(self.settings, self._outputs)
        self._takes_tables = hasattr(self._estimator, "n_features_in_")
        self._takes_documents = not self._takes_tables and takes_documents(self._estimator)
        self._names: Any = getattr(self._estimator, "feature_names_in_", ())
        self._labels = labels_of(self._estimator)
        self._table_codec = self.codecs.request_codec("pd") if self._takes_tables else None
        self._table_class: Any = table_class() if len(self._names) else None
        self._lacks_tables = len(self._names) > 0 and self._table_codec is None
        if self._lacks_tables:
            logger.warning(
                "Model %s was fitted on a DataFrame; requests with an input for each column need "
                "mlsrv-pandas (pip install mlsrv-pandas), and one array does without it",
                self.name,
            )

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # plain, as `load`
        """Answer one request.

        Raises:
            OutputNotFound: the estimator has no such output.
            InferenceError: the estimator refuses the input, or the outputs cannot be sent together.
        """
        wanted = payload.outputs or [RequestOutput(self._default)]
        for output in wanted:
            if output.name not in self._outputs:
                raise OutputNotFound.unknown(self.name, output.name, self._outputs)
        values = self._shaped(self._decoded(payload))
        results = [self._call(output.name, values) for output in wanted]
        if any(map(is_table, results)):
            return self._table(wanted, results)
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[
                encoded
                for output, result in zip(wanted, results, strict=True)
                for encoded in self._encoded(output, result)
            ],
        )

    async def metadata(self) -> MetadataModelResponse:
        """Return the metadata in the settings; the platform is ``sklearn`` if they name none.

        Inputs that they do not declare are the columns of an estimator that was fitted on a frame, where
        frames can be decoded; the name of a single input does not matter.
        """
        found = await super().metadata()
        if not found.inputs and self._table_codec is not None:
            found.inputs = columns_of(self._estimator)
        found.platform = found.platform or "sklearn"
        for tensor in found.outputs:
            labelled(tensor, self._labels.get(tensor.name, ()))
        return found

    def _trusted_types(self) -> list[str]:
        trusted = extra_value(self.settings, "trusted_types", list, [])
        if not all(isinstance(name, str) for name in trusted):
            raise ModelLoadError(
                f"Model {self.name}: parameters.extra.trusted_types must be a list of texts, not {trusted!r}."
            )
        return trusted

    def _decoded(self, payload: InferenceRequest) -> Any:
        """Return the value of a request; several inputs without a content type are columns."""
        are_columns = len(payload.inputs) > 1 and self._table_codec is not None
        try:
            return self.decode_request(payload, self._table_codec if are_columns else self._request_codec)
        except CodecError as error:
            if self._lacks_tables and len(payload.inputs) > 1:
                hint = "To take them as columns, the server needs mlsrv-pandas (pip install mlsrv-pandas)."
                raise CodecError(f"{error} {hint}") from error
            raise

    def _shaped(self, values: Any) -> Any:
        """Return a decoded request in the shape that the estimator takes."""
        if not isinstance(values, np.ndarray):
            return self._arranged(values) if is_table(values) else values
        if values.dtype == object:
            values = as_texts(values)
        if not self._takes_tables:
            is_column_of_texts = values.dtype == object and values.shape[1:] == (1,)
            return values.reshape(-1) if is_column_of_texts else values
        if values.ndim == 1:
            values = values.reshape(-1, 1)
        return values if self._table_class is None or values.ndim != 2 else self._with_feature_names(values)

    def _arranged(self, table: Any) -> Any:
        """Return a DataFrame with the columns in the order of training, or the list of its documents."""
        if self._takes_documents:
            # To iterate over a DataFrame, as vectorizers do, gives the names of its columns.
            if table.shape[1] != 1:
                raise InferenceError(
                    f"Model {self.name} takes one column of documents, but the input has {table.shape[1]}."
                )
            return table[table.columns[0]].to_list()
        names = list(self._names)
        sent = list(table.columns)
        return table[names] if sent != names and sorted(map(str, sent)) == sorted(map(str, names)) else table

    def _with_feature_names(self, values: Any) -> Any:
        # Without the names that it was fitted with, scikit-learn warns at each request.
        if values.shape[1] != len(self._names):
            raise InferenceError(
                f"Model {self.name} refuses the input: it has {values.shape[1]} features, but the estimator "
                f"is expecting {len(self._names)} features: {', '.join(self._names[:8])}"
                f"{', …' if len(self._names) > 8 else ''}."
            )
        return self._table_class(values, columns=self._names, copy=False)

    def _call(self, method: str, values: Any) -> Any:
        try:
            return getattr(self._estimator, method)(values)
        except NotFittedError:  # a ValueError too, but not the client's
            raise
        except Exception as error:
            if not is_refusal(error):
                raise
            if (wider := in_doubles(values)) is not None and "dtype" in str(error):
                # Some compiled parts take the precision that they were fitted with, and no other.
                return self._call(method, wider)
            raise refused(self.name, error) from error

    def _encoded(self, output: RequestOutput, result: Any) -> list[ResponseOutput]:
        arrays = as_arrays(self.name, output.name, result)
        return [
            labelled(
                self.encode(array, RequestOutput(name, output.parameters), self._codec),
                self._labels.get(name, ()) if array.ndim == 2 else (),
            )
            for name, array in arrays.items()
        ]

    def _table(self, wanted: list[RequestOutput], results: list[Any]) -> InferenceResponse:
        if len(results) > 1:
            tables = [output.name for output, result in zip(wanted, results, strict=True) if is_table(result)]
            raise InferenceError(
                f"Model {self.name}: {', '.join(tables)} gives a table, whose columns become the outputs; "
                "ask for it alone."
            )
        [table] = results
        if self.codecs.request_codec_for(table) is not None:
            return self.encode_response(table)
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[
                self.encode(column, RequestOutput(name, wanted[0].parameters), self._codec)
                for name, column in columns(table)
            ],
        )
