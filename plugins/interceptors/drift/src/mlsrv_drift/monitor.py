"""Monitor: the drift of one version of a model; one for all its workers."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve, frozen

from mlsrv.kernel_api import Metrics
from mlsrv.metrics import Recorder
from mlsrv_drift import metrics as m
from mlsrv_drift.columns import Cut, columns_of
from mlsrv_drift.feature import Feature
from mlsrv_drift.findings import Findings
from mlsrv_drift.part import Part
from mlsrv_drift.reference import reference_of
from mlsrv_drift.settings import DriftModelSettings
from mlsrv_drift.state_file import StateFile
from mlsrv_drift.table_file import Table

logger = logging.getLogger("mlsrv.drift")

SAVE_SECONDS = 30.0
"""Seconds after which changed state is written, windows apart."""

TURN_SECONDS = 1.0
"""Seconds that one model has before it is the next one's turn."""


@frozen
class Subject:
    """The subject of a watch.

    Attributes:
        model, version: of the model.
        inputs, outputs: names of the tensors that it declares.
        settings: of the watch.
        table: the reference sample, or None.
    """

    model: str
    version: str | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: DriftModelSettings
    table: Table | None = None

    def is_same(self, other: Subject) -> bool:
        """Return whether a monitor of one can go on with the other."""
        return evolve(self, table=None) == evolve(other, table=None) and self.digest == other.digest

    @property
    def digest(self) -> str | None:
        """The digest of the reference sample's file."""
        return None if self.table is None else self.table.digest


