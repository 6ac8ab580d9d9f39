"""Library: tasks that a pipeline of transformers does."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from transformers.pipelines import PIPELINE_REGISTRY, PipelineException

from mlsrv.context import current_context
from mlsrv.errors import InferenceError, ModelLoadError, Unsupported
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.reading import Given
from mlsrv_huggingface.runners.base import OUTPUT, Runner
from mlsrv_huggingface.tasks import Task

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
        self.pipeline = source.pipeline(task.name)
        if getattr(self.pipeline, "tokenizer", None) is not None and self.pipeline.tokenizer.is_fast:
            self._pads = self.pipeline.tokenizer.pad_token_id is not None
        else:
            self._pads = False

    def run(self, given: Given, wanted: Collection[str]) -> dict[str, Any]:
        options = self._options(given.options)
        try:
            if self.task.name in _BATCHES and len(given.rows) > 1:
                batch = {"batch_size": min(len(given.rows), 32)} if self._pads else {}
                return {OUTPUT: list(self.pipeline(list(given.rows), **options, **batch))}
            return {OUTPUT: [self._one(row, options) for row in given.rows]}
        except _CLIENT_ERRORS as error:
            text = " ".join(str(error).split())[:300].rstrip(".")
            raise InferenceError(
                f"Model {self.name}: the task {self.task.name} refuses the request: "
                f"{text or type(error).__name__}."
            ) from error

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
        if name == "document-question-answering":
            return [], {key: value for key, value in row.items() if value is not None}
        if name == "image-text-to-text":
            return [], {"images": row["images"], "text": row["text"]}
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


def _table(model: str, value: Any) -> Any:
    try:
        import pandas
    except ImportError:
        raise Unsupported(
            f"Model {model}: tables need pandas (pip install mlsrv-huggingface[tables])."
        ) from None
    if not isinstance(value, dict) or not all(isinstance(column, list) for column in value.values()):
        raise InferenceError(f'Model {model}: a "table" is a JSON object with a list for each column.')
    return pandas.DataFrame({name: [str(cell) for cell in column] for name, column in value.items()})
