"""Models trained and saved here by Spark, served by kernels, and compared with Spark itself.

One Spark session trains them and then serves the kernels of this process, which take what is there.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression, RandomForestClassifier
from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import (
    IndexToString,
    OneHotEncoder,
    SQLTransformer,
    StandardScaler,
    StringIndexer,
    VectorAssembler,
)
from pyspark.ml.regression import LinearRegression, RandomForestRegressor
from pyspark.mllib import classification, clustering, regression, tree
from pyspark.mllib.regression import LabeledPoint
from pyspark.sql import SparkSession
from sklearn.datasets import load_iris

import mlsrv_mllib.plugin
import mlsrv_numpy.plugin
from mlsrv import ModelSettings
from mlsrv.codecs import PandasCodec
from mlsrv.errors import InferenceError, OutputNotFound
from mlsrv.testing import tensor_request, text_request
from mlsrv.types import InferenceRequest
from mlsrv_mllib import MLlibModel
from mlsrv_mllib.pipeline import FEW
from mlsrv_mllib.rdd import FORMATS
from mlsrv_testing.contracts import RuntimeContract
from served import ask, asking, assert_identical, assert_same_over_every_wire, kernel_of, model, reason

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


async def test_few_rows_are_asked_one_by_one_with_the_same_answers(assembled: Path, spark: Any) -> None:
    wanted = expected(spark, assembled, IRIS)
    names = ["prediction", "probability", "rawPrediction"]
    async with kernel_of(model(assembled, "mllib")) as kernel:
        for some in (slice(None), slice(FEW), slice(-1, None)):
            found = await ask(kernel, IRIS[some], *names)
            for name in names:
                assert_identical(found[name], wanted[name][some].reshape(len(IRIS[some]), -1))
        empty = await ask(kernel, IRIS[:0], *names)
        assert [empty[name].shape for name in names] == [(0, 1), (0, 3), (0, 3)]
        with pytest.raises(InferenceError, match=r"refuses the input: .*NaN"):
            await ask(kernel, np.full((1, 4), np.nan))


async def test_predictors_without_a_pipeline(flowers: Any, folder: Path) -> None:
    table = VectorAssembler(inputCols=NAMES, outputCol="features").transform(flowers).cache()
    forest = RandomForestRegressor(labelCol="petal_width", numTrees=2, seed=1).fit(table)
    means = KMeans(k=2, seed=1, maxIter=2).fit(table)
    for name, trained in {"forest": forest, "means": means}.items():
        trained.save(str(folder / name))
        wanted = np.array([row.prediction for row in trained.transform(table.limit(100)).collect()])
        async with kernel_of(model(folder / name, None)) as kernel:
            [features] = kernel.model_metadata("m").inputs
            assert (features.name, features.shape) == ("features", [-1, 4])
            for count in (1, 100):
                found = await ask(kernel, tensor_request("m", IRIS[:count], name="anything"))
                assert_identical(found["prediction"], wanted[:count, None])
            with pytest.raises(
                InferenceError, match=r'input "features" takes FP64 of shape \[rows, 4\], but'
            ):
                await ask(kernel, IRIS[:2, :2])


async def test_texts_and_numbers_come_as_tensors_or_as_a_frame(mixed: Path, spark: Any) -> None:
    trained = PipelineModel.load(str(mixed))
    rows = list(HOMES[["city", "rooms"]].itertuples(index=False, name=None))
    table = trained.transform(spark.createDataFrame(rows, ["city", "rooms"])).collect()
    wanted = np.array([[row.prediction] for row in table])
    cities, rooms = text_request("m", list(HOMES["city"])).inputs[0], HOMES[["rooms"]].to_numpy()
    cities.name = "city"
    tensors = InferenceRequest(inputs=[tensor_request("m", rooms, name="rooms").inputs[0], cities])
    async with kernel_of(model(mixed, "mllib")) as kernel:
        for sent in (tensors, PandasCodec.encode_request(HOMES[["rooms", "city"]])):
            assert_identical((await ask(kernel, sent))["prediction"], wanted)
        for wrong, text in [
            (
                HOMES[["city", "rooms"]].replace("Genf", "Rom"),
                "refuses the input: Unseen label: Rom. To handle",
            ),
            (HOMES[["city"]], "needs the inputs rooms; it takes city, rooms"),
            (HOMES, "does not know the inputs rent; it takes city, rooms"),
            (HOMES[["city"]].assign(rooms="many"), 'input "rooms" takes FP64 .* the text'),
            (HOMES[["rooms"]].assign(city=1), 'input "city" takes texts'),
        ]:
            with pytest.raises(InferenceError, match=text):
                await ask(kernel, PandasCodec.encode_request(wrong))
        with pytest.raises(OutputNotFound, match='no output "predict"; it has '):
            await ask(kernel, PandasCodec.encode_request(HOMES[["city", "rooms"]]), "predict")
        assert_identical((await ask(kernel, tensors))["prediction"], wanted)
    renamed = {"predict_fn": "features"}
    async with kernel_of(model(mixed, "mllib", renamed)) as kernel:
        assert list(await ask(kernel, tensors)) == ["features"]


async def test_rows_that_a_stage_skips_are_refused(spark: Any, folder: Path) -> None:
    indexer = StringIndexer(inputCol="city", outputCol="number", handleInvalid="skip")
    indexer.fit(spark.createDataFrame([("Bern",)], ["city"])).save(str(folder / "skips"))
    async with kernel_of(model(folder / "skips", "mllib")) as kernel:
        assert (await ask(kernel, text_request("m", ["Bern"])))["number"].tolist() == [[0.0]]
        with pytest.raises(InferenceError, match="leaves out 1 of 2 rows"):
            await ask(kernel, text_request("m", ["Bern", "Rom"]))


async def test_columns_that_cannot_be_found_out_are_declared(spark: Any, folder: Path) -> None:
    statement = SQLTransformer(statement="SELECT *, a + 2 * b AS c FROM __THIS__")
    PipelineModel([statement]).save(str(folder / "sql"))
    assert 'declare all that the model takes as "inputs"' in await reason(model(folder / "sql", "mllib"))
    declared = [{"name": name, "datatype": "INT32", "shape": [-1, 1]} for name in "ab"]
    async with kernel_of(model(folder / "sql", "mllib", inputs=declared)) as kernel:
        assert [str(tensor.datatype) for tensor in kernel.model_metadata("m").outputs] == ["INT32"]
        sent = [
            tensor_request("m", np.array([number], np.int32), name=name)
            for name, number in [("a", 1), ("b", 2)]
        ]
        request = InferenceRequest(inputs=[tensor for one in sent for tensor in one.inputs])
        assert (await ask(kernel, request))["c"].tolist() == [[5]]


@pytest.fixture(scope="module")
def points(spark: Any) -> Any:
    labelled = [
        LabeledPoint(float(kind > 0), list(map(float, row))) for row, kind in zip(IRIS, FLOWER, strict=True)
    ]
    return spark.sparkContext.parallelize(labelled, 1).cache()


TRAINED: dict[str, Callable[[Any], Any]] = {
    "LogisticRegression": lambda points: classification.LogisticRegressionWithLBFGS.train(
        points, iterations=2
    ),
    "NaiveBayes": classification.NaiveBayes.train,
    "SVM": lambda points: classification.SVMWithSGD.train(points, iterations=1),
    "KMeans": lambda points: clustering.KMeans.train(
        points.map(lambda point: point.features), 2, maxIterations=1, seed=1
    ),
    "IsotonicRegression": lambda points: regression.IsotonicRegression.train(
        points.map(lambda point: (point.label, point.features[0], 1.0))
    ),
    "LinearRegression": lambda points: regression.LinearRegressionWithSGD.train(points, 1, step=0.01),
    "Lasso": lambda points: regression.LassoWithSGD.train(points, 1, step=0.01),
    "RidgeRegression": lambda points: regression.RidgeRegressionWithSGD.train(points, 1, step=0.01),
    "DecisionTree": lambda points: tree.DecisionTree.trainClassifier(points, 2, {}, maxDepth=2),
    "GradientBoostedTrees": lambda points: tree.GradientBoostedTrees.trainClassifier(
        points, {}, numIterations=2
    ),
    "RandomForest": lambda points: tree.RandomForest.trainClassifier(points, 2, {}, numTrees=2, seed=1),
}


def test_every_format_is_tried() -> None:
    assert list(TRAINED) == list(FORMATS)


@pytest.mark.filterwarnings("ignore:Deprecated in 2.0.0:FutureWarning")
@pytest.mark.parametrize("kind", TRAINED)
async def test_models_for_rdds(kind: str, points: Any, spark: Any, tmp_path: Path) -> None:
    trained = TRAINED[kind](points)
    trained.save(spark.sparkContext, str(tmp_path / "saved"))
    takes_numbers = kind == "IsotonicRegression"
    rows = IRIS[::30, 0] if takes_numbers else IRIS[::30]
    wanted = np.array(
        [[trained.predict(float(row) if takes_numbers else list(row))] for row in rows], np.float64
    )
    for parameters in ({}, {"format": kind}):
        async with kernel_of(model(tmp_path / "saved", "mllib", parameters=parameters)) as kernel:
            [told] = kernel.model_metadata("m").outputs
            assert (told.name, told.datatype, told.shape) == ("predict", "FP64", [-1, 1])
            assert_identical((await ask(kernel, rows))["predict"], wanted)
            assert_identical(
                (await ask(kernel, rows[0] if rows.ndim > 1 else rows[:1]))["predict"], wanted[:1]
            )
            with pytest.raises(
                InferenceError, match=r"shape \[rows|refuses the input: Index \d out of bounds"
            ):
                await ask(kernel, np.zeros((2, 2)) if takes_numbers else np.full((2, 1), 9.0))


async def test_unusable_artifacts_say_what_to_do(assembled: Path, spark: Any, tmp_path: Path) -> None:
    assert "is neither a file nor a folder" in await reason(model(tmp_path / "gone", "mllib"))
    assert "has no metadata of Spark; save the fitted model" in await reason(model(tmp_path, "mllib"))
    Pipeline(stages=[label()]).save(str(tmp_path / "unfitted"))
    assert "a Pipeline that is not fitted; call fit" in await reason(model(tmp_path / "unfitted", "mllib"))
    assert "leave it out" in await reason(model(assembled, "mllib", parameters={"format": "SVM"}))
    broken = shutil.copytree(assembled, tmp_path / "broken")
    [weights] = broken.glob("stages/2_*/data/*.parquet")
    weights.write_bytes(b"junk")
    found = await reason(model(broken, "mllib"))
    assert f"{broken} cannot be read as a model of Spark (" in found
    assert "save the fitted model again" in found
    [metadata] = broken.glob("metadata/part-*")
    metadata.write_text(metadata.read_text().replace('"sparkVersion":"', '"sparkVersion":"9'))
    metadata.with_name(f".{metadata.name}.crc").unlink()
    assert re.search(r"saved by Spark 9\d.*: install a newer one", await reason(model(broken, "mllib")))
    for extra, text in [
        ({"predict_fn": "predict"}, "predict_fn is 'predict', but the model has prediction"),
        ({"master": 3}, "extra.master must be a text, not 3"),
    ]:
        assert text in await reason(model(assembled, "mllib", extra))
