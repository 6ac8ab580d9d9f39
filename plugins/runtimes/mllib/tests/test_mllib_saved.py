"""What saved models tell of themselves, and what the settings may say of them; without Spark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlsrv import ModelSettings
from mlsrv.errors import ModelLoadError
from mlsrv_mllib.plugin import mlsrv_select_runtime
from mlsrv_mllib.rdd import FORMATS, format_of
from mlsrv_mllib.saved import Saved, saved_in


def save(folder: Path, text: str) -> Path:
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    (folder / "metadata/part-00000-4f2e-c000.txt").write_text(text, encoding="utf-8")
    return folder


def metadata(class_name: str, **more: object) -> str:
    return json.dumps({"class": class_name, **more})


def test_metadata_is_read(tmp_path: Path) -> None:
    pipeline = saved_in(
        save(tmp_path, metadata("org.apache.spark.ml.PipelineModel", sparkVersion="4.0.1") + "\n")
    )
    assert pipeline == Saved("org.apache.spark.ml.PipelineModel", "4.0.1")
    assert pipeline.is_spark
    assert not pipeline.is_of_rdds
    rdd = saved_in(save(tmp_path, metadata("org.apache.spark.mllib.classification.SVMModel", version="1.0")))
    assert rdd is not None
    assert rdd.is_of_rdds


@pytest.mark.parametrize("text", ["", "junk", "[1]", '{"class": 3}', "{}"])
def test_other_folders_have_none(tmp_path: Path, text: str) -> None:
    assert saved_in(save(tmp_path, text)) is None
    assert saved_in(tmp_path / "gone") is None


def test_it_chooses_the_runtime_without_an_implementation(tmp_path: Path) -> None:
    settings = ModelSettings(name="m", parameters={"uri": str(tmp_path)})
    assert mlsrv_select_runtime(settings, []) is None
    save(tmp_path, metadata("somebody.else.Model"))
    assert mlsrv_select_runtime(settings, []) is None
    save(tmp_path, metadata("org.apache.spark.ml.PipelineModel"))
    assert mlsrv_select_runtime(settings, []) == "mllib"
    settings.parameters.uri = "hdfs://elsewhere/model"
    assert mlsrv_select_runtime(settings, []) is None


def formatted(wanted: str | None, class_name: str | None) -> str:
    settings = ModelSettings(name="m", parameters={"format": wanted})
    return format_of(settings, None if class_name is None else Saved(class_name, ""))


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_is_told_by_either(name: str) -> None:
    class_name = f"org.apache.spark.mllib.some.{name}Model"
    assert formatted(name, class_name) == formatted(None, class_name) == formatted(name, None) == name


def test_wrong_formats_are_explained() -> None:
    with pytest.raises(
        ModelLoadError, match="'Forest' is unknown; it may be LogisticRegression, NaiveBayes,"
    ):
        formatted("Forest", None)
    with pytest.raises(ModelLoadError, match="format is KMeans, but what was saved is SVM"):
        formatted("KMeans", "org.apache.spark.mllib.classification.SVMModel")
    with pytest.raises(ModelLoadError, match=r"class Word2Vec cannot be served; .* these can: Logistic"):
        formatted(None, "org.apache.spark.mllib.feature.Word2VecModel")
