"""Base: what a runner is, and the values that it answers with."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from typing import Any

from mlsrv.errors import Unsupported
from mlsrv.types import Datatype, InferenceRequest, MetadataTensor, Parameters
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.reading import Given
from mlsrv_huggingface.task import Task

OUTPUT = "output"
"""The output that has the answers of a pipeline, as JSON."""


class Runner(ABC):
    """Does one task with one model.

    Args:
        source: of the model, which is read here.
        task: what it is for.

    Attributes:
        tensors: the outputs beside the JSON ones, the first of which is sent if tensors are asked for.
        lock: held while the model works: its tokenizer takes one thread at a time, and its framework uses
            all cores for each.

    Raises:
        ModelLoadError: the model cannot be read.
    """

    tensors: tuple[MetadataTensor, ...] = ()

    def __init__(self, source: Source, task: Task) -> None:
        self.name = source.name
        self.source = source
        self.task = task
        self.lock = threading.Lock()

    @property
    def outputs(self) -> list[MetadataTensor]:
        """All outputs: the JSON one first."""
        parameters = Parameters("hg_jsonlist")
        return [MetadataTensor(OUTPUT, Datatype.BYTES, [-1, 1], parameters), *self.tensors]

    @property
    def inputs(self) -> list[MetadataTensor]:
        """Inputs beside those of the task's rows."""
        return []

    def default_outputs(self, request: InferenceRequest, tensors: bool) -> list[str]:
        """Return the outputs of a request that names none; `tensors` says whether it wants tensors."""
        return [self.tensors[0].name] if tensors and self.tensors else [OUTPUT]

    @abstractmethod
    def run(self, given: Given, wanted: Collection[str]) -> dict[str, Any]:
        """Answer a request.

        Args:
            given: its rows, one at least, or its messages; and its options.
            wanted: names of the outputs to make.

        Returns:
            By name: for ``output`` a list with one JSON value for each row, for others an array, or a list of
            texts.

        Raises:
            InferenceError: a row does not fit.
        """

    def stream(self, given: Given) -> Iterator[dict[str, Any]]:
        """Yield the outputs of a stream, as `run` makes them. Raises `Unsupported`, or as `run`."""
        raise Unsupported(f"Model {self.name} does not stream: its task is {self.task.name}.")

    @property
    def streams(self) -> bool:
        """True if there is a `stream`."""
        return type(self).stream is not Runner.stream
