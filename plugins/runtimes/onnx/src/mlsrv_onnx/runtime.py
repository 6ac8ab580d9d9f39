"""ONNX runtime: runs ONNX graphs with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from mlsrv.codecs.content import encode_named
from mlsrv.errors import InputsNotFound, ModelFailed, OutputNotFound
from mlsrv.model import MLModel
from mlsrv.settings import ModelSettings
from mlsrv.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_onnx.graph import optional_tensors, symbols, tensors
from mlsrv_onnx.model_file import read_facts
from mlsrv_onnx.plugin import ARTIFACTS
from mlsrv_onnx.session import RUN_ERRORS, is_of_shapes, open_session, run_text
from mlsrv_onnx.values import check_symbols, fitted, from_value, matrix, to_value, with_labels
from mlsrv_protocol.plain_arrays import as_text
from mlsrv_protocol.tensors import numeric
from mlsrv_runtime_kit import array_codecs, find_artifact, refused


class OnnxModel(MLModel):
    """Serves an ONNX graph with ONNX Runtime. Its inputs and outputs are those of the graph, by name, type
    and shape; all outputs are sent unless the request names some.

    ``parameters.extra``: ``threads`` (default: the process's share of the cores), ``providers``,
    ``session_options`` and ``session_config``.
    """

    own_input_checks: ClassVar[bool] = True  # metadata has no form for an open number of dimensions
    own_output_choice: ClassVar[bool] = True

    @classmethod
    def artifact_of(cls, settings: ModelSettings) -> Path:
        """Return the file of the model. Raises as `mlsrv_runtime_kit.find_artifact`."""
        return find_artifact(settings, ARTIFACTS, "ONNX")

    def load(self) -> bool:  # type: ignore[override]  # a plain method, as it blocks
        """Open the session.

        Raises:
            ModelLoadError: the artifact cannot be used, or a setting is wrong.
        """
        self._codec, _ = array_codecs(self)
        path = self.artifact_of(self.settings)
        self._session = open_session(self.settings, path)
        nodes, overridable = self._session.get_inputs(), self._session.get_overridable_initializers()
        self._graph_inputs = tensors(self.name, "input", nodes)
        self._optional_inputs = optional_tensors(overridable)
        self._symbols = symbols([*nodes, *overridable])
        facts = read_facts(path)
        self._open_ranks = {node.name for node in nodes if not node.shape and node.name not in facts.ranked}
        self._class_labels = facts.class_labels
        self._graph_outputs = tensors(self.name, "output", self._session.get_outputs())
        for tensor in self._graph_outputs:
            with_labels(tensor, self._class_labels.get(tensor.name, []))
        self._datatypes = {tensor.name: tensor.datatype for tensor in self._graph_outputs}
        everything = [*self._graph_inputs, *self._optional_inputs, *self._graph_outputs]
        self._has_bf16 = any(tensor.datatype is Datatype.BF16 for tensor in everything)
        return True

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # plain, as `load`
        """Answer one request.

        Raises:
            InputsNotFound: an input of the graph is missing, or one was sent that it does not have.
            OutputNotFound: the graph has no such output.
            InferenceError: a shape or a type is wrong.
            ModelFailed: the graph fails for another reason.
        """
        wanted = payload.outputs or [RequestOutput(name) for name in self._datatypes]
        for output in wanted:
            if output.name not in self._datatypes:
                raise OutputNotFound.unknown(self.name, output.name, self._datatypes)
        feeds = self._feeds(payload)
        try:
            results = self._run([output.name for output in wanted], feeds)
        except RUN_ERRORS as error:
            text = run_text(error)
            if isinstance(error, InvalidArgument) or is_of_shapes(text):
                raise refused(self.name, error, text) from error
            raise ModelFailed(f"Model {self.name} failed: {text}") from error
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[self._output(*pair) for pair in zip(wanted, results, strict=True)],
        )

    async def metadata(self) -> MetadataModelResponse:
        """Return the metadata in the settings, else that of the graph."""
        found = await super().metadata()
        found.platform = found.platform or "onnx"
        found.inputs = found.inputs or [*self._graph_inputs, *self._optional_inputs]
        found.outputs = found.outputs or self._graph_outputs
        return found

    def _feeds(self, payload: InferenceRequest) -> dict[str, Any]:
        sent = {tensor.name: tensor for tensor in payload.inputs}
        known = {tensor.name: tensor for tensor in (*self._graph_inputs, *self._optional_inputs)}
        if missing := [tensor.name for tensor in self._graph_inputs if tensor.name not in sent]:
            raise InputsNotFound.missing(self.name, missing, known)
        if unknown := [name for name in sent if name not in known]:
            raise InputsNotFound.unknown(self.name, unknown, known)
        feeds = {
            name: fitted(self.name, declared, self._data(sent[name]), name in self._open_ranks)
            for name, declared in known.items()
            if name in sent
        }
        check_symbols(self.name, self._symbols, feeds)
        return feeds

    def _data(self, tensor: RequestInput) -> Any:
        if tensor.datatype is Datatype.BF16:
            # The numpy codec would make it float32, which a graph of this type does not take.
            return numeric(tensor.data, Datatype.BF16).reshape(tensor.shape)
        return self.decode(tensor, self._codec)

    def _run(self, names: list[str], feeds: dict[str, Any]) -> list[Any]:
        if not self._has_bf16:
            return list(self._session.run(names, feeds))
        values = {
            declared.name: to_value(feeds[declared.name], declared.datatype)
            for declared in (*self._graph_inputs, *self._optional_inputs)
            if declared.name in feeds
        }
        return [from_value(value) for value in self._session.run_with_ort_values(names, values)]

    def _output(self, output: RequestOutput, result: Any) -> ResponseOutput:
        if not isinstance(result, list):
            return self._encoded(output, result)
        labels = self._class_labels.get(output.name, [])
        encoded = self._encoded(output, matrix(result, len(labels)))
        labels = labels or [as_text(label) for label in result[0]] if result else labels
        return with_labels(encoded, labels)

    def _encoded(self, output: RequestOutput, array: Any) -> ResponseOutput:
        made = encode_named(self, array, output)
        if made is not None:
            return made
        # Not by the numpy codec, which makes a column of a vector: the shape is the graph's.
        datatype = self._datatypes[output.name]
        flat = np.asarray(array, order="C").reshape(-1)
        data = flat.tolist() if datatype is Datatype.BYTES else flat
        return ResponseOutput(output.name, list(array.shape), datatype, data, Parameters(content_type="np"))
