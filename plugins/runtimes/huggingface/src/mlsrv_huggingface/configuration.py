"""Configuration: the settings of a model, from all their sources."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import attrs

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_huggingface.settings import HuggingFaceSettings
from mlsrv_settings_kit.convert import from_text, structure_fields

PREFIX = "huggingface_"
SELDON = "PREDICTIVE_UNIT_PARAMETERS"
"""The environment variable in which Seldon Core 1 gives the parameters of a graph's node."""


@attrs.frozen
class Options:
    """The settings of a model, without their prefix; see `HuggingFaceSettings`."""

    task: str
    task_suffix: str
    pretrained_model: str | None
    pretrained_tokenizer: str | None
    model_kwargs: dict[str, Any]
    framework: str | None
    optimum_model: bool
    device: int | str | None
    inter_op_threads: int | None
    intra_op_threads: int | None
    allow_hub: bool
    trust_remote_code: bool
    allow_pickle: bool
    raw_outputs: bool | None
    truncation: bool
    pooling: str | None
    normalize: bool | None


def options_of(settings: ModelSettings, environ: Mapping[str, str] = os.environ) -> Options:
    """Return the settings of a model: Seldon's parameters, else ``parameters.extra``, else its fields.

    Raises:
        ModelLoadError: a key is unknown, or a value is wrong.
    """
    fields = attrs.fields_dict(HuggingFaceSettings)  # type: ignore[arg-type]  # a settings class
    given = settings.of(HuggingFaceSettings)
    values = {name: getattr(given, name) for name in fields}
    extra = {f"{PREFIX}{key}": value for key, value in settings.parameters.extra.items() if value is not None}
    for name, value in extra.items():
        if name in fields and isinstance(value, str):
            extra[name] = from_text(value, fields[name].type)
    merged = {**values, **extra, **_from_seldon(settings.name, environ.get(SELDON, ""), fields)}
    made, problems = structure_fields(HuggingFaceSettings, merged)
    if problems:
        key, why = problems[0]
        raise ModelLoadError(
            f"Model {settings.name}: parameters.extra.{key.removeprefix(PREFIX)}: "
            f"{why.replace(PREFIX, '').rstrip('.')}."
        )
    return Options(**{name.removeprefix(PREFIX): getattr(made, name) for name in fields})


def _from_seldon(model: str, text: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields in Seldon's list of ``{"name": …, "value": …, "type": …}``; others are not ours."""
    if not text.strip():
        return {}
    try:
        listed = {f"{PREFIX}{item['name']}": item["value"] for item in json.loads(text)}
    except (ValueError, TypeError, KeyError):
        raise ModelLoadError(
            f'Model {model}: {SELDON} must be a JSON list of objects with "name", "value" and "type".'
        ) from None
    return {
        name: from_text(str(value), fields[name].type) for name, value in listed.items() if name in fields
    }
