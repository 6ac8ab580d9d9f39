"""Part: the inputs or the outputs of a model, which are learned, then compared window by window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlsrv_drift.columns import Column
from mlsrv_drift.feature import Feature
from mlsrv_drift.findings import FeatureFinding, Findings
from mlsrv_drift.reference import Comparison, present, reference_of
from mlsrv_drift.settings import DriftModelSettings
from mlsrv_drift.statistics import corrected
from mlsrv_drift.table_file import Table

MOST_FEATURES = 512
"""Features that are watched; those beyond are left out, and the report says so."""


class Part:
    """Watches the inputs or the outputs of a model. Used by one thread.

    Args:
        name: ``"inputs"`` or ``"outputs"``.
        settings: of the model.
        declared: names of the tensors that the model declares.
        table: the reference sample, or None to learn it from the first rows.

    Attributes:
        features: empty until there is a reference.
        learned: rows that were kept for the reference so far.
        rows: of the open window.
        windows, drifted: that were compared, and those of them that drifted.
        latest: the findings of the latest window; None before the first.
        problem: why nothing is compared, or what is left out; None if nothing is wrong.
    """

    def __init__(
        self, name: str, settings: DriftModelSettings, declared: Sequence[str], table: Table | None
    ) -> None:
        self.name = name
        self._settings = settings
        self._declared = frozenset(declared)
        self._table = table
        self.features: tuple[Feature, ...] = ()
        self._by_name: dict[str, Feature] = {}
        self._sample: dict[str, tuple[str, list[npt.NDArray[Any]]]] = {}
        self.learned = 0
        self.rows = 0
        self.windows = 0
        self.drifted = 0
        self._began: float | None = None
        self.latest: Findings | None = None
        self.problem: str | None = None

    @property
    def is_learning(self) -> bool:
        """True while rows still become the reference."""
        return not self.features

    def take(self, columns: Sequence[Column], is_matrix: bool, now: float) -> dict[str, int]:
        """Add the rows of one request, to the reference or to the window.

        Args:
            columns: its features.
            is_matrix: whether they are the columns of one tensor, which are told by their position.
            now: seconds since the epoch.

        Returns:
            By label of the feature, the changes that its detector found.
        """
        rows = max((len(column.values) for column in columns), default=0)
        if not rows:
            return {}
        if not self.features and self._table is not None:
            found = self._from_table(columns, is_matrix)
            if found:
                self._begin(found)
        elif not self.features:
            self._learn(columns, rows)
            return {}
        if not self.features:
            return {}
        if self._began is None:
            self._began = now
        self.rows += rows
        pairs: list[tuple[Feature, Column]]
        if is_matrix and len(columns) == len(self.features):
            pairs = list(zip(self.features, columns, strict=True))
        else:
            pairs = [(self._by_name[one.name], one) for one in columns if one.name in self._by_name]
        changes = {feature.label: feature.take(column) for feature, column in pairs}
        return {label: count for label, count in changes.items() if count}

    def is_due(self, now: float) -> bool:
        """Return whether the open window is to be compared."""
        if self.rows >= self._settings.drift_window:
            return True
        limit = self._settings.drift_window_time
        if limit is None or self._began is None:
            return False
        return now - self._began >= limit and self.rows >= self._settings.drift_minimum

    def close_window(self, now: float) -> Findings:
        """Compare the open window, and begin a new one."""
        minimum = min(self._settings.drift_minimum, self._settings.drift_window)
        values = {feature: feature.window() for feature in self.features}
        enough = {one: found for one, found in values.items() if len(present(found)) >= minimum}
        left_out = tuple(one.name for one in self.features if one not in enough)
        compared = [(one.name, one.reference.compare(found)) for one, found in enough.items()]
        self.latest = Findings(now, self.rows, self._judged(compared), left_out)
        self.windows += 1
        self.drifted += self.latest.drifted
        self.rows, self._began = 0, None
        for feature in self.features:
            feature.clear()
        return self.latest

    def judge(self, columns: Sequence[Column]) -> tuple[FeatureFinding, ...]:
        """Compare a batch by itself. `columns` are those of the features, in their order, each with a value
        that is not missing."""
        features = self.features
        return self._judged(
            [
                (one.name, one.reference.compare(one.reference.values(column)))
                for one, column in zip(features, columns, strict=True)
            ]
        )

    def restore(self, features: Sequence[Feature], rows: int, windows: int, drifted: int, now: float) -> None:
        """Go on where an earlier process ended."""
        self._begin(features)
        self.rows, self.windows, self.drifted = rows, windows, drifted
        self._began = now if rows else None

    def _judged(self, compared: Sequence[tuple[str, Comparison]]) -> tuple[FeatureFinding, ...]:
        tests = [found.tested.p_value for _, found in compared]
        missing = [found.missing_p_value for _, found in compared if found.missing_p_value is not None]
        adjusted = iter(corrected([*tests, *missing], self._settings.drift_correction))
        p_values = [next(adjusted) for _ in compared]
        findings = []
        for (name, found), p_value in zip(compared, p_values, strict=True):
            missing_p = None if found.missing_p_value is None else next(adjusted)
            findings.append(
                FeatureFinding(name, found, p_value, missing_p, self._drifts(found, p_value, missing_p))
            )
        return tuple(findings)

    def _drifts(self, found: Comparison, p_value: float, missing_p_value: float | None) -> bool:
        limit = self._settings.threshold
        if self._settings.drift_decides == "psi":
            return found.psi > limit
        if self._settings.drift_decides == "wasserstein" and found.wasserstein is not None:
            return found.wasserstein > limit
        if self._settings.drift_decides == "wasserstein":  # categories have no such distance
            limit = 0.05
        return p_value < limit or (missing_p_value is not None and missing_p_value < limit)

    def _begin(self, features: Sequence[Feature]) -> None:
        self.features = tuple(features)
        self._by_name = {feature.name: feature for feature in features}
        self._sample, self._table = {}, None

    def _learn(self, columns: Sequence[Column], rows: int) -> None:
        for column in columns:
            if column.name in self._sample or len(self._sample) < MOST_FEATURES:
                self._sample.setdefault(column.name, (column.datatype, []))[1].append(column.values)
        self.learned += rows
        if self.learned < self._settings.drift_learn:
            return
        joined = {name: (datatype, _joined(values)) for name, (datatype, values) in self._sample.items()}
        features = [self._feature(name, *found, index) for index, (name, found) in enumerate(joined.items())]
        kept = [feature for feature in features if feature is not None]
        self._sample, self.learned = {}, 0
        if kept:
            self._begin(kept)

    def _from_table(self, columns: Sequence[Column], is_matrix: bool) -> list[Feature]:
        table = self._table
        assert table is not None
        names = [column.name for column in columns]
        chosen: list[tuple[str, str, npt.NDArray[Any]]]
        if set(names) <= set(table.names):
            chosen = [
                (column.name, column.datatype, table.columns[table.names.index(column.name)])
                for column in columns
            ]
        elif len(table.columns) == len(columns) and (is_matrix or not table.names):
            chosen = [
                (name, column.datatype, values)
                for name, column, values in zip(table.names or names, columns, table.columns, strict=True)
            ]
        else:
            self.problem = (
                f"The reference has {len(table.columns)} columns ({_listed(table.names)}), and the "
                f"{self.name} have {len(names)} ({_listed(names)}): nothing is compared."
            )
            return []
        self.problem = None
        found = [self._feature(*one, index) for index, one in enumerate(chosen[:MOST_FEATURES])]
        return [feature for feature in found if feature is not None]

    def _feature(self, name: str, datatype: str, values: npt.NDArray[Any], index: int) -> Feature | None:
        is_text = datatype in ("BYTES", "BOOL") or name in self._settings.drift_categorical
        try:
            reference = reference_of(values, datatype, is_text)
        except ValueError as error:
            self.problem = f"{name} is not watched: {error}."
            return None
        is_known = self._table is not None or name.partition("[")[0] in self._declared
        label = name if is_known else f"{self.name}[{index}]"
        return Feature(name, label, datatype, reference, self._settings.drift_stream)


def _joined(values: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    if any(one.dtype == object for one in values):
        values = [one for one in values if one.dtype == object]
    return np.concatenate(values)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "") if names else "without names"
