"""Session: an ONNX Runtime session from a file and the model's settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_runtime_kit import extra_value, thread_count, unreadable

_NEWER = ("Unsupported model IR version", "ONNX Runtime only *guarantees* support")
"""Beginning of the error of ONNX Runtime for a model that needs a newer version of it."""

RUN_ERRORS: tuple[type[Exception], ...] = (InvalidArgument, Fail, RuntimeException)
"""Errors of ONNX Runtime for a run that fails."""

_NODE = re.compile(r"while running (\w+) node. Name:'([^']*)'")
_CHECKED = re.compile(
    r"/?\S+\.(?:h|cc|cpp|cuh?):\d+ .*?\)(?: const)? (?P<condition>.*?) was false\.(?P<reason>.*)", re.S
)
"""A condition of ONNX Runtime's source that does not hold: file, function, condition, and a text."""
_SOURCE = re.compile(r"/?\S+\.(?:h|cc|cpp|cuh?):\d+ (?:.*?\)(?: const)? )?", re.S)
_SHAPES = re.compile(
    r"(?i)shape|dim(?:ension|s)?\b|dimensions|broadcast|\brank\b|\baxis\b|\bsizes?\b|out of (?:data )?bounds"
)
_MEMORY = re.compile(r"(?i)allocat|memory")

_ENUMERATIONS = {
    "execution_mode": onnxruntime.ExecutionMode,
    "execution_order": onnxruntime.ExecutionOrder,
    "graph_optimization_level": onnxruntime.GraphOptimizationLevel,
}


def open_session(settings: ModelSettings, path: Path) -> Any:
    """Open the session of a model.

    Raises:
        ModelLoadError: the file cannot be read, or a setting is wrong; says what to do.
    """
    options = _options(settings)
    providers = _providers(settings)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        text = str(error)
        for beginning in _NEWER:
            if beginning in text:
                why = beginning + text.partition(beginning)[2].splitlines()[0][:160].rstrip(". ")
                raise ModelLoadError(
                    f"Model {settings.name}: {path} is newer than ONNX Runtime {onnxruntime.__version__} can "
                    f"read ({why}); install a newer onnxruntime, or export it with an older opset."
                ) from error
        raise unreadable(
            settings.name, path, "an ONNX model", error_text(error), "export it again, and check it with onnx"
        ) from error


def error_text(error: Exception) -> str:
    """Return an error text of ONNX Runtime without the product's name and error numbers."""
    return str(error).rpartition(" : ")[2].strip() or type(error).__name__


def run_text(error: Exception) -> str:
    """Return the text of a failed run: the node and the reason, without the source files of ONNX Runtime."""
    told, _, status = str(error).partition("Status Message: ")
    reason = status.strip() if status else error_text(error)
    node = _NODE.search(told)
    where = ""
    if node is not None:
        where = f'node "{node[2]}" ({node[1]}): ' if node[2] else f"node {node[1]}: "
    checked = _CHECKED.match(reason)
    if checked is not None:
        reason = checked["reason"].strip() or f"it needs that {checked['condition'].strip()}"
    elif _SOURCE.match(reason):
        reason = _SOURCE.sub("", reason)
    return where + " ".join(reason.split())


def is_of_shapes(text: str) -> bool:
    """Return whether the text of a failed run tells of sizes that do not fit, which the request chose."""
    return _SHAPES.search(text) is not None and _MEMORY.search(text) is None


def _options(settings: ModelSettings) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count(settings)
    for key, value in extra_value(settings, "session_options", dict, {}).items():
        known = key in dir(options) and not key.startswith("_") and not callable(getattr(options, key))
        if not known:
            raise _wrong(settings, "session_options", f"has {key!r}, which is no option of a session")
        try:
            setattr(options, key, _ENUMERATIONS[key].__members__[value] if key in _ENUMERATIONS else value)
        except (KeyError, TypeError):
            raise _wrong(
                settings, "session_options", f"has {value!r} for {key}, which does not take it"
            ) from None
    for key, value in extra_value(settings, "session_config", dict, {}).items():
        options.add_session_config_entry(str(key), str(value))
    return options


def _providers(settings: ModelSettings) -> list[Any]:
    available = onnxruntime.get_available_providers()
    # A provider for models that run elsewhere, which every build has.
    default = [name for name in available if name != "AzureExecutionProvider"]
    chosen: list[Any] = []
    for provider in extra_value(settings, "providers", list, default):
        name, values = provider if isinstance(provider, list) and len(provider) == 2 else (provider, {})
        if name not in available or not isinstance(values, dict):
            raise _wrong(
                settings,
                "providers",
                f"has {provider!r}; it lists names, or pairs of a name and an object of options, among "
                f"{', '.join(available)}",
            )
        chosen.append((name, values))
    return chosen


def _wrong(settings: ModelSettings, key: str, what: str) -> ModelLoadError:
    return ModelLoadError(f"Model {settings.name}: parameters.extra.{key} {what}.")
