"""Settings: those of mlsrv as MLServer's, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlserver.settings as theirs

import mlsrv
from mlsrv_mlserver.messages import our_declared, their_declared

_FIELDS = ("platform", "versions", "parallel_workers", "max_batch_size", "max_batch_time", "cache_enabled")


def their_model_settings(model: mlsrv.ModelSettings) -> theirs.ModelSettings:
    """Return the settings of a model in MLServer's types."""
    implementation: Any = model.implementation
    values: dict[str, Any] = {
        "name": model.name,
        "implementation": implementation or "",
        "parameters": _their_parameters(model),
        "inputs": [their_declared(tensor) for tensor in model.inputs],
        "outputs": [their_declared(tensor) for tensor in model.outputs],
    }
    for name in _FIELDS:
        value = getattr(model, name, None)
        if value is not None and isinstance(value, str | int | float | list):
            values[name] = value
    made = theirs.ModelSettings.model_validate(values)
    made._source = None if model.source is None else str(model.source)
    made._ours = model
    return made


def _their_parameters(model: mlsrv.ModelSettings) -> theirs.ModelParameters:
    given = model.parameters.dict()
    return theirs.ModelParameters.model_validate(given)


def our_model_settings(model: theirs.ModelSettings) -> mlsrv.ModelSettings:
    """Return settings in MLServer's types as mlsrv has them; fields that are not set are left to mlsrv."""
    given = model.model_fields_set | set(model.model_extra or ())
    fields = {name: getattr(model, name) for name in _FIELDS if name in given}
    fields |= model.model_extra or {}
    fields.pop("max_batch_time", None)
    if "max_batch_time" in given:
        fields["max_batch_time"] = model.max_batch_time
    parameters = {} if model.parameters is None else model.parameters.model_dump()
    return mlsrv.ModelSettings(
        name=model.name,
        implementation=model._class or model.implementation_ or None,
        parameters={name: value for name, value in parameters.items() if value not in (None, False)},
        inputs=[our_declared(tensor) for tensor in model.inputs],
        outputs=[our_declared(tensor) for tensor in model.outputs],
        source=None if model._source is None else Path(model._source),
        **fields,
    )


def our_settings(settings: theirs.Settings) -> mlsrv.Settings:
    """Return settings of a server in MLServer's types as mlsrv has them; fields that are not set are left to
    mlsrv."""
    given = settings.model_dump(exclude_unset=True)
    without_kafka = not given.get("kafka_enabled")
    return mlsrv.Settings(
        **{name: value for name, value in given.items() if not (without_kafka and name.startswith("kafka_"))}
    )
