"""Models trained and saved here by Spark, served by kernels, and compared with Spark itself.

One Spark session trains them and then serves the kernels of this process, which take what is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression, RandomForestClassifier
from pyspark.ml.feature import (
    IndexToString,
    OneHotEncoder,
    StandardScaler,
    StringIndexer,
    VectorAssembler,
)
from pyspark.ml.regression import LinearRegression
from pyspark.sql import SparkSession
from sklearn.datasets import load_iris

import mlsrv_mllib.plugin
import mlsrv_numpy.plugin
from mlsrv import ModelSettings
from mlsrv.testing import tensor_request, text_request
from mlsrv.testing.contracts import RuntimeContract
from mlsrv.types import InferenceRequest
from mlsrv_mllib import MLlibModel
from served import ask, asking, assert_same_over_every_wire, kernel_of, model

# Spark takes seconds to start and to train.
pytestmark = pytest.mark.timeout(600)

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
IRIS, FLOWER = load_iris(return_X_y=True)
SPECIES = [["setosa", "versicolor", "virginica"][number] for number in FLOWER]
ROWS = IRIS[[0, 1, 60, 61, 62, 140, 141, 142, 143, 144]]
"""More than are asked for one by one."""


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
        session = builder.config("spark.log.level", "ERROR").getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def flowers(spark: Any) -> Any:
    rows = [(*map(float, row), kind) for row, kind in zip(IRIS, SPECIES, strict=True)]
    return spark.createDataFrame(rows, [*NAMES, "species"]).coalesce(1).cache()


def label() -> Any:
    return StringIndexer(inputCol="species", outputCol="label")


def assembler() -> Any:
    return VectorAssembler(inputCols=NAMES, outputCol="features")


@pytest.fixture(scope="module")
def assembled(flowers: Any, folder: Path) -> Path:
    stages = [label(), assembler(), LogisticRegression(maxIter=3)]
    Pipeline(stages=stages).fit(flowers).save(str(folder / "assembled"))
    return folder / "assembled"


@pytest.fixture(scope="module")
def named(flowers: Any, folder: Path) -> Path:
    """A pipeline that must see a DataFrame, and gives the names of the species."""
    scale = StandardScaler(inputCol="features", outputCol="scaled", withMean=True)
    forest = RandomForestClassifier(featuresCol="scaled", numTrees=3, seed=1)
    indexer = label().fit(flowers)
    names = IndexToString(inputCol="prediction", outputCol="species_found", labels=indexer.labels)
    Pipeline(stages=[indexer, assembler(), scale, forest, names]).fit(flowers).save(str(folder / "named"))
    return folder / "named"


HOMES = pd.DataFrame(
    {"city": ["Bern", "Basel", "Bern", "Genf"], "rooms": [2.0, 3.0, 4.5, 1.0], "rent": range(4)}
)


@pytest.fixture(scope="module")
def mixed(spark: Any, folder: Path) -> Path:
    """A pipeline that takes texts and numbers."""
    stages = [
        StringIndexer(inputCol="city", outputCol="number"),
        OneHotEncoder(inputCol="number", outputCol="which"),
        VectorAssembler(inputCols=["which", "rooms"], outputCol="features"),
        LinearRegression(labelCol="rent", regParam=0.1, maxIter=3),
    ]
    rows = list(HOMES.itertuples(index=False, name=None))
    table = spark.createDataFrame([(city, rooms, float(rent)) for city, rooms, rent in rows], list(HOMES))
    Pipeline(stages=stages).fit(table).save(str(folder / "mixed"))
    return folder / "mixed"


def expected(spark: Any, path: Path, rows: Any = ROWS, columns: Any = NAMES) -> dict[str, Any]:
    """What Spark itself computes, from rows that it got as Python objects."""
    table = spark.createDataFrame([tuple(map(float, row)) for row in rows], columns)
    found = PipelineModel.load(str(path)).transform(table).collect()
    columns = [name for name in found[0].asDict() if name not in columns]
    as_list = {name: [row[name] for row in found] for name in columns}
    return {
        name: np.array([value.toArray() if hasattr(value, "toArray") else value for value in values])
        for name, values in as_list.items()
    }


class TestContract(RuntimeContract):
    # Without worker processes, which would each start a Java of their own.
    discover: ClassVar[bool] = False
    plugins: ClassVar[Sequence[object]] = (mlsrv_mllib.plugin, mlsrv_numpy.plugin)
    path: ClassVar[Path]

    @pytest.fixture(autouse=True)
    def _model(self, assembled: Path) -> None:
        type(self).path = assembled

    def settings(self, tmp_path: Path) -> ModelSettings:
        shutil.copytree(self.path, tmp_path / "saved")
        return model(tmp_path / "saved", "mllib")

    def requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ROWS), asking(tensor_request("m", ROWS[:1]), "probability", "features")]

    def bad_requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ROWS[:, :2]), text_request("m", ["a", "b"])]


@pytest.mark.parametrize("kind", ["assembled", "named"])
async def test_a_pipeline_gives_sparks_numbers_over_every_wire(
    kind: str, spark: Any, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    await assert_same_over_every_wire(model(path, "mllib"), 0, ROWS, expected(spark, path))


@pytest.mark.parametrize(
    "implementation", ["mlserver_mllib.MLlibModel", "mlsrv_mllib.MLlibModel", MLlibModel, None]
)
async def test_every_name_of_the_runtime_is_known(assembled: Path, implementation: Any) -> None:
    async with kernel_of(model(assembled, implementation)) as kernel:
        assert kernel.problems() == []


async def test_the_metadata_comes_from_the_stages(assembled: Path, named: Path, mixed: Path) -> None:
    def told(tensors: Any) -> list[Any]:
        return [(tensor.name, str(tensor.datatype), tensor.shape) for tensor in tensors]

    async with kernel_of(model(assembled, "mllib")) as kernel:
        metadata = kernel.model_metadata("m")
        assert metadata.platform == "mllib"
        assert told(metadata.inputs) == [(name, "FP64", [-1, 1]) for name in NAMES]
        assert told(metadata.outputs) == [
            ("prediction", "FP64", [-1, 1]),
            ("features", "FP64", [-1, 4]),
            ("rawPrediction", "FP64", [-1, 3]),
            ("probability", "FP64", [-1, 3]),
        ]
    async with kernel_of(model(named, "mllib")) as kernel:
        assert told(kernel.model_metadata("m").outputs)[0] == ("species_found", "BYTES", [-1, 1])
        assert [text for [text] in (await ask(kernel, ROWS[:2]))["species_found"]] == ["setosa", "setosa"]
    async with kernel_of(model(mixed, "mllib")) as kernel:
        inputs = told(kernel.model_metadata("m").inputs)
        assert inputs == [("city", "BYTES", [-1, 1]), ("rooms", "FP64", [-1, 1])]