class Monitor:
    """Compares what a model gets and answers with a reference.

    `put` is called on the event loop, everything else that changes it by the thread of `Monitors`. `report`
    and `inputs` may be read anywhere.

    Args:
        subject: what is watched.
        meters: record it.
        file: keeps the state, or None.
        wake: called after each `put`.

    Attributes:
        dropped: requests that were not looked at, since too many waited.
    """

    def __init__(
        self, subject: Subject, meters: Metrics, file: StateFile | None, wake: Callable[[], None]
    ) -> None:
        self.subject = subject
        self.settings = subject.settings
        self._meters = meters
        self._labels = (subject.model, subject.version or "")
        self._file = file
        self._wake = wake
        self._queue: deque[tuple[list[Cut], list[Cut]]] = deque()
        self._forget = False
        self.dropped = 0
        self.failed = 0
        self.rows = 0
        self._changed = False
        self._saved = time.monotonic()
        self._count_rows = meters.bind(m.DRIFT_ROWS, self._labels)
        self._drop = meters.bind(m.DRIFT_DROPPED, (*self._labels, "queue"))
        self._fail = meters.bind(m.DRIFT_DROPPED, (*self._labels, "failed"))
        self._windows: dict[tuple[str, bool], Recorder] = {}
        self._begin()
        for part in self._parts:
            for has_drifted in (False, True):
                labels = (*self._labels, part.name, "drift" if has_drifted else "none")
                self._windows[part.name, has_drifted] = meters.bind(m.DRIFT_WINDOWS, labels)
            self._meters.record(m.DRIFT_DETECTED, 0.0, (*self._labels, part.name))
            self._meters.record(m.DRIFT_SHARE, 0.0, (*self._labels, part.name))
        self._restore()
        self.report = self._report()

    def wants(self) -> bool:
        """Return whether to look at the next request."""
        share = self.settings.drift_sample
        return share >= 1.0 or random.random() < share

    def put(self, inputs: list[Cut], outputs: list[Cut]) -> None:
        """Take a request and its answer, or drop them if too many wait. Neither blocks nor raises."""
        if len(self._queue) >= self.settings.drift_queue:
            self.dropped += 1
            self._drop(1.0)
            return
        self._queue.append((inputs, outputs))
        self._wake()

    def note_failure(self, error: Exception) -> None:
        """Count a request that cannot be watched; the first one is logged."""
        if not self.failed:
            logger.warning("Model %s: a request cannot be watched for drift: %r", self.subject.model, error)
        self.failed += 1
        self._fail(1.0)

    @property
    def waiting(self) -> int:
        """Requests that wait to be looked at."""
        return len(self._queue)

    @property
    def inputs(self) -> Part:
        """The inputs."""
        return self._parts[0]

    def reset(self) -> None:
        """Have the reference that was learned, the windows and the counts forgotten."""
        self._forget = True
        self._wake()

    # --- the thread of Monitors -----------------------------------------------------------------------------

    def work(self) -> None:
        """Look at what waits, for `TURN_SECONDS` at most, and compare windows that are due."""
        end = time.monotonic() + TURN_SECONDS
        if self._forget:
            self._forget = False
            self._begin()
            self.rows = 0
            self._changed = True
        while self._queue and time.monotonic() < end:
            inputs, outputs = self._queue.popleft()
            try:
                self._take(inputs, outputs)
            except Exception as error:  # what a model answers may be anything; the watch must go on
                self.note_failure(error)
        self._compare()
        if self._changed and time.monotonic() - self._saved >= SAVE_SECONDS:
            self.save()
        self.report = self._report()

    def save(self) -> None:
        """Write the state, if it has changed."""
        if self._file is None or not self._changed:
            return
        self._saved, self._changed = time.monotonic(), False
        meta: dict[str, Any] = {"fingerprint": self._fingerprint(), "rows": self.rows, "parts": {}}
        arrays: dict[str, Any] = {}
        for part in self._parts:
            features = []
            for index, feature in enumerate(part.features):
                key = f"{part.name}.{index}"
                arrays[f"{key}.reference"] = feature.reference.stored()
                arrays[f"{key}.window"] = feature.window()
                features.append(
                    {
                        "name": feature.name,
                        "label": feature.label,
                        "datatype": feature.datatype,
                        "changes": feature.changes,
                        "recent": [] if feature.detector is None else list(feature.detector.recent),
                    }
                )
            meta["parts"][part.name] = {
                "features": features,
                "rows": part.rows,
                "windows": part.windows,
                "drifted": part.drifted,
            }
        self._file.write(meta, arrays)

    def _begin(self) -> None:
        subject = self.subject
        self._parts: tuple[Part, ...] = (Part("inputs", self.settings, subject.inputs, subject.table),)
        if self.settings.drift_predictions:
            self._parts += (Part("outputs", self.settings, subject.outputs, None),)
        self._is_split = subject.table is None

    def _take(self, inputs: list[Cut], outputs: list[Cut]) -> None:
        now = time.time()
        asked, answered = columns_of(inputs), columns_of(outputs)
        if not self._is_split:
            self._split([column.name for column in answered])
        rows = max((len(column.values) for column in asked), default=0)
        self.rows += rows
        self._count_rows(float(rows))
        self._changed = True
        parts = ((asked, len(inputs) == 1), (answered, False))
        for part, (columns, is_matrix) in zip(self._parts, parts, strict=False):
            for label, count in part.take(columns, is_matrix, now).items():
                labels = (*self._labels, part.name, label)
                self._meters.record(m.DRIFT_CHANGES, float(count), labels)
            if part.is_due(now):
                self._close(part, now)

    def _split(self, outputs: Sequence[str]) -> None:
        """Part the reference sample: columns that are named as outputs are the reference of predictions."""
        table = self.subject.table
        assert table is not None
        self._is_split = True
        names = {*outputs, *self.subject.outputs}
        of_outputs = table.only(names)
        made = [Part("inputs", self.settings, self.subject.inputs, table.only(names, wanted=False))]
        if self.settings.drift_predictions:
            found = of_outputs if of_outputs.columns else None
            made.append(Part("outputs", self.settings, self.subject.outputs, found))
        self._parts = tuple(
            new if old.is_learning else old for old, new in zip(self._parts, made, strict=True)
        )

    def _compare(self) -> None:
        now = time.time()
        for part in self._parts:
            if part.is_due(now):
                self._close(part, now)

    def _close(self, part: Part, now: float) -> None:
        findings = part.close_window(now)
        self._windows[part.name, findings.drifted](1.0)
        self._show(part, findings)
        if findings.drifted:
            logger.info("Model %s: %s", self.subject.model, findings.explanation(part.name))
        self._changed = True
        self.save()

    def _show(self, part: Part, findings: Findings) -> None:
        record = self._meters.record
        place = (*self._labels, part.name)
        record(m.DRIFT_DETECTED, float(findings.drifted), place)
        record(m.DRIFT_SHARE, findings.share, place)
        labels = {feature.name: feature.label for feature in part.features}
        for found in findings.features:
            compared, label = found.comparison, labels[found.name]
            record(m.DRIFT_P_VALUE, found.p_value, (*place, label))
            distances = {
                compared.test: compared.tested.statistic,
                "psi": compared.psi,
                "missing": compared.missing,
            }
            if compared.wasserstein is not None:
                distances["wasserstein"] = compared.wasserstein
            for statistic, value in distances.items():
                record(m.DRIFT_DISTANCE, value, (*place, label, statistic))

    def _fingerprint(self) -> list[Any]:
        return [self.subject.digest, sorted(self.settings.drift_categorical)]

    def _restore(self) -> None:
        found = None if self._file is None else self._file.read()
        if found is None:
            return
        meta, arrays = found
        if meta["fingerprint"] != self._fingerprint():
            logger.info(
                "Model %s: the reference is another one; the watch for drift begins anew", self.subject.model
            )
            return
        self.rows = meta["rows"]
        for part in self._parts:
            kept = meta["parts"].get(part.name)
            if kept is None or not kept["features"]:
                continue
            features = []
            for index, one in enumerate(kept["features"]):
                key = f"{part.name}.{index}"
                sample = arrays[f"{key}.reference"]
                reference = reference_of(sample, one["datatype"], sample.dtype == object)
                feature = Feature(
                    one["name"], one["label"], one["datatype"], reference, self.settings.drift_stream
                )
                feature.restore(arrays[f"{key}.window"], one["changes"], one["recent"])
                features.append(feature)
            part.restore(features, kept["rows"], kept["windows"], kept["drifted"], time.time())

    def _report(self) -> dict[str, Any]:
        parts = {part.name: self._part(part) for part in self._parts}
        watched = [part for part in self._parts if part.latest is not None]
        if watched:
            words = " ".join(
                part.latest.explanation(part.name) for part in watched if part.latest is not None
            )
        elif any(not part.is_learning for part in self._parts):
            words = "No window is full yet."
        else:
            words = "There is no reference yet: the first rows will be it."
        drifted = any(part.latest is not None and part.latest.drifted for part in self._parts)
        problems = [part.problem for part in self._parts if part.problem]
        return {
            "model": self.subject.model,
            "version": self.subject.version,
            "watched": True,
            "drift": drifted,
            "explanation": " ".join([*problems, words]),
            "decides": self.settings.drift_decides,
            "threshold": self.settings.threshold,
            "correction": self.settings.drift_correction,
            "rows": self.rows,
            "parts": parts,
        }

    def _part(self, part: Part) -> dict[str, Any]:
        return {
            "state": "learning" if part.is_learning else "watching",
            "learned_rows": part.learned if part.is_learning else None,
            "open_window": {"rows": part.rows, "of": self.settings.drift_window},
            "windows": part.windows,
            "windows_drifted": part.drifted,
            "features": [feature.name for feature in part.features],
            "changes": {one.name: one.changes for one in part.features if one.detector is not None},
            "latest": None if part.latest is None else part.latest.to_plain(part.name),
            "problem": part.problem,
        }
