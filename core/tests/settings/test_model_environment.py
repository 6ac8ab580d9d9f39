"""Model settings from the environment: one default model, and fields that beat every file's."""

import pytest

from mlsrv import Kernel
from mlsrv.errors import ConfigurationError
from mlsrv.plugins.offers import SettingsOffer
from mlsrv.settings import ModelSettings, Settings, environment_layers, setting, settings_class
from mlsrv.settings.model_environment import ModelEnvironment
from mlsrv.testing import Offering


def environment(**variables: str) -> ModelEnvironment:
    return ModelEnvironment(environment_layers(variables)[1])


def test_identifying_fields_make_the_default_model() -> None:
    found = environment(
        MLSRV_MODEL_NAME="m",
        MLSRV_MODEL_IMPLEMENTATION="sklearn",
        MLSRV_MODEL_URI="./model.joblib",
        MLSRV_MODEL_VERSION="v1",
        MLSRV_MODEL_EXTRA='{"threshold": 0.5}',
        MLSRV_MODEL_ENVIRONMENT_TARBALL="./environment.tar.gz",
        MLSRV_MODEL_INFERENCE_POOL_GID="old",
        MLSRV_MODEL_INPUTS='[{"name": "x", "datatype": "FP32", "shape": [1]}]',
        MLSRV_MODEL_PARAMETERS='{"pool": "gpu", "version": "v0"}',
    ).default_model()
    assert found is not None
    assert (found.name, found.implementation, found.version) == ("m", "sklearn", "v1")
    assert found.parameters.uri == "./model.joblib"
    assert found.parameters.extra == {"threshold": 0.5}
    assert found.parameters.pool == "gpu"
    assert found.parameters.environment_tarball == "./environment.tar.gz"
    assert found.parameters.inference_pool_gid == "old"
    assert found.inputs[0].name == "x"


def test_without_runtime_and_artifact_there_is_no_default_model() -> None:
    assert environment(MLSRV_MODEL_NAME="m").default_model() is None
    found = environment(MLSRV_MODEL_URI="model.joblib").default_model()
    assert found is not None
    assert found.name == "default"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MLSRV_MODEL_EXTRA", "{broken", "environment: parameters.extra: expected an object, got '{broken'"),
        ("MLSRV_MODEL_INPUTS", "x", "environment: inputs: expected a list, got 'x'"),
        ("MLSRV_MODEL_PARAMETERS", "x", "environment: parameters: expected an object, got 'x'"),
    ],
)
def test_a_wrong_value(name: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        environment(**{"MLSRV_MODEL_IMPLEMENTATION": "sklearn", name: value}).default_model()
    assert str(caught.value) == sentence


def test_identity_never_reaches_other_models() -> None:
    overlay = environment(MLSRV_MODEL_NAME="m", MLSRV_MODEL_URI="x", MLSRV_MODEL_PLATFORM="toy").overlay
    assert dict(overlay.values) == {"platform": "toy"}
    assert overlay.where("platform") == "environment MLSRV_MODEL_PLATFORM"


async def listed(models: list[ModelSettings], **variables: str) -> list[ModelSettings]:
    server, model = environment_layers(variables)
    kernel = Kernel(Settings.from_layers([server], model), models=models, discover=False)
    return [kernel.resolve_model(one) for one in await kernel.listing() if isinstance(one, ModelSettings)]


async def test_the_default_model_appears_only_where_there_is_no_other() -> None:
    variables = {"MLSRV_MODEL_NAME": "env", "MLSRV_MODEL_IMPLEMENTATION": "sklearn"}
    assert [one.name for one in await listed([], **variables)] == ["env"]
    assert [one.name for one in await listed([ModelSettings(name="given")], **variables)] == ["given"]


async def test_other_fields_beat_every_models_own() -> None:
    models = [ModelSettings(name="a", platform="file"), ModelSettings(name="b")]
    found = await listed(models, MLSRV_MODEL_PLATFORM="env", MLSRV_MODEL_NAME="c")
    assert [(one.name, one.platform) for one in found] == [("a", "env"), ("b", "env")]
    origins = {one.name: one.origin for one in found[0]}
    assert origins["platform"] == "environment"


async def test_the_parameters_that_a_plugin_reads() -> None:
    @settings_class
    class ToySettings:
        toys: int = setting(0, help="How many toys a model has.")

    offer = SettingsOffer("model", ToySettings, parameters=("toy_box",))
    variables = {"MLSRV_MODEL_IMPLEMENTATION": "mlsrv.testing.EchoModel", "MLSRV_MODEL_TOY_BOX": "red"}
    server, model = environment_layers(variables)
    settings = Settings.from_layers([server], model_layer=model)
    async with Kernel(settings, plugins=[Offering(offer)], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []
        found = kernel.handle("default").settings
        assert found is not None
        assert found.parameters.toy_box == "red"
