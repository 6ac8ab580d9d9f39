"""shap runtime: explanations of a model of its own, read from an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mlsrv.errors import InferenceError
from mlsrv.types import Datatype, InferenceRequest, InferenceResponse, MetadataModelResponse
from mlsrv_runtime_kit import Features, TableModel, TableOutput, refused, thread_count
from mlsrv_shap import explainers
from mlsrv_shap.answer import Form
from mlsrv_shap.options import Matrix, read_options
from mlsrv_shap.subject import ARTIFACTS, read


class ShapModel(TableModel):
    """Explains a model of XGBoost, LightGBM, CatBoost or scikit-learn.

    A request is that of the model itself. ``parameters.extra``: see `mlsrv_shap.options`.
    """

    framework: ClassVar[str] = "shap"
    artifacts: ClassVar[tuple[str, ...]] = ARTIFACTS

    def read(self, path: Path) -> tuple[Features, Mapping[str, TableOutput]]:
        """Read the model, and make its explainer.

        Raises:
            ModelLoadError: the file cannot be used, or a setting is wrong.
        """
        self._options = read_options(self.settings)
        subject = read(self.name, path, thread_count(self.settings))
        self._explainer = explainers.of_subject(self.name, subject, self._options)
        names = self._options.names or subject.names
        self._form = Form(
            self.name,
            self.version,
            self._explainer.kind,
            subject.space,
            names,
            subject.labels,
            subject.width(),
        )
        features = Features(
            subject.count, names if len(names) == subject.count else (), datatype=Datatype.FP64
        )
        nothing: dict[str, TableOutput] = {
            tensor.name: TableOutput(lambda _: None, Datatype.FP64) for tensor in self._form.outputs()
        }
        return features, nothing

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # plain, as `load`
        """Answer one request.

        Raises:
            OutputNotFound: there is no such output.
            InferenceError: the request does not fit the model.
        """
        wanted = self._form.check(payload)
        rows = as_matrix(self.name, self.features.fitted(self.name, self._decoded(payload)))
        check_rows(self.name, rows, self._options.most_rows)
        try:
            found = self._explainer.explain(rows)
        except (ValueError, TypeError) as error:
            raise refused(self.name, error) from error
        return self._form.answer(payload, wanted, rows, found)

    async def metadata(self) -> MetadataModelResponse:
        """Return the metadata: inputs of the model, outputs of the explanation."""
        found = await super().metadata()
        if not self.settings.outputs:
            found.outputs = list(self._form.outputs())
        return found


def as_matrix(model: str, values: Any) -> Matrix:
    """Return a table as float64.

    Raises:
        InferenceError: it has something else than numbers.
    """
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError) as error:
        raise InferenceError(f"Model {model} explains numbers only: {error}.") from error


def check_rows(model: str, rows: Matrix, most: int) -> None:
    """Refuse a request without rows, or with too many.

    Raises:
        InferenceError: it is one.
    """
    if not 1 <= len(rows) <= most:
        raise InferenceError(
            f"Model {model} explains 1 to {most} rows at a time (parameters.extra.max_rows), not {len(rows)}."
        )
