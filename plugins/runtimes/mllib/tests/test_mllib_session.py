"""The life of Spark's session: when Java starts and ends, and what is said when it cannot."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from mlsrv import ModelSettings
from mlsrv.errors import ModelFailed, ModelLoadError
from mlsrv.testing import tensor_request
from mlsrv_mllib.session import check_java, configuration
from served import WIRES, asking, model, served

TRAIN = """
import sys
from pyspark.ml.regression import LinearRegression
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
points = [(Vectors.dense([float(n), n * n]), 3.0 * n) for n in range(9)]
rows = spark.createDataFrame(points, ["features", "label"])
trained = LinearRegression(maxIter=3, regParam=0.1).fit(rows)
trained.save(sys.argv[1])
print(trained.predict(Vectors.dense([2.0, 4.0])))
"""


def settings(**extra: Any) -> ModelSettings:
    return ModelSettings(name="m", implementation="mllib", parameters={"uri": "/nowhere", "extra": extra})


def test_a_local_session_takes_the_processs_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = configuration(settings())
    assert found["spark.master"] == "local[3]"
    assert found["spark.driver.host"] == "127.0.0.1"
    assert configuration(settings(threads=2))["spark.master"] == "local[2]"


def test_the_configuration_is_the_models() -> None:
    found = configuration(
        settings(
            master="spark://head:7077", spark_config={"spark.ui.enabled": True, "spark.executor.cores": 2}
        )
    )
    assert found["spark.master"] == "spark://head:7077"
    assert found["spark.ui.enabled"] == "true"
    assert found["spark.executor.cores"] == "2"
    assert "spark.driver.host" not in found, "executors elsewhere must find the driver"
    assert configuration(settings(spark_config={"spark.master": "local[5]"}))["spark.master"] == "local[5]"


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ({"master": 3}, "extra.master must be a text, not 3"),
        ({"spark_config": "fast"}, "extra.spark_config must be an object, not 'fast'"),
        ({"spark_config": {"a": [1]}}, r"spark_config must hold texts, .* not {'a': \[1\]}"),
        ({"threads": 0}, "extra.threads must be at least 1"),
    ],
)
def test_wrong_settings_are_explained(extra: Any, text: str) -> None:
    with pytest.raises(ModelLoadError, match=text):
        configuration(settings(**extra))


def test_java_is_looked_for_where_spark_does(tmp_path: Path) -> None:
    java = tmp_path / "bin/java"
    java.parent.mkdir()
    java.write_text("")
    java.chmod(0o700)
    check_java("m", {"JAVA_HOME": str(tmp_path), "PATH": ""})
    check_java("m", {"PATH": str(java.parent)})
    with pytest.raises(ModelLoadError, match="JAVA_HOME is not set, and no folder of PATH has a java"):
        check_java("m", {"PATH": str(tmp_path)})
    with pytest.raises(ModelLoadError, match=r"JAVA_HOME is /gone, .*install Java 17 or newer"):
        check_java("m", {"JAVA_HOME": "/gone", "PATH": str(java.parent)})


def test_a_server_without_java_lives_and_says_so(
    tmp_path: Path, free_port: int, eventually: Callable[..., Any]
) -> None:
    (tmp_path / "metadata").mkdir()
    saved = {"class": "org.apache.spark.ml.PipelineModel", "sparkVersion": "4.0.0"}
    (tmp_path / "metadata/part-00000").write_text(json.dumps(saved))
    (tmp_path / "model-settings.json").write_text(json.dumps({"name": "m", "implementation": "mllib"}))
    kept = {name: value for name, value in os.environ.items() if name not in ("PATH", "JAVA_HOME")}
    ports = {"MLSRV_HOST": "127.0.0.1", "MLSRV_HTTP_PORT": str(free_port), "MLSRV_GRPC_PORT": "0"}
    server = subprocess.Popen(
        [str(Path(sys.executable).parent / "mlsrv"), "start", str(tmp_path)],
        env=kept | ports | {"PATH": "/nowhere", "MLSRV_PARALLEL_WORKERS": "0"},
    )
    url = f"http://127.0.0.1:{free_port}/v2"

    def index() -> Any:
        try:
            [item] = httpx.post(f"{url}/repository/index", json={}, timeout=30).json()
        except httpx.TransportError:
            return None
        return item if item["state"] == "UNAVAILABLE" else None

    try:
        item = eventually(index)
        assert "Spark needs Java, which is not there" in item["reason"]
        assert httpx.get(f"{url}/health/live", timeout=30).status_code == 200
    finally:
        server.terminate()
        assert server.wait(30) == 0


def javas(but: Sequence[psutil.Process] = ()) -> list[psutil.Process]:
    """The Java processes below this one, but for some."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name() == "java" and process not in but:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def has_ended(process: psutil.Process) -> bool:
    """Whether it has, though its parent may not have asked yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.timeout(900)
async def test_java_lives_in_the_worker_as_long_as_models_need_it(
    tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    arguments = [sys.executable, "-W", "ignore", "-c", TRAIN, str(tmp_path / "saved")]
    trained = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert trained.returncode == 0, trained.stderr
    expected = float(trained.stdout)
    row = np.array([[2.0, 4.0]])
    first = model(tmp_path / "saved", "mllib")
    second = first.copy(name="second")
    other = model(tmp_path / "saved", "mllib", {"master": "local[7]"}).copy(name="other")
    async with served([first, second, other], load_models_at_startup=False, parallel_workers=1) as found:
        kernel = found.kernel
        others = javas()  # those of other tests, which train models in this process
        await asyncio.gather(kernel.load("m"), kernel.load("second"))
        [java] = javas(others)
        for wire in WIRES:
            [output] = (await found.infer(wire, asking(row))).outputs
            assert list(output.data) == [expected]
        with pytest.raises(
            ModelLoadError, match=r"asks for another Spark session .*spark.master local\[7\], not"
        ):
            await kernel.load("other")

        await kernel.unload("m")
        assert java.is_running()
        await kernel.unload("second")
        assert has_ended(java)
        await kernel.load("m")
        [java] = javas(others)

        java.kill()
        eventually(lambda: has_ended(java))
        with pytest.raises(ModelFailed, match=r"its Java process, has ended; load the model again"):
            await kernel.infer(tensor_request("m", row))
        await kernel.load("m")
        [java] = javas(others)
        assert list((await kernel.infer(tensor_request("m", row))).outputs[0].data) == [expected]

        java.parent().kill()
        eventually(lambda: has_ended(java))
    assert javas(others) == []
