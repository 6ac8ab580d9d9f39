"""Runtimes that models derive from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import mlserver.errors
import numpy as np
import pytest
from mlserver.codecs import NumpyCodec, NumpyRequestCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver_sklearn import SKLearnModel
from mlserver_sklearn.sklearn import PREDICT_OUTPUT, PREDICT_PROBA_OUTPUT, VALID_OUTPUTS
from mlserver_sklearn.sklearn import SKLearnModel as SameModel
from sklearn.linear_model import LogisticRegression

import mlsrv
from mlsrv.testing import tensor_request
from mlsrv_mlserver.runtimes import Runtime
from served import ask, kernel_of, reason

pytestmark = pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning")  # of older scikit-learn

X = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "model.joblib"
    joblib.dump(LogisticRegression().fit(X, [0, 0, 1, 1]), path)
    return path


class Wrapped(SKLearnModel):
    async def load(self) -> bool:
        self.ready = await super().load()
        self.classes = list(self._model.classes_)
        return self.ready

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        response = await super().predict(payload)
        response.outputs[0].data = [self.classes[index] * 10 for index in response.outputs[0].data]
        return response


class Own(SKLearnModel):
    async def load(self) -> bool:
        self._model = joblib.load(str(self.settings.parameters.uri))  # type: ignore[union-attr]  # it is set
        return True


class TooEarly(Runtime):
    target = "mlsrv.testing:EchoModel"  # which has no way to take a model, as those of most frameworks
    plugin = "mlsrv-core"
    attribute = "_echo"

    async def load(self) -> bool:
        self._model = object()
        return True


class Forgetful(SKLearnModel):
    async def load(self) -> bool:
        return True


def settings(implementation: type, artifact: Path) -> mlsrv.ModelSettings:
    return mlsrv.ModelSettings(name="m", implementation=implementation, parameters={"uri": str(artifact)})


@pytest.mark.parametrize(
    ("implementation", "expected"),
    [(SKLearnModel, [[0], [1]]), (SameModel, [[0], [1]]), (Wrapped, [[0], [10]]), (Own, [[0], [1]])],
)
async def test_a_runtime_can_be_derived_from(implementation: type, expected: Any, artifact: Path) -> None:
    async with kernel_of(settings(implementation, artifact)) as kernel:
        assert kernel.ready, kernel.problems()
        found = await ask(kernel, X[[0, 3]])
        assert found["predict"].reshape(-1, 1).tolist() == expected


class Chosen(SKLearnModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        names = [output.name for output in payload.outputs or []] or [PREDICT_OUTPUT]
        if not {*names}.issubset(VALID_OUTPUTS):
            raise mlserver.errors.InferenceError("no such output")
        values = self.decode_request(payload, default_codec=NumpyRequestCodec)
        made = [NumpyCodec.encode_output(name, getattr(self._model, name)(values)) for name in names]
        return InferenceResponse(model_name=self.name, outputs=made)


async def test_a_model_may_ask_the_framework_for_its_outputs(artifact: Path) -> None:
    async with kernel_of(settings(Chosen, artifact)) as kernel:
        found = await ask(kernel, X[[0, 3]], PREDICT_OUTPUT, PREDICT_PROBA_OUTPUT)
        assert found["predict"].ravel().tolist() == [0, 1]
        assert found["predict_proba"].shape == (2, 2)
        with pytest.raises(mlsrv.errors.ModelAnswered, match="no such output"):
            await ask(kernel, X, "other")


async def test_a_content_type_that_no_codec_has_counts_as_none(artifact: Path) -> None:
    async with kernel_of(settings(Wrapped, artifact)) as kernel:
        request = tensor_request("m", X[[0, 3]])
        request.parameters = request.inputs[0].parameters = mlsrv.types.Parameters(content_type="unheard")
        assert (await ask(kernel, request))["predict"].ravel().tolist() == [0, 10]


async def test_a_model_of_a_framework_that_is_set_too_early(artifact: Path) -> None:
    assert "call `await super().load()` before you set `self._model`" in await reason(
        settings(TooEarly, artifact)
    )


async def test_a_load_that_forgets_that_of_the_runtime(artifact: Path) -> None:
    async with kernel_of(settings(Forgetful, artifact)) as kernel:
        with pytest.raises(
            mlsrv.errors.ModelAnswered, match=r"its load\(\) did not call `super\(\).load\(\)`"
        ):
            await ask(kernel, X)
