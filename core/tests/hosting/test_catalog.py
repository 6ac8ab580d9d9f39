"""Runtimes: the one that a model gets, and the error when there is none."""

import sys
from pathlib import Path
from typing import Any

import pytest

import mlsrv
from mlsrv import Kernel, ModelSettings
from mlsrv.errors import ModelLoadError, OfferClash
from mlsrv.hosting.catalog import Catalog
from mlsrv.plugins import Plugins
from mlsrv.plugins.offers import RuntimeOffer
from mlsrv.testing import EchoModel, Offering


def catalog(*offers: RuntimeOffer, plugins: Any = ()) -> Catalog:
    return Catalog(Plugins([Offering(*offers), *plugins], discover=False))


TOY = RuntimeOffer("toy", EchoModel, artifacts=("model.toy", "*.toy"), aliases=("other_toy.Model",))
JSON = RuntimeOffer("json", EchoModel, artifacts=("model.json", "*.json"))


def model(folder: Path, *files: str, **fields: Any) -> ModelSettings:
    for name in files:
        (folder / name).touch()
    return ModelSettings(name="m", parameters={"uri": str(folder)}, **fields)


# --- selection ---------------------------------------------------------------------------------------


def test_the_artifact_selects_the_runtime(tmp_path: Path) -> None:
    found = catalog(TOY, JSON)
    assert found.select(model(tmp_path, "weights.toy", "README.md")) == "toy"
    assert found.select(ModelSettings(parameters={"uri": str(tmp_path / "weights.toy")})) == "toy"
    assert found.select(ModelSettings(parameters={"uri": (tmp_path / "weights.toy").as_uri()})) == "toy"


def test_settings_files_and_hidden_files_are_no_artifacts(tmp_path: Path) -> None:
    found = catalog(TOY, JSON)
    assert found.select(model(tmp_path, "model-settings.json", "settings.json", ".x.json", "a.toy")) == "toy"
    (tmp_path / "a.toy").unlink()
    with pytest.raises(ModelLoadError, match=r"no installed runtime knows its artifact \(no files\)"):
        found.select(model(tmp_path))


def test_a_well_known_name_takes_precedence_over_a_pattern(tmp_path: Path) -> None:
    assert catalog(TOY, JSON).select(model(tmp_path, "model.toy", "preprocessing.json")) == "toy"


def test_an_artifact_that_fits_several_runtimes(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError) as caught:
        catalog(TOY, JSON).select(model(tmp_path, "a.toy", "b.json"))
    assert str(caught.value) == (
        "Model m: the artifact (a.toy, b.json) fits several runtimes (toy, json); "
        'name one in "implementation".'
    )


def test_an_artifact_that_fits_none(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError) as caught:
        catalog(TOY).select(model(tmp_path, *(f"{letter}.bin" for letter in "abcdefghij")))
    assert str(caught.value) == (
        "Model m: it has no implementation, and no installed runtime knows its artifact (a.bin, b.bin, "
        "c.bin, d.bin, e.bin, f.bin, g.bin, h.bin, …); installed runtimes: toy."
    )
    with pytest.raises(ModelLoadError, match=r"\(no files\); installed runtimes: none"):
        catalog().select(ModelSettings(name="m", parameters={"uri": "s3://bucket/model"}))


def test_a_plugin_may_choose(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Choosing:
        @mlsrv.hookimpl
        def mlsrv_select_runtime(self, model: ModelSettings, files: Any) -> str:
            seen.append([file.name for file in files])
            return "toy"

    found = catalog(TOY, JSON, plugins=[Choosing()])
    assert found.select(model(tmp_path, "b.json", "a.json")) == "toy"
    assert seen == [["a.json", "b.json"]]


# --- classes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted", ["toy", "other_toy.Model", "mlsrv.testing.EchoModel", "mlsrv.testing:EchoModel"]
)
def test_names_aliases_and_dotted_paths(wanted: str) -> None:
    cls, code = catalog(TOY).runtime_class(ModelSettings(name="m", implementation=wanted))
    assert (cls, code) == (EchoModel, None)


def test_a_class_is_its_own_runtime() -> None:
    assert catalog().runtime_class(ModelSettings(name="m", implementation=EchoModel))[0] is EchoModel


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("toi", 'Model m: unknown runtime "toi"; installed are toy, or write package.module.Class.'),
        (
            "nowhere.Model",
            (
                "Model m: nowhere.Model cannot be imported: ModuleNotFoundError: "
                "No module named 'nowhere' (searched: the Python path)"
            ),
        ),
        ("mlsrv.testing.Nothing", "Model m: mlsrv.testing.Nothing cannot be imported: AttributeError"),
        ("mlsrv.kernel.Kernel", "Model m: 'mlsrv.kernel.Kernel' is the class Kernel"),
        ("mlsrv.testing", "Model m: 'mlsrv.testing' is a module, not a subclass of mlsrv.MLModel."),
        ("broken", 'Model m: the runtime "broken" of offering cannot be imported: No module named'),
    ],
)
def test_implementations_that_are_not_runtimes(wanted: str, sentence: str) -> None:
    found = catalog(TOY, RuntimeOffer("broken", "nowhere:Model"))
    with pytest.raises(ModelLoadError) as caught:
        found.runtime_class(ModelSettings(name="m", implementation=wanted))
    assert str(caught.value).startswith(sentence.replace("are toy", "are broken, toy"))


@pytest.mark.parametrize(
    ("wanted", "plugin"),
    [
        ("xgboost", "mlsrv-xgboost"),
        ("mlserver_xgboost.XGBoostModel", "mlsrv-xgboost"),
        ("mlserver_onnx:Model", "mlsrv-onnx"),
    ],
)
def test_a_runtime_that_is_not_installed_names_its_plugin(
    wanted: str, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("mlserver_xgboost", "mlserver_onnx"):  # mlsrv-mlserver brings some of MLServer's names
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelLoadError) as caught:
        catalog().runtime_class(ModelSettings(name="m", implementation=wanted))
    assert f"The runtime is in the plugin {plugin} (pip install {plugin})." in str(caught.value)


def test_a_runtime_of_mlserver_that_no_plugin_brings_is_told() -> None:
    with pytest.raises(ModelLoadError) as caught:
        catalog().runtime_class(ModelSettings(name="m", implementation="mlserver_elsewhere.Runtime"))
    assert str(caught.value).endswith(" This runtime of MLServer is not available here.")


def test_two_runtimes_of_one_alias_clash() -> None:
    plugins = [
        Offering(TOY, name="one"),
        Offering(RuntimeOffer("new", EchoModel, aliases=("other_toy.Model",)), name="two"),
    ]
    with pytest.raises(OfferClash, match=r'runtime "other_toy.Model" is offered by both one and two'):
        Catalog(Plugins(plugins, discover=False))


async def test_the_kernel_uses_the_selected_runtime(tmp_path: Path) -> None:
    models = [model(tmp_path, "model.toy")]
    async with Kernel(plugins=[Offering(TOY)], models=models, discover=False) as kernel:
        await kernel.loaded()
        assert kernel.ready
        settings = kernel.handle("m").settings
        assert settings is not None
        assert settings.implementation == "toy"
