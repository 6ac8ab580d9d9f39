"""Settings: adaptive batching."""

from __future__ import annotations

from typing import Literal

from mlsrv.settings import setting, settings_class


@settings_class
class BatchingSettings:
    """Model settings."""

    max_batch_size: int = setting(
        0,
        help="Rows that one batch may have at most; 0 or 1 switches batching off. Larger requests are split.",
    )
    max_batch_tokens: int = setting(
        0,
        help="Tokens that one batch may have at most, if the runtime counts them; 0: any number. A request "
        "with more is run by itself.",
        at_least=0,
    )
    max_batch_time: float | Literal["auto"] = setting(
        0.0,
        help="Seconds that a request may wait for others while the model is busy; 0 switches batching off. "
        'An idle model never waits. "auto" derives a window from the cost of batches, see latency_slo.',
    )
    latency_slo: float = setting(
        0.1, help='Seconds within which max_batch_time = "auto" tries to answer each request.'
    )
    batch_row_parameters: list[str] = setting(
        factory=list,
        help="Names of parameters of outputs that are lists with one value for each row; each request gets "
        "the values of its own rows. Other lists go to every request as they are.",
    )

    @property
    def enabled(self) -> bool:
        """True if the model's requests are batched."""
        return self.max_batch_size > 1 and (self.max_batch_time == "auto" or self.max_batch_time > 0)
