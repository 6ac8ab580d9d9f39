"""Answer: an explanation as outputs of the protocol."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from attrs import field, frozen

from mlsrv.errors import OutputNotFound
from mlsrv.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    ResponseOutput,
)
from mlsrv_shap.explainers import Explanation
from mlsrv_shap.options import Matrix

VALUES, EXPECTED, PLOT = "shap_values", "expected_value", "plot"

DEFAULT = (VALUES, EXPECTED)
"""Outputs that are sent when a request asks for none."""


@frozen(eq=False)
class Form:
    """The part that is the same in all answers of a model.

    Attributes:
        model, version: that explains.
        explainer: its kind.
        space: what the values add up to.
        names: of the features; empty if unknown.
        labels: of the outputs of the model.
        width: how many outputs the model has; 0 if that is unknown.
    """

    model: str
    version: str | None
    explainer: str
    space: str
    names: Sequence[str] = field(default=())
    labels: Sequence[str] = field(default=())
    width: int = 0

    def check(self, request: InferenceRequest) -> list[str]:
        """Return the outputs that a request wants.

        Raises:
            OutputNotFound: there is no such output.
        """
        wanted = [output.name for output in request.outputs or ()] or list(DEFAULT)
        for name in wanted:
            if name not in (*DEFAULT, PLOT):
                raise OutputNotFound.unknown(self.model, name, (*DEFAULT, PLOT))
        return wanted

    def outputs(self) -> tuple[MetadataTensor, ...]:
        """Return the outputs of the metadata."""
        several = [self.width] if self.width > 1 else []
        return (
            MetadataTensor(VALUES, Datatype.FP64, [-1, -1, *several]),
            MetadataTensor(EXPECTED, Datatype.FP64, [self.width or -1]),
            MetadataTensor(PLOT, Datatype.BYTES, [1]),
        )

    def answer(
        self, request: InferenceRequest, wanted: Sequence[str], rows: Matrix, found: Explanation
    ) -> InferenceResponse:
        """Return the answer to a request."""
        made = {
            VALUES: lambda: _numbers(VALUES, found.values),
            EXPECTED: lambda: _numbers(EXPECTED, found.expected),
            PLOT: lambda: self._plot(rows, found),
        }
        parameters = Parameters(explainer=self.explainer, output_space=self.space)
        if self.names:
            parameters.extra["feature_names"] = list(self.names)
        if self.labels and len(self.labels) == found.values.shape[-1]:
            parameters.extra["labels"] = list(self.labels)
        return InferenceResponse(
            self.model, [made[name]() for name in wanted], self.version, request.id, parameters
        )

    def _plot(self, rows: Matrix, found: Explanation) -> ResponseOutput:
        from mlsrv_shap.plot import drawn

        picture = base64.b64encode(
            drawn(self.model, self.names, self.labels, self.space, rows, found)
        ).decode()
        return ResponseOutput(
            PLOT, [1], Datatype.BYTES, [picture], Parameters(content_type="base64", media_type="image/png")
        )


def _numbers(name: str, values: Matrix) -> ResponseOutput:
    flat = np.ascontiguousarray(values).reshape(-1)
    return ResponseOutput(name, list(values.shape), Datatype.FP64, flat, Parameters(content_type="np"))
