"""Saved models: the metadata in a model's folder, read without Spark."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

PIPELINES = "org.apache.spark.ml."
RDDS = "org.apache.spark.mllib."


@frozen
class Saved:
    """The metadata that Spark saves with a model.

    Attributes:
        class_name: of the model, in Scala or Python: "org.apache.spark.ml.PipelineModel".
        spark_version: of the Spark that saved it; "" for models of RDDs, which do not tell.
    """

    class_name: str
    spark_version: str

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Saved | None:
        """Return the metadata in decoded JSON; None if it is something else."""
        name = metadata.get("class")
        return cls(name, str(metadata.get("sparkVersion", ""))) if isinstance(name, str) else None

    @property
    def is_spark(self) -> bool:
        """Return whether one of Spark's own classes saved the model."""
        return self.class_name.startswith((PIPELINES, RDDS, "pyspark.ml."))

    @property
    def is_of_rdds(self) -> bool:
        """Return whether the model belongs to the older interface."""
        return self.class_name.startswith(RDDS)


def saved_in(folder: Path) -> Saved | None:
    """Return the metadata in the folder of a model, or None if Spark has saved no model there."""
    for part in sorted(folder.glob("metadata/part-*")):
        try:
            metadata = json.loads(part.read_text(encoding="utf-8").partition("\n")[0])
        except (OSError, ValueError):
            continue
        if isinstance(metadata, dict) and (found := Saved.of(metadata)) is not None:
            return found
    return None
