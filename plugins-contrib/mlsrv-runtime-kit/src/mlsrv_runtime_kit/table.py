"""Table: the base of runtimes whose models take a table of rows and features."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from attrs import frozen

from mlsrv.errors import InferenceError, InvalidPayload, ModelFailed, OutputNotFound
from mlsrv.model import MLModel
from mlsrv.settings import ModelSettings
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.plain_arrays import plain_array
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_runtime_kit.arrays import array_codecs
from mlsrv_runtime_kit.artifact import find_artifact
from mlsrv_runtime_kit.extras import default_output
from mlsrv_runtime_kit.features import Features

_Tensor = TypeVar("_Tensor", ResponseOutput, MetadataTensor)

logger = logging.getLogger("mlsrv_runtime_kit")


@frozen
class TableOutput:
    """An output that a model computes for a table.

    Attributes:
        compute: from what `TableModel.prepare` returned to an array whose first axis are the rows.
        datatype: of the array, for the metadata.
        width: how many columns it has; 1 for a vector, -1 if unknown.
        labels: of the classes that its columns stand for, sent as the output's parameter ``labels``.
    """

    compute: Callable[[Any], Any]
    datatype: Datatype
    width: int = 1
    labels: tuple[str, ...] = ()


class TableModel(MLModel):
    """Base of runtimes whose models take a table of rows and features.

    A request is decoded by its content type, as a numpy array by default; without any it may also have one
    tensor for each feature, under their names. Each requested output is computed by the `TableOutput` of that
    name, the first one (or ``parameters.extra.predict_fn``) when none is requested. The metadata comes from
    the artifact, unless the settings declare inputs or outputs.

    Attributes:
        framework: its name as it is commonly written; in lower case it is the platform in the metadata.
        artifacts: file names and patterns, in the order in which they are looked for in a folder.
        is_artifact: whether a file begins as the framework's artifacts do; finds those of other names.
        refusals: exceptions with which the framework refuses an input.
        features, results: as `read` returned them, after `load`.
    """

    framework: ClassVar[str]
    artifacts: ClassVar[tuple[str, ...]]
    is_artifact: ClassVar[Callable[[Path], bool] | None] = None
    refusals: ClassVar[tuple[type[Exception], ...]] = (ValueError,)
    own_input_checks: ClassVar[bool] = True
    own_output_choice: ClassVar[bool] = True

    features: Features
    results: Mapping[str, TableOutput]

    @abstractmethod
    def read(self, path: Path) -> tuple[Features, Mapping[str, TableOutput]]:
        """Read the artifact, and return the model's features and outputs. Called by `load`.

        Raises:
            ModelLoadError: it cannot be used; says what to do.
        """

    def prepare(self, values: Any) -> Any:
        """Return the input of `TableOutput.compute`; called once for each request.

        Args:
            values: an array of shape [rows, features], or a DataFrame, with the features of the model.
        """
        return values

    def error_text(self, error: Exception) -> str:
        """Return the text for the client about an error of the framework."""
        return str(error)

    @classmethod
    def artifact_of(cls, settings: ModelSettings) -> Path:
        """Return the file of the model. Raises as `mlsrv_runtime_kit.find_artifact`."""
        return find_artifact(settings, cls.artifacts, cls.framework, cls.is_artifact)

    def load(self) -> bool:  # type: ignore[override]  # a plain method, as it blocks
        """Read the artifact.

        Raises:
            ModelLoadError: it cannot be used, or the settings do not fit it.
        """
        self._codec, self._request_codec = array_codecs(self)
        path = self.artifact_of(self.settings)
        self.features, self.results = self.read(path)
        self._default = default_output(self.settings, list(self.results))
        return True

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # plain, as `load`
        """Answer one request.

        Raises:
            OutputNotFound: the model has no such output.
            InferenceError: the model refuses the input.
        """
        wanted = payload.outputs or [RequestOutput(self._default)]
        for output in wanted:
            if output.name not in self.results:
                raise OutputNotFound.unknown(self.name, output.name, self.results)
        values = self.features.fitted(self.name, self._decoded(payload))
        try:
            prepared = self.prepare(values)
            arrays = [self._output_array(output.name, prepared) for output in wanted]
        except self.refusals as error:
            raise refused(self.name, error, self.error_text(error)) from error
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[
                labelled(self.encode(array, output, self._codec), self.results[output.name].labels)
                for array, output in zip(arrays, wanted, strict=True)
            ],
        )

    def _output_array(self, name: str, prepared: Any) -> Any:
        try:
            return plain_array(self.results[name].compute(prepared))
        except InvalidPayload as error:
            raise ModelFailed(f'Model {self.name}, output "{name}": {error}') from error

    async def metadata(self) -> MetadataModelResponse:
        """Return the metadata that the settings declare, else that of the artifact."""
        found = await super().metadata()
        found.platform = found.platform or self.framework.lower()
        found.inputs = found.inputs or self.features.inputs()
        found.outputs = found.outputs or [
            labelled(MetadataTensor(name, result.datatype, [-1, result.width]), result.labels)
            for name, result in self.results.items()
        ]
        return found

    def _decoded(self, payload: InferenceRequest) -> Any:
        content_type = payload.parameters.content_type if payload.parameters is not None else None
        names = self.features.names
        if not names or (len(payload.inputs) < 2 and [tensor.name for tensor in payload.inputs] != [*names]):
            return self.decode_request(payload, self._request_codec)
        if content_type is not None or self.settings.parameters.content_type is not None:
            return self.decode_request(payload, self._request_codec)
        columns = {tensor.name: self.decode(tensor, self._codec) for tensor in payload.inputs}
        return self.features.joined(self.name, columns)


def labelled(tensor: _Tensor, labels: Sequence[Any]) -> _Tensor:
    """Return an output, or its metadata, with the labels of its columns as the parameter ``labels``.

    Args:
        tensor: which is changed.
        labels: the classes; nothing happens if there are none.
    """
    if len(labels):
        tensor.parameters = tensor.parameters or Parameters()
        tensor.parameters.extra["labels"] = [str(label) for label in labels]
    return tensor


def refused(model: str, error: Exception, words: str | None = None) -> InferenceError:
    """Return the client's error for an input that a framework refuses.

    Raise it ``from`` the framework's error; the log gets its traceback at level DEBUG.

    Args:
        model: its name.
        error: what the framework raised.
        words: text for the client; the error's own text if not given. Line breaks are removed; 300
            characters are kept.
    """
    logger.debug("Model %s refused a request", model, exc_info=error)
    text = " ".join((str(error) if words is None else words).split())
    if len(text) > 300:
        text = text[:299] + "…"
    return InferenceError(f"Model {model} refuses the input: {text}")
