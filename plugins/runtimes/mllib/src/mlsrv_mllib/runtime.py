"""Spark runtime: predictions of Spark's models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from mlsrv.errors import InvalidModelURI, ModelFailed, ModelLoadError, OutputNotFound
from mlsrv.model import MLModel
from mlsrv.settings import ModelSettings
from mlsrv.types import InferenceRequest, InferenceResponse, MetadataModelResponse, RequestOutput
from mlsrv.utils import local_path, model_uri
from mlsrv_mllib.columns import fitted_columns
from mlsrv_mllib.error_text import error_text
from mlsrv_mllib.pipeline import PipelineScorer
from mlsrv_mllib.rdd import RDDScorer, format_of
from mlsrv_mllib.saved import Saved, saved_in
from mlsrv_mllib.scorer import Scorer
from mlsrv_mllib.session import SESSION, configuration, is_alive
from mlsrv_runtime_kit import array_codecs, default_output, refused, unreadable


class MLlibModel(MLModel):
    """Serves a fitted model of Spark ML, usually a pipeline, or one of the older models for RDDs, as the
    saved files declare.

    The first model starts a Spark session for the process, the last that is unloaded stops it.

    ``parameters.extra``: ``master`` (default: ``local`` with the process's share of the cores),
    ``spark_config`` and ``predict_fn`` (the output that is sent when none is requested).
    """

    own_input_checks: ClassVar[bool] = True
    own_output_choice: ClassVar[bool] = True

    @classmethod
    def artifact_of(cls, settings: ModelSettings) -> Path | None:
        """Return the folder of a model on this machine.

        Raises:
            InvalidModelURI: there is none, or it is no model of Spark.
        """
        return _local(settings)[0]

    def load(self) -> bool:  # type: ignore[override]  # a plain method, as it blocks
        """Start Spark, if needed, and read the model.

        Raises:
            ModelLoadError: Java is absent, Spark cannot be started, the artifact cannot be used, or a setting
                is wrong.
        """
        self._codec, self._request_codec = array_codecs(self)
        uri, saved = self._found()
        wanted = configuration(self.settings)
        self._session = SESSION.acquire(self.name, wanted)
        try:
            self._scorer = self._read(uri, saved)
            self._default = default_output(self.settings, list(self._scorer.outputs))
        except BaseException:
            SESSION.release(self._session)
            raise
        return True

    def unload(self) -> bool:  # type: ignore[override]  # plain, as `load`
        """Release the model; releasing the last one stops Spark."""
        del self._scorer
        SESSION.release(self._session)
        return True

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # plain, as `load`
        """Answer one request.

        Raises:
            InputsNotFound: columns are missing, or unknown.
            OutputNotFound: the model has no such output.
            InferenceError: the model refuses the input.
            ModelFailed: Java has ended.
        """
        wanted = payload.outputs or [RequestOutput(self._default)]
        for output in wanted:
            if output.name not in self._scorer.outputs:
                raise OutputNotFound.unknown(self.name, output.name, self._scorer.outputs)
        columns = fitted_columns(self.name, self._scorer.inputs, self._scorer.prepare(self._decoded(payload)))
        names = list(dict.fromkeys(output.name for output in wanted))
        try:
            arrays = self._scorer.compute(columns, names)
        except (PySparkException, Py4JError, ConnectionError) as error:
            if not is_alive(self._session):
                raise ModelFailed(
                    f"Model {self.name}: Spark's session, or its Java process, has ended; load the model "
                    "again."
                ) from error
            raise refused(self.name, error, error_text(error)) from error
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[self.encode(arrays[output.name], output, self._codec) for output in wanted],
        )

    async def metadata(self) -> MetadataModelResponse:
        """Return the metadata in the settings, else the columns of the model."""
        found = await super().metadata()
        found.platform = found.platform or "mllib"
        found.inputs = found.inputs or [column.tensor for column in self._scorer.inputs]
        found.outputs = found.outputs or [column.tensor for column in self._scorer.outputs.values()]
        return found

    def _found(self) -> tuple[str, Saved | None]:
        """Return the location of the model, and its metadata if it is on this machine."""
        path, saved = _local(self.settings)
        return (model_uri(self.settings) if path is None else path.absolute().as_uri()), saved

    def _read(self, uri: str, saved: Saved | None) -> Scorer:
        try:
            saved = saved or _remote(uri, self._session)
            if saved.is_of_rdds:
                return RDDScorer(format_of(self.settings, saved), uri, self._session)
            if self.settings.parameters.format is not None:
                raise ModelLoadError(
                    f"Model {self.name}: parameters.format is for models of RDDs, but {uri} is of the "
                    f"class {saved.class_name}; leave it out."
                )
            return PipelineScorer(self.settings, uri, self._session)
        except ModelLoadError:
            raise
        except Exception as error:  # a damaged folder fails in any way
            raise self._unreadable(uri, saved, error) from error

    def _unreadable(self, uri: str, saved: Saved | None, error: Exception) -> ModelLoadError:
        from pyspark import __version__

        by = saved.spark_version if saved is not None else ""
        advice = "save the fitted model again"
        if _release(by) > _release(__version__):
            advice = f"it was saved by Spark {by}, but {__version__} is installed: install a newer one"
        path = local_path(uri)
        return unreadable(self.name, path or Path(uri), "a model of Spark", error_text(error), advice)

    def _decoded(self, payload: InferenceRequest) -> Any:
        content_type = payload.parameters.content_type if payload.parameters is not None else None
        if content_type is not None or self.settings.parameters.content_type is not None:
            return self.decode_request(payload, self._request_codec)
        arrays = {tensor.name: self.decode(tensor, self._codec) for tensor in payload.inputs}
        names = [column.name for column in self._scorer.inputs]
        # A single array may have any name, where it does not matter.
        is_alone = len(arrays) == 1 and (len(names) == 1 or not arrays.keys() & set(names))
        return next(iter(arrays.values())) if is_alone else arrays


def _local(settings: ModelSettings) -> tuple[Path | None, Saved | None]:
    """Return the folder of a model on this machine with its metadata; None twice for one elsewhere."""
    path = local_path(model_uri(settings))
    if path is None:
        return None, None
    saved = saved_in(path)
    if saved is None or not saved.is_spark:
        raise InvalidModelURI(
            f"Model {settings.name}: {path} is no folder that Spark has saved a model to: it has no metadata "
            "of Spark; save the fitted model with its method save."
        )
    return path, saved


def _remote(uri: str, session: Any) -> Saved:
    from pyspark.ml.util import DefaultParamsReader

    found = Saved.of(DefaultParamsReader.loadMetadata(uri, session))
    assert found is not None, "Spark checks this"
    return found


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
