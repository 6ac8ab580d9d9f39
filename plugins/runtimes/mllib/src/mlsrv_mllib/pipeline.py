"""Spark ML models: pipelines and single stages, which transform DataFrames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.ml.base import Transformer
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.util import DefaultParamsReader
from pyspark.sql import DataFrame
from pyspark.sql.functions import col

from mlsrv.errors import InferenceError, ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_mllib.columns import LISTS, VECTOR, Column
from mlsrv_mllib.rows import RowByRow
from mlsrv_mllib.schema import given, inputs, leaves, outputs
from mlsrv_mllib.scorer import Scorer

FEW = 64
"""Rows up to which a model that can be asked row by row is: beyond, one DataFrame is faster."""


class PipelineScorer(Scorer):
    """Computes outputs by transforming a DataFrame of the rows of a request.

    Args:
        settings: of the model.
        uri: of the folder that the model was saved to.
        session: of Spark.

    Raises:
        ModelLoadError: what is there is no model, or does not tell its columns.
    """

    def __init__(self, settings: ModelSettings, uri: str, session: Any) -> None:
        self._name = settings.name
        self._session = session
        model = DefaultParamsReader.loadParamsInstance(uri, session)
        if not isinstance(model, Transformer):
            raise ModelLoadError(
                f"Model {self._name}: {uri} holds a {type(model).__name__} that is not fitted; call fit, and "
                "save the model that it returns."
            )
        # As long as this lives, Java keeps what belongs to it.
        self._model = model
        stages = leaves(model)
        self._transform = _transformer(model, session)
        declared = [Column.declared(tensor) for tensor in settings.inputs]
        self.inputs = inputs(self._name, session, stages, declared)
        if not self.inputs:
            raise ModelLoadError(
                f"Model {self._name}: {uri} does not tell which columns it takes; declare them as "
                '"inputs" in model-settings.json.'
            )
        found = outputs(session, self._transform, self.inputs)
        first = given(stages[-1])[:1]
        found.sort(key=lambda column: column.name not in first)
        self.outputs = {column.name: column for column in found}
        self._rows = RowByRow.of(stages, self.inputs)

    def compute(self, columns: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
        """Compute the wanted outputs with one DataFrame, or row by row where that is faster and gives the
        same values."""
        count = len(next(iter(columns.values())))
        if self._rows is not None and 0 < count <= FEW and self._rows.can(columns, wanted):
            return self._rows.compute(columns, wanted)
        frame = self._transform(self._frame(columns)).select(*(self._sent(name) for name in wanted))
        table = frame.toArrow()
        if table.num_rows != count:
            raise InferenceError(
                f"Model {self._name} leaves out {count - table.num_rows} of {count} rows, as its stages skip "
                'invalid ones (handleInvalid is "skip"); send only rows that it knows.'
            )
        return {
            name: self.outputs[name].from_arrow(self._name, column)
            for name, column in zip(wanted, table.columns, strict=True)
        }

    def _frame(self, columns: Mapping[str, Any]) -> Any:
        # Spark keeps a table of Arrow in the driver's memory and transforms it there, without a job.
        table = pa.table({column.name: column.to_arrow(columns[column.name]) for column in self.inputs})
        frame = self._session.createDataFrame(table)
        if not any(column.kind in LISTS for column in self.inputs):
            return frame
        return frame.select(
            *(
                array_to_vector(_column(column.name)).alias(column.name)
                if column.kind == VECTOR
                else _column(column.name)
                for column in self.inputs
            )
        )

    def _sent(self, name: str) -> Any:
        column = _column(name)
        return vector_to_array(column).alias(name) if self.outputs[name].kind == VECTOR else column


def _transformer(model: Any, session: Any) -> Callable[[Any], Any]:
    """Return the `transform` of a model, which runs in Java from end to end unless a stage is written in
    Python."""
    model = getattr(model, "bestModel", model)
    try:
        in_java = model._to_java()
    except AttributeError:
        return model.transform
    return lambda frame: DataFrame(in_java.transform(frame._jdf), session)


def _column(name: str) -> Any:
    # In backquotes a dot belongs to the name.
    return col("`" + name.replace("`", "``") + "`")
