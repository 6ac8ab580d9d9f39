"""Rows per second of each runtime, against its framework called directly.

    python tests/bench/bench_runtimes.py [SECONDS]

The models are those of tests/examples/multi-model, that of MLflow is its scikit-learn model with a signature,
served by a kernel in this process, one request after the other; both sides get the same rows and one thread.
Runtimes that are not installed are left out. The share is what remains of the framework's own rate.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mlsrv import Kernel, ModelSettings
from mlsrv.testing import tensor_request

EXAMPLE = Path(__file__).parents[1] / "examples/multi-model"
BATCHES = (1, 32, 1024)


def sklearn(path: Path) -> Callable[[Any], Any]:
    import skops.io

    return skops.io.load(path / "model.skops").predict


def xgboost(path: Path) -> Callable[[Any], Any]:
    import xgboost

    booster = xgboost.Booster(model_file=path / "model.json")
    booster.set_param({"nthread": 1})
    return booster.inplace_predict


def lightgbm(path: Path) -> Callable[[Any], Any]:
    import lightgbm

    booster = lightgbm.Booster(model_file=path / "model.txt")
    return lambda rows: booster.predict(rows, num_threads=1)


def catboost(path: Path) -> Callable[[Any], Any]:
    import catboost

    model = catboost.CatBoostClassifier().load_model(str(path / "model.cbm"))
    return lambda rows: model.predict(rows, thread_count=1)


def onnx(path: Path) -> Callable[[Any], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path / "model.onnx"), options)
    return lambda rows: session.run(None, {"measurements": rows})


def mlflow(path: Path) -> Callable[[Any], Any]:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(path)).predict


FRAMEWORKS = {found.__name__: found for found in (sklearn, xgboost, lightgbm, catboost, onnx, mlflow)}


@contextmanager
def folder_of(name: str) -> Iterator[Path]:
    """The folder of a framework's model, with its settings."""
    if name != "mlflow":
        yield EXAMPLE / name
        return
    import mlflow.sklearn
    import skops.io

    rows = np.zeros((1, 4), np.float32)
    estimator = skops.io.load(EXAMPLE / "sklearn/model.skops")
    signature = mlflow.models.infer_signature(rows, estimator.predict(rows))
    with TemporaryDirectory() as folder:
        mlflow.sklearn.save_model(estimator, folder, signature=signature, pip_requirements=[])
        Path(folder, "model-settings.json").write_text('{"implementation": "mlflow"}')
        yield Path(folder)


async def calls_per_second(call: Callable[[], Awaitable[Any]], seconds: float) -> float:
    """How often a call can be awaited in a second, after some to warm up."""
    for _ in range(5):
        await call()
    count, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        await call()
        count += 1
    return count / passed


async def measure(name: str, folder: Path, seconds: float) -> None:
    direct = FRAMEWORKS[name](folder)
    settings = ModelSettings.parse_file(folder / "model-settings.json")
    settings.parameters.extra["threads"] = 1
    async with Kernel({"executor": "inline"}, models=[settings]) as kernel:
        await kernel.loaded()
        for batch in BATCHES:
            rows = np.random.default_rng(0).random((batch, 4), dtype=np.float32)

            async def alone(rows: Any = rows) -> Any:
                return direct(rows)

            async def served(rows: Any = rows) -> Any:
                return await kernel.infer(tensor_request(settings.name, rows, name="measurements"))

            bare = await calls_per_second(alone, seconds) * batch
            ours = await calls_per_second(served, seconds) * batch
            print(f"{name:10} {batch:6} {bare:14,.0f} {ours:14,.0f} {ours / bare:8.0%}")


def main() -> None:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(f"{'runtime':10} {'batch':>6} {'direct rows/s':>14} {'mlsrv rows/s':>14} {'share':>8}")
    for name in FRAMEWORKS:
        if importlib.util.find_spec(f"mlsrv_{name}") is None:
            print(f"{name:10} not installed")
        else:
            with folder_of(name) as folder:
                asyncio.run(measure(name, folder, seconds))


if __name__ == "__main__":
    main()
