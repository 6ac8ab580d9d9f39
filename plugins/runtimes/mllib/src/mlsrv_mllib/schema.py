"""Model schema: the input and output columns of a Spark ML model, found from its stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pyspark.errors import PySparkException
from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import DataType, StructField, StructType

from mlsrv.errors import ModelLoadError
from mlsrv_mllib.columns import DATATYPES, LISTS, VECTOR, Column
from mlsrv_mllib.error_text import error_text

_TAKEN = ("inputCol", "inputCols", "featuresCol", "userCol", "itemCol")
"""Parameters that name the columns that a stage reads. Labels and weights are for training."""

_GIVEN = ("predictionCol", "outputCol", "outputCols")
"""Parameters that name the columns that a stage produces."""

_TEXTS_FIRST = ("StringIndexerModel", "Tokenizer", "RegexTokenizer")
"""Stages that take numbers, too, but are meant for texts."""

_KINDS = ("double", VECTOR, "array<string>", "string", "boolean", "int")
"""Types that are tried, in this order, for columns of which a model keeps only the names."""


def leaves(model: Any) -> list[Any]:
    """Return the stages of a model in their order, with those of nested pipelines."""
    if hasattr(model, "bestModel"):
        return leaves(model.bestModel)
    stages = getattr(model, "stages", None)
    return [leaf for stage in stages for leaf in leaves(stage)] if isinstance(stages, list) else [model]


def taken(stage: Any) -> list[str]:
    """Return the names of the columns that a stage reads."""
    return list(_column_params(stage, _TAKEN))


def given(stage: Any) -> list[str]:
    """Return the names of the columns that a stage is meant to produce."""
    return list(_column_params(stage, _GIVEN))


def inputs(model: str, session: Any, stages: Sequence[Any], declared: Sequence[Column]) -> list[Column]:
    """Return the columns that must be sent: those in the settings, and those that a stage reads and no
    earlier stage produces.

    Args:
        model: its name, for messages.
        session: of Spark.
        stages: see `leaves`.
        declared: from the settings.

    Raises:
        ModelLoadError: they cannot be found out.
    """
    found = list(declared)
    schema = schema_of(found)
    for number, stage in enumerate(stages):
        absent = [name for name in taken(stage) if name not in schema.fieldNames()]
        if absent and _is_for_labels(stage, stages[number + 1 :]):
            continue
        new, schema = _accepted(model, session, stage, schema, absent)
        found += new
    return found


def outputs(session: Any, transform: Callable[[Any], Any], columns: Sequence[Column]) -> list[Column]:
    """Return the columns that a model adds to these, as far as tensors can hold them."""
    sent = {column.name for column in columns}
    fields = transform(session.createDataFrame([], schema_of(columns))).schema.fields
    kinds = {field.name: field.dataType.simpleString() for field in fields}
    return [
        Column(field.name, kinds[field.name], _width(field) if kinds[field.name] in LISTS else 1)
        for field in fields
        if field.name not in sent and kinds[field.name] in DATATYPES
    ]


def schema_of(columns: Iterable[Column]) -> StructType:
    """Return Spark's schema of these columns."""
    return StructType(
        [
            StructField(column.name, VectorUDT() if column.kind == VECTOR else DataType.fromDDL(column.kind))
            for column in columns
        ]
    )


def _column_params(stage: Any, parameters: Sequence[str]) -> Iterator[str]:
    for name in parameters:
        if stage.hasParam(name) and stage.isDefined(name):
            value = stage.getOrDefault(name)
            yield from value if isinstance(value, list) else [value]


def _is_for_labels(stage: Any, later: Sequence[Any]) -> bool:
    """Return whether a stage indexes labels for training. Spark skips such a stage where there are no
    labels."""
    read = {name for other in later for name in taken(other)}
    return (
        type(stage).__name__ == "StringIndexerModel" and bool(later) and not read.intersection(given(stage))
    )


def _accepted(
    model: str, session: Any, stage: Any, schema: StructType, absent: Sequence[str]
) -> tuple[list[Column], StructType]:
    """Return the absent columns with a type that the stage accepts, and the schema that it then produces."""
    refusal = ""
    for kind in _kinds(stage) if absent else ("",):
        new = [
            Column(name, kind, _size(stage) if kind == VECTOR else 1 - 2 * (kind in LISTS)) for name in absent
        ]
        tried = StructType([*schema.fields, *schema_of(new).fields])
        try:
            return new, stage.transform(session.createDataFrame([], tried)).schema
        except PySparkException as error:
            refusal = refusal or error_text(error)
    raise ModelLoadError(
        f"Model {model}: the columns that {type(stage).__name__} takes cannot be found out ({refusal}); "
        'declare all that the model takes as "inputs" in model-settings.json.'
    )


def _kinds(stage: Any) -> Sequence[str]:
    if type(stage).__name__ in _TEXTS_FIRST:
        return ("string", *_KINDS)
    return ("int", *_KINDS) if stage.hasParam("userCol") else _KINDS


def _size(stage: Any) -> int:
    """Return the length of the vectors that a stage takes; -1 if it is unknown."""
    size = getattr(stage, "numFeatures", None)
    if isinstance(size, int):
        return size
    for name in ("mean", "originalMin", "maxAbs"):  # of scalers
        if (vector := getattr(stage, name, None)) is not None:
            return len(vector)
    centers = getattr(stage, "clusterCenters", None)
    return len(centers()[0]) if callable(centers) else -1


def _width(field: StructField) -> int:
    """Return the length of the vectors of a column, as far as its metadata tells."""
    attributes = field.metadata.get("ml_attr", {})
    named = sum(len(group) for group in attributes.get("attrs", {}).values())
    return int(attributes.get("num_attrs", 0)) or named or -1
