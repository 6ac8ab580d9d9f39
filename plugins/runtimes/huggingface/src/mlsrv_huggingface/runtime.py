"""Runtime: models of Hugging Face, each for one task."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from mlsrv.codecs.content import encode_named
from mlsrv.context import current_context
from mlsrv.errors import InferenceError, ModelLoadError, OutputNotFound, Unsupported
from mlsrv.model import MLModel
from mlsrv.settings import ModelSettings
from mlsrv.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_huggingface.codecs import JSONListCodec
from mlsrv_huggingface.configuration import options_of
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.location import model_folder
from mlsrv_huggingface.reading import Given, declared_inputs, read
from mlsrv_huggingface.runners.base import OUTPUT, Runner
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.tasks import ALIASES, TASKS, TENSORS_FIRST, task_of_architecture


class HuggingFaceRuntime(MLModel):
    """Serves a model of transformers for one task; see `mlsrv_huggingface.settings.HuggingFaceSettings`.

    Answers are JSON, one for each row, in the output ``output``; tensors are sent where a request names them,
    or where the setting or the request parameter ``raw_outputs`` is true.
    """

    own_input_checks: ClassVar[bool] = True  # inputs have several names, and options may be inputs

    @classmethod
    def artifact_of(cls, settings: ModelSettings) -> Path:
        """Return the folder of the model. Raises as `mlsrv_huggingface.location.model_folder`."""
        return model_folder(settings, attrs.evolve(options_of(settings), allow_hub=False))

    def load(self) -> bool:  # type: ignore[override]  # a plain method, as it blocks
        """Read the model, once.

        Raises:
            ModelLoadError: there is none, it cannot be read, or a setting is wrong.
        """
        options = options_of(self.settings)
        source = Source(self.settings, options)
        named, self._task = self._task_of(source)
        self._tensors = options.raw_outputs if options.raw_outputs is not None else named in TENSORS_FIRST
        self._check_needs()
        self._runner = _runner_of(self._task.runner)(source, self._task)
        if not self.outputs:
            self.outputs = self._runner.outputs
        if not self.inputs:
            self.inputs = [*declared_inputs(self._task), *self._runner.inputs]
        self._known = {tensor.name for tensor in self._runner.outputs}
        return True

    def unload(self) -> bool:  # type: ignore[override]  # plain, as `load`
        """Free the model."""
        del self._runner
        return True

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # plain, as `load`
        """Answer one request.

        Raises:
            InputsNotFound: an input is missing.
            OutputNotFound: the task has no such output.
            InferenceError: an input or an option does not fit.
        """
        wanted = self._wanted(payload)
        given = read(self, self._task, payload)
        names = [output.name for output in wanted]
        with self._runner.lock:
            if (context := current_context.get()) is not None:
                context.check()
            if not given.rows and given.chat is None:
                return self._response(wanted, self._nothing(names))
            return self._response(wanted, self._runner.run(given, names))

    def predict_stream(self, payloads: Iterable[InferenceRequest]) -> Iterator[InferenceResponse]:  # type: ignore[override]  # plain, as `load`
        """Answer each request with many responses, if the task makes texts. Raises as `predict`."""
        for payload in payloads:
            if not self._runner.streams:
                yield self.predict(payload)
                continue
            wanted = self._wanted(payload, streams=True)
            for made in self._runner.stream(self._prompted(payload)):
                yield self._response([output for output in wanted if output.name in made], made)

    async def metadata(self) -> MetadataModelResponse:
        """Return the metadata in the settings, else that of the task."""
        found = await super().metadata()
        found.platform = found.platform or "huggingface"
        parameters = found.parameters or Parameters()
        parameters.task = self._task.name
        found.parameters = parameters
        return found

    def _check_needs(self) -> None:
        for module in self._task.needs:
            if importlib.util.find_spec(module) is None:
                raise ModelLoadError(
                    f"Model {self.name}: the task {self._task.name} needs {module} (pip install {module})."
                )

    def _prompted(self, payload: InferenceRequest) -> Given:
        given = read(self, self._task, payload)
        if not given.rows and given.chat is None:
            raise InferenceError(f"Model {self.name}: a stream takes one prompt, not none.")
        return given

    def _task_of(self, source: Source) -> tuple[str, Task]:
        """Return the name of the task in the settings, or found in the configuration, and the task."""
        stated = source.options.task
        if stated.startswith("translation_"):
            source.options = attrs.evolve(
                source.options, task="translation", task_suffix=stated.removeprefix("translation")
            )
            stated = "translation"
        if not stated:
            stated = _found_task(source)
        name = ALIASES.get(stated, stated)
        if name not in TASKS:
            raise ModelLoadError(
                f"Model {self.name}: parameters.extra.task {stated!r} is not known; known are "
                f"{', '.join(sorted(TASKS))}."
            )
        return stated, TASKS[name]

    def _wanted(self, payload: InferenceRequest, streams: bool = False) -> Sequence[RequestOutput]:
        if payload.outputs:
            for output in payload.outputs:
                if output.name not in self._known:
                    raise OutputNotFound.unknown(self.name, output.name, self._known)
            return payload.outputs
        asked = payload.parameters.get("raw_outputs") if payload.parameters is not None else None
        if asked is not None and not isinstance(asked, bool):
            raise InferenceError(f"Model {self.name}: raw_outputs must be true or false, not {asked!r:.60}.")
        tensors = self._tensors if asked is None else asked
        if tensors and not self._runner.tensors:
            raise Unsupported(f"Model {self.name}: the task {self._task.name} has no tensors to send.")
        if streams:
            return [RequestOutput(tensor.name) for tensor in self._runner.tensors]
        return [RequestOutput(name) for name in self._runner.default_outputs(payload, tensors)]

    def _nothing(self, names: Collection[str]) -> dict[str, Any]:
        """Return the outputs of a request without rows."""
        declared = {tensor.name: tensor for tensor in self._runner.outputs}
        return {name: _empty(declared[name]) for name in names}

    def _response(self, wanted: Iterable[RequestOutput], made: dict[str, Any]) -> InferenceResponse:
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[self._output(output, made[output.name]) for output in wanted if output.name in made],
        )

    def _output(self, output: RequestOutput, value: Any) -> ResponseOutput:
        if output.parameters is not None and output.parameters.content_type is not None:
            named = encode_named(self, value, output)
            if named is not None:
                return named
        if output.name == OUTPUT:
            return JSONListCodec.encode_output(OUTPUT, value)
        if isinstance(value, np.ndarray):
            flat = np.ascontiguousarray(value).reshape(-1)
            return ResponseOutput(output.name, list(value.shape), Datatype.from_numpy(value.dtype), flat)
        content_type = "hg_jsonlist" if output.name == "logprobs" else "str"
        return ResponseOutput(output.name, [len(value)], Datatype.BYTES, value, Parameters(content_type))


def _found_task(source: Source) -> str:
    """Return the task that a model's files show. Raises `ModelLoadError`."""
    if (source.folder / "modules.json").is_file():
        return "embedding"
    for name in source.facts.get("architectures") or ():
        if found := task_of_architecture(str(name)):
            return found
    raise ModelLoadError(
        f"Model {source.name}: its files do not tell what it is for; set parameters.extra.task to one of "
        f"{', '.join(sorted(TASKS))}."
    )


def _runner_of(target: str) -> Callable[[Source, Task], Runner]:
    module, _, name = target.partition(":")
    found: Callable[[Source, Task], Runner] = getattr(
        importlib.import_module(f"mlsrv_huggingface.runners.{module}"), name
    )
    return found


def _empty(declared: MetadataTensor) -> Any:
    if declared.datatype is Datatype.BYTES:
        return []
    return np.zeros([0, *(max(length, 0) for length in declared.shape[1:])], declared.datatype.dtype)
