"""Placement: a model that answers whether another one's data drifts, in the form of MLServer's detectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, ModelNotReady
from mlsrv.kernel_api import KernelAPI
from mlsrv.placement import ModelInfo, Placement
from mlsrv.settings import ModelSettings
from mlsrv.threads import run_in_own_thread
from mlsrv.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    ResponseOutput,
)
from mlsrv_drift.columns import Column, columns_of, cut
from mlsrv_drift.findings import FeatureFinding
from mlsrv_drift.monitor import Monitor
from mlsrv_drift.monitors import Monitors
from mlsrv_drift.reference import present

WHOLE = 1 << 40
"""Bytes of a batch that are looked at: all."""

LEAST = 2
"""Values that a feature must have in a batch."""


class PlacedDriftModel(Placement):
    """A model of the runtime ``drift``. A request with inputs is compared by itself with the reference of the
    watched model; one without is answered with its latest window.

    Args:
        kernel: has the monitors.
        settings: of the model.
        watched: name of the model that it is about; of several versions the default one.
    """

    def __init__(self, kernel: KernelAPI, settings: ModelSettings, watched: str) -> None:
        self._kernel = kernel
        self._settings = settings
        self._watched = watched
        outputs = {
            "is_drift": Datatype.INT64,
            **dict.fromkeys(("distance", "p_val", "threshold"), Datatype.FP64),
        }
        self.info = ModelInfo(
            platform=settings.platform or "drift",
            versions=tuple(settings.versions),
            inputs=tuple(settings.inputs),
            outputs=tuple(settings.outputs)
            or tuple(MetadataTensor(name, datatype, [1, -1]) for name, datatype in outputs.items()),
            parameters=Parameters(model=watched),
            asynchronous=True,
        )

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        """Answer one request.

        Raises:
            ModelNotReady: the watched model is not there, or has no reference or no window yet.
            InferenceError: the batch does not fit the reference.
        """
        context.check()
        monitor = self._monitor()
        if request.inputs:
            findings = await run_in_own_thread(self._judged, monitor, request)
        else:
            latest = monitor.inputs.latest
            if latest is None:
                raise ModelNotReady(f"Model {self._watched}: no window is full yet; send a batch as inputs.")
            findings = latest.features
        per_feature = self._per_feature(request)
        return InferenceResponse(
            self._settings.name,
            _outputs(findings, monitor.settings.threshold, per_feature),
            self._settings.version,
            request.id or context.request_id,
            Parameters(
                name="mlsrv-drift",
                detector_type="drift",
                data_type="tabular",
                online=False,
                features=[found.name for found in findings],
                headers={"x-seldon-alibi-type": "drift", "x-seldon-alibi-method": "mlsrv-drift"},
            ),
        )

    def _monitor(self) -> Monitor:
        handle = self._kernel.handle(self._watched)
        monitor = self._kernel.shared.get(Monitors, Monitors).find(handle.name, handle.version)
        if monitor is None:
            raise ModelNotReady(
                f"Model {self._watched} is not watched, or not loaded; set drift_enabled in its settings."
            )
        return monitor

    def _judged(self, monitor: Monitor, request: InferenceRequest) -> Sequence[FeatureFinding]:
        features = monitor.inputs.features
        if not features:
            raise ModelNotReady(f"Model {self._watched} has no reference yet.")
        try:
            columns = columns_of(cut(request.inputs, WHOLE))
        except (ValueError, TypeError) as error:
            raise InferenceError(f"The inputs cannot be compared: {error}.") from error
        ordered = self._ordered(columns, [feature.name for feature in features])
        for feature, column in zip(features, ordered, strict=True):
            found = len(present(feature.reference.values(column)))
            if found < LEAST:
                raise InferenceError(
                    f"{feature.name} has {found} values that are not missing; a comparison needs {LEAST}."
                )
        return monitor.inputs.judge(ordered)

    def _ordered(self, columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
        by_name = {column.name: column for column in columns}
        if set(names) == set(by_name):
            return [by_name[name] for name in names]
        if len(columns) == len(names):
            return list(columns)
        raise InferenceError(
            f"The inputs have {len(columns)} columns, and the reference of {self._watched} has {len(names)}."
        )

    def _per_feature(self, request: InferenceRequest) -> bool:
        kind = "batch" if request.parameters is None else request.parameters.get("drift_type", "batch")
        if kind not in ("batch", "feature"):
            raise InferenceError(f'The parameter drift_type is "batch" or "feature", not {kind!r:.40}.')
        return kind == "feature"


def _outputs(findings: Sequence[FeatureFinding], threshold: float, per_feature: bool) -> list[ResponseOutput]:
    drifted = [int(found.drifted) for found in findings]
    rows = {
        "is_drift": np.array(drifted if per_feature else [int(any(drifted))], np.int64),
        "distance": np.array([found.comparison.tested.statistic for found in findings]),
        "p_val": np.array([found.p_value for found in findings]),
        "threshold": np.array([threshold]),
    }
    made = []
    for name, values in rows.items():
        datatype = Datatype.INT64 if name == "is_drift" else Datatype.FP64
        made.append(ResponseOutput(name, [1, len(values)], datatype, values, Parameters(content_type="np")))
    return made
