"""Models for MLServer in environments of Python 3.10, that of MLServer's image."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlserver_folders import DIFFERENCES, ask_everything, truth, write
from other_pythons import OTHERS, make_environment

from mlsrv import Kernel
from mlsrv.testing import tensor_request
from served import served

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif("3.10" not in OTHERS, reason="these tests run on Python 3.10 themselves"),
]

PACKAGES = ("numpy<2", "pandas", "pydantic>=2", "scikit-learn", "starlette")

TRAIN = """
import sys
import joblib, numpy as np
from sklearn.linear_model import LogisticRegression
X = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
joblib.dump(LogisticRegression().fit(X, [0, 0, 1, 1]), sys.argv[1])
"""

WRAPPED = """
from mlserver_sklearn import SKLearnModel

class Wrapped(SKLearnModel):
    async def load(self):
        self.ready = await super().load()
        assert list(self._model.classes_) == [0, 1]
        return self.ready
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("python") / "3.10", "3.10", *PACKAGES)


async def test_the_answers_are_those_of_mlserver(tmp_path: Path, environment: Path) -> None:
    asked = truth()
    write(tmp_path / "models", asked["requests"])
    for path in (tmp_path / "models").glob("*/model-settings.json"):
        settings = json.loads(path.read_text(encoding="utf-8"))
        settings.setdefault("parameters", {})["environment_path"] = str(environment)
        path.write_text(json.dumps(settings), encoding="utf-8")
    async with served([], model_repository_root=str(tmp_path / "models"), parallel_workers=1) as found:
        assert found.kernel.problems() == []
        ours = await asyncio.to_thread(ask_everything, found.rest, asked)
    theirs: dict[str, Any] = asked["answers"]
    different = {name: ours[name] for name, answer in theirs.items() if ours[name] != answer}
    assert set(different) == set(DIFFERENCES), different


@pytest.mark.parametrize(
    "implementation", ["runtime.Wrapped", "mlserver_sklearn.SKLearnModel", "mlsrv_sklearn.SKLearnModel"]
)
async def test_an_artifact_of_the_environments_scikit_learn(
    tmp_path: Path, environment: Path, implementation: str
) -> None:
    folder = tmp_path / "models" / "old"
    folder.mkdir(parents=True)
    subprocess.run(
        [environment / "bin" / "python", "-c", TRAIN, folder / "model.joblib"], check=True, timeout=120
    )
    (folder / "runtime.py").write_text(WRAPPED, encoding="utf-8")
    parameters = {"uri": "./model.joblib", "environment_path": str(environment)}
    settings = {"name": "old", "implementation": implementation, "parameters": parameters}
    (folder / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
    values = {"model_repository_root": str(tmp_path / "models"), "parallel_workers": 1}
    async with Kernel(values) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []
        response = await kernel.infer(tensor_request("old", np.array([[0.0, 0.0], [3.0, 3.0]])))
    assert response.outputs[0].data.tolist() == [0, 1]


async def test_an_environment_without_pydantic_fails_the_load(tmp_path: Path) -> None:
    environment = make_environment(tmp_path / "python", "3.10", "numpy<2")
    folder = tmp_path / "models" / "old"
    folder.mkdir(parents=True)
    code = "import mlserver\nfrom mlserver import MLModel\n\nclass Old(MLModel):\n    pass\n"
    (folder / "runtime.py").write_text(code, encoding="utf-8")
    parameters = {"environment_path": str(environment)}
    settings = {"name": "old", "implementation": "runtime.Old", "parameters": parameters}
    (folder / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
    async with Kernel({"model_repository_root": str(tmp_path / "models"), "parallel_workers": 1}) as kernel:
        await kernel.loaded()
        (problem,) = kernel.problems()
    assert "No module named 'pydantic'" in problem
