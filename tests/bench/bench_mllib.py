"""Rows per second of Spark ML models, against Spark called directly.

    python tests/bench/bench_mllib.py [SECONDS]

Directly means what its guide shows: a DataFrame of the rows, `transform`, and `collect`. The pipelines are a
logistic regression on four columns, without and with a stage that must see a DataFrame. Needs mlsrv-mllib.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bench_runtimes import calls_per_second

from mlsrv import Kernel, ModelSettings
from mlsrv.testing import tensor_request
from mlsrv.types import RequestOutput

NAMES = ["a", "b", "c", "d"]
BATCHES = (1, 32, 1024)


def trained(spark: Any, folder: Path) -> dict[str, Any]:
    """The pipelines, saved under their names."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import StandardScaler, VectorAssembler

    rows = np.random.default_rng(0).random((60, 4))
    table = spark.createDataFrame(
        [(*map(float, row), float(row[0] > row[1])) for row in rows], [*NAMES, "label"]
    )
    assemble = VectorAssembler(inputCols=NAMES, outputCol="features")
    scale = StandardScaler(inputCol="features", outputCol="scaled")
    pipelines = {
        "assembled": Pipeline(stages=[assemble, LogisticRegression(maxIter=3)]),
        "scaled": Pipeline(stages=[assemble, scale, LogisticRegression(featuresCol="scaled", maxIter=3)]),
    }
    fitted = {name: pipeline.fit(table) for name, pipeline in pipelines.items()}
    for name, model in fitted.items():
        model.save(str(folder / name))
    return fitted


async def measure(spark: Any, name: str, direct: Any, path: Path, seconds: float) -> None:
    settings = ModelSettings(name=name, implementation="mllib", parameters={"uri": str(path)})
    async with Kernel({"executor": "inline"}, models=[settings]) as kernel:
        await kernel.loaded()
        for batch in BATCHES:
            rows = np.random.default_rng(0).random((batch, 4))

            async def alone(rows: Any = rows) -> Any:
                table = spark.createDataFrame([tuple(row) for row in rows.tolist()], NAMES)
                return direct.transform(table).select("prediction", "probability").collect()

            async def served(rows: Any = rows) -> Any:
                request = tensor_request(name, rows)
                request.outputs = [RequestOutput("prediction"), RequestOutput("probability")]
                return await kernel.infer(request)

            bare = await calls_per_second(alone, seconds) * batch
            ours = await calls_per_second(served, seconds) * batch
            print(f"{name:10} {batch:6} {bare:14,.1f} {ours:14,.1f} {ours / bare:8.1f}x")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    if importlib.util.find_spec("mlsrv_mllib") is None:
        print("mlsrv-mllib is not installed")
        return
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    print(f"{'pipeline':10} {'batch':>6} {'direct rows/s':>14} {'mlsrv rows/s':>14} {'ratio':>9}")
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, direct in trained(spark, Path(folder)).items():
                asyncio.run(measure(spark, name, direct, Path(folder) / name, seconds))
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
