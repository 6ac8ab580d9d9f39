"""Options: what ``parameters.extra`` says of a detector."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_runtime_kit import extra_value

_KNOWN = ("predict_parameters", "batch_size", "state_save_freq")


@frozen
class Options:
    """The way in which a detector is asked.

    Attributes:
        predict_parameters: arguments of the detector's `predict`.
        batch_size: requests that are collected before it is asked; 0 asks it for each.
        state_save_freq: rows after which an online detector's state is saved; 0 never saves it.
    """

    predict_parameters: dict[str, Any]
    batch_size: int
    state_save_freq: int


def read_options(settings: ModelSettings) -> Options:
    """Return the options of a model.

    Raises:
        ModelLoadError: one is wrong, or unknown.
    """
    given = settings.parameters.extra
    unknown = sorted(set(given) - set(_KNOWN))
    if unknown:
        raise ModelLoadError(
            f"Model {settings.name}: parameters.extra.{unknown[0]} is unknown; there are {', '.join(_KNOWN)}."
        )
    batch_size = extra_value(settings, "batch_size", int, 0)
    # MLServer saves every 100 rows unless it is told otherwise, and never where it is told null.
    frequency = extra_value(settings, "state_save_freq", int, 0 if "state_save_freq" in given else 100)
    for key, value in (("batch_size", batch_size), ("state_save_freq", frequency)):
        if given.get(key) is not None and value < 1:
            raise ModelLoadError(
                f"Model {settings.name}: parameters.extra.{key} must be at least 1, not {value}."
            )
    return Options(extra_value(settings, "predict_parameters", dict, {}), batch_size, frequency)
