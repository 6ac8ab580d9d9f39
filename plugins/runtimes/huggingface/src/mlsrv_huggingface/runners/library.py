"""Library: tasks that a pipeline of transformers does."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection
from typing import Any

from transformers.pipelines import PIPELINE_REGISTRY, PipelineException

from mlsrv.context import current_context
from mlsrv.errors import InferenceError, ModelLoadError
from mlsrv.types import InferenceRequest
from mlsrv_huggingface.library_tensors import TENSORS, arrays_of, watched
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.reading import Given
from mlsrv_huggingface.runners.base import OUTPUT, Runner
from mlsrv_huggingface.stacking import stacked
from mlsrv_huggingface.task import Task

_CLIENT_ERRORS = (PipelineException, ValueError, KeyError, IndexError, TypeError)
"""What pipelines raise for rows that they do not take."""
_BATCHES = ("token-classification", "fill-mask")
"""Tasks whose rows go through the model together, where the tokenizer can pad them."""


class LibraryRunner(Runner):
    """Hands rows to a pipeline, and its answers back as JSON."""

    def __init__(self, source: Source, task: Task) -> None:
        super().__init__(source, task)
        if task.name not in library_tasks():
            near = difflib.get_close_matches(task.name, library_tasks(), 1)
            hint = f'; did you mean "{near[0]}"?' if near else "."
            raise ModelLoadError(f"Model {source.name}: transformers has no task {task.name!r}{hint}")
        if task.name == "table-question-answering":
            _check_pandas(source.name)
        self._library_tensors = TENSORS.get(task.name, ())
        self.pipeline = source.pipeline(task.name)
        if hasattr(self.pipeline.model, "register_forward_hook"):  # else it is no model of PyTorch
            self.tensors = tuple(one.declared for one in self._library_tensors)
        if getattr(self.pipeline, "tokenizer", None) is not None and self.pipeline.tokenizer.is_fast:
            self._pads = self.pipeline.tokenizer.pad_token_id is not None
        else:
            self._pads = False

    def default_outputs(self, request: InferenceRequest, tensors: bool) -> list[str]:
        # Which of them a model has shows when it answers.
        return [tensor.name for tensor in self.tensors] if tensors else [OUTPUT]

    def run(self, given: Given, wanted: Collection[str]) -> dict[str, Any]:
        options = self._options(given.options)
        try:
            if self.task.name in _BATCHES and len(given.rows) > 1:
                batch = {"batch_size": min(len(given.rows), 32)} if self._pads else {}
                return {OUTPUT: list(self.pipeline(list(given.rows), **options, **batch))}
            if any(tensor.name in wanted for tensor in self.tensors):
                return self._with_tensors(given.rows, options, [name for name in wanted if name != OUTPUT])
            return {OUTPUT: [self._one(row, options) for row in given.rows]}
        except _CLIENT_ERRORS as error:
            text = " ".join(str(error).split())[:300].rstrip(".")
            raise InferenceError(
                f"Model {self.name}: the task {self.task.name} refuses the request: "
                f"{text or type(error).__name__}."
            ) from error

    def _with_tensors(self, rows: list[Any], options: dict[str, Any], names: list[str]) -> dict[str, Any]:
        answers: list[Any] = []
        found: dict[str, list[Any]] = {}
        for row in rows:
            with watched(self.pipeline.model) as given:
                answers.append(self._one(row, options))
            arrays = arrays_of(self._library_tensors, given, answers[-1], names)
            if not arrays:
                raise InferenceError(f"Model {self.name} has none of the tensors {', '.join(names)}.")
            for name, array in arrays.items():
                found.setdefault(name, []).append(array)
        made = {name: stacked(self.name, name, arrays) for name, arrays in found.items()}
        return {OUTPUT: answers, **made}

    def _one(self, row: Any, options: dict[str, Any]) -> Any:
        context = current_context.get()
        if context is not None:
            context.check()
        args, kwargs = self._call(row)
        # Pipelines take what they are given apart.
        found = self.pipeline(*args, **{**options, **kwargs})
        if self.task.gives == "object" and isinstance(found, list) and len(found) == 1:
            return found[0]
        return found

    def _call(self, row: Any) -> tuple[list[Any], dict[str, Any]]:
        name = self.task.name
        if name == "table-question-answering":
            return [], {"table": _table(self.name, row["table"]), "query": row["query"]}
        if name == "keypoint-matching":
            return [[row["image_0"], row["image_1"]]], {}
        if name == "decision":
            return [_decision(self.name, row)], {}
        if name == "document-question-answering":
            return [], {"image": None, **row}
        if name in ("image-text-to-text", "any-to-any"):
            return [], row
        return [row], {}

    def _options(self, given: dict[str, Any]) -> dict[str, Any]:
        options = dict(given)
        if "multi_class" in options:
            options["multi_label"] = options.pop("multi_class")
        rate = options.pop("sampling_rate", None)
        if rate is not None and rate != self._rate:
            raise InferenceError(
                f"Model {self.name} takes sounds of {self._rate} samples a second, not {rate}; resample them."
            )
        return options

    @property
    def _rate(self) -> int:
        return int(getattr(self.pipeline.feature_extractor, "sampling_rate", 16000))


def library_tasks() -> list[str]:
    """Return the tasks of the installed transformers."""
    return sorted(PIPELINE_REGISTRY.supported_tasks)


def _check_pandas(model: str) -> None:
    """Refuse the pandas that the tables of transformers 4 fail with."""
    import pandas
    import transformers

    if transformers.__version__.startswith("4.") and not pandas.__version__.startswith("2."):
        raise ModelLoadError(
            f"Model {model}: tables need pandas 2 where transformers is {transformers.__version__} "
            '(pip install "pandas<3"), or transformers 5.'
        )


def _decision(model: str, value: Any) -> dict[str, Any]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InferenceError(f'Model {model}: a row is a JSON object of "state" and "questions".')
    if "assets" in found:
        # The library would open paths and URLs in it.
        raise InferenceError(f'Model {model}: "assets" of a decision are not supported.')
    return found


def _table(model: str, value: Any) -> Any:
    import pandas

    if not isinstance(value, dict) or not all(isinstance(column, list) for column in value.values()):
        raise InferenceError(f'Model {model}: a "table" is a JSON object with a list for each column.')
    columns = {name: [str(cell) for cell in column] for name, column in value.items()}
    return pandas.DataFrame(columns)
