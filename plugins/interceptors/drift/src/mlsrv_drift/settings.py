"""Settings: what is watched for drift, and how."""

from __future__ import annotations

from typing import Literal

from mlsrv.settings import setting, settings_class

THRESHOLDS = {"p_value": 0.05, "psi": 0.2, "wasserstein": 0.2}
"""Default thresholds, by what decides."""


@settings_class
class DriftSettings:
    """Server settings."""

    drift_dir: str = setting(
        ".drift",
        help="Folder in which references that were learned and open windows outlive a restart.",
        path=True,
    )


@settings_class
class DriftModelSettings:
    """Model settings."""

    drift_enabled: bool = setting(
        False, help="Compare the requests to this model, and its answers, with a reference sample."
    )
    drift_reference: str | None = setting(
        None,
        help="File with the reference sample (.npy, .csv, .parquet), one column for each feature; columns "
        "named as outputs are the reference of predictions. Without one, the first rows are the reference.",
        path=True,
    )
    drift_learn: int = setting(1000, help="Rows that make the reference of what is in no file.", at_least=2)
    drift_window: int = setting(1000, help="Rows that are compared with the reference together.", at_least=2)
    drift_window_time: float | None = setting(
        None,
        help="Seconds after which a window is compared before it is full, if it has drift_minimum rows.",
        at_least=0.1,
    )
    drift_minimum: int = setting(
        30, help="Values that a feature must have in a window to be compared.", at_least=2
    )
    drift_decides: Literal["p_value", "psi", "wasserstein"] = setting(
        "p_value",
        help="What decides: the p-value of Kolmogorov-Smirnov (numbers) and chi-squared (categories), the "
        "population stability index, or the Wasserstein distance in standard deviations of the reference.",
    )
    drift_threshold: float | None = setting(
        None,
        help="A feature drifts if its corrected p-value is below, or its distance above it. Default: 0.05 "
        "for p_value, 0.2 for psi and wasserstein.",
        at_least=0.0,
    )
    drift_correction: Literal["benjamini_hochberg", "bonferroni", "none"] = setting(
        "benjamini_hochberg",
        help="How the p-values of the features of one window are corrected for their number.",
    )
    drift_categorical: list[str] = setting(
        factory=list, help="Features with numbers that are categories; texts and booleans always are."
    )
    drift_predictions: bool = setting(True, help="Compare the answers, too.")
    drift_stream: Literal["adwin", "kswin", "page_hinkley"] | None = setting(
        None, help="Detector of changes that also sees each number by itself; needs mlsrv-drift[stream]."
    )
    drift_sample: float = setting(1.0, help="Share of the requests that is looked at.", at_least=0.0)
    drift_queue: int = setting(
        1000, help="Requests that may wait to be looked at; those beyond are dropped and counted.", at_least=1
    )

    def __attrs_post_init__(self) -> None:
        if self.drift_sample > 1.0:
            raise ValueError(f"drift_sample: expected a share, 0 to 1, got {self.drift_sample}")

    @property
    def threshold(self) -> float:
        """The number that p-values or distances are compared with."""
        return THRESHOLDS[self.drift_decides] if self.drift_threshold is None else self.drift_threshold
