"""Findings: what came of one window, by feature, and its explanation in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from mlsrv_drift.reference import Comparison

NAMED = 3
"""Features that an explanation names."""


@frozen(eq=False)
class FeatureFinding:
    """One feature of a window.

    Attributes:
        name: of the feature.
        comparison: with the reference.
        p_value: corrected for the number of tests.
        missing_p_value: likewise, of the test for missing values; None if none is missing.
        drifted: whether it drifted.
    """

    name: str
    comparison: Comparison
    p_value: float
    missing_p_value: float | None
    drifted: bool

    def to_plain(self) -> dict[str, Any]:
        """Return the form of the route."""
        found = self.comparison
        return {
            "name": self.name,
            "drift": self.drifted,
            "test": found.test,
            "statistic": found.tested.statistic,
            "p_value": found.tested.p_value,
            "corrected_p_value": self.p_value,
            "psi": found.psi,
            "wasserstein": found.wasserstein,
            "missing": found.missing,
            "missing_p_value": self.missing_p_value,
            "values": found.rows,
            "reference": found.before,
            "window": found.after,
            "explanation": found.words,
        }


@frozen(eq=False)
class Findings:
    """One window.

    Attributes:
        time: of its end, in seconds since the epoch.
        rows: how many rows of requests it had.
        features: those that had enough values.
        left_out: names of those that had not.
    """

    time: float
    rows: int
    features: tuple[FeatureFinding, ...]
    left_out: tuple[str, ...]

    @property
    def drifted(self) -> bool:
        """True if any feature drifted."""
        return any(feature.drifted for feature in self.features)

    @property
    def share(self) -> float:
        """Share of the features that drifted."""
        return sum(feature.drifted for feature in self.features) / max(len(self.features), 1)

    def to_plain(self, part: str) -> dict[str, Any]:
        """Return the form of the route; `part` is what the features are of."""
        return {
            "time": datetime.fromtimestamp(self.time, UTC).isoformat(timespec="seconds"),
            "rows": self.rows,
            "drift": self.drifted,
            "explanation": self.explanation(part),
            "features": [feature.to_plain() for feature in self.features],
            "too_few_values": list(self.left_out),
        }

    def explanation(self, part: str) -> str:
        """Return one sentence that says what drifted, the strongest first."""
        drifted = _strongest(self.features)
        if not drifted:
            return f"None of {len(self.features)} {part} drifted in the latest window of {self.rows} rows."
        named = "; ".join(
            f"{feature.name}: {feature.comparison.words}, corrected p = {feature.p_value:.2g}, "
            f"stability index {feature.comparison.psi:.2g}" + _missing(feature)
            for feature in drifted[:NAMED]
        )
        more = f"; and {len(drifted) - NAMED} more" if len(drifted) > NAMED else ""
        return (
            f"{len(drifted)} of {len(self.features)} {part} drifted in the latest window of {self.rows} "
            f"rows. {named}{more}."
        )


def _strongest(features: Sequence[FeatureFinding]) -> list[FeatureFinding]:
    drifted = [feature for feature in features if feature.drifted]
    return sorted(drifted, key=lambda feature: (feature.p_value, -feature.comparison.psi))


def _missing(feature: FeatureFinding) -> str:
    share = feature.comparison.missing
    return f", {share:.1%} of the values are missing" if share else ""
