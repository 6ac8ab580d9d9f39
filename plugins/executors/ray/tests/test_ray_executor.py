"""Models on a real cluster: where they run, what they get, and what is wrong with their settings."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray_served
from ray_served import ask, serving, told

from mlsrv import ModelSettings
from mlsrv.errors import ModelFailed
from mlsrv.testing import tensor_request
from mlsrv_ray.artifacts import Archive, pack

pytestmark = pytest.mark.timeout(180)

TRYING = """
import asyncio, sys
from pathlib import Path
import ray
from ray_served import ask, is_running, serving, told

async def main():
    async with serving("local", told(Path(sys.argv[1])), ray_connect_timeout=120.0) as kernel:
        replica = (await ask(kernel))["pid"]
        assert is_running(replica)
    assert not ray.is_initialized()
    async with asyncio.timeout(30):
        while is_running(replica):
            await asyncio.sleep(0.1)

asyncio.run(main())
"""


async def reason(kernel: Any) -> str:
    """Why the model m is not loaded."""
    found = kernel.handle("m").reason
    assert found
    return str(found)


async def test_replicas_are_spread_over_nodes_and_share_the_requests(cluster: Any, tmp_path: Path) -> None:
    async with serving(cluster["address"], told(tmp_path, ray_replicas=2, ray_concurrency=1)) as kernel:
        answers = await asyncio.gather(*(ask(kernel, "sleep 0.1") for _ in range(8)))
        assert len({answer["node"] for answer in answers}) == 2
        assert len({answer["pid"] for answer in answers}) == 2


async def test_inputs_are_read_only_unless_they_are_copied(cluster: Any, tmp_path: Path) -> None:
    large = np.zeros(100_000, np.float32)
    models = told(tmp_path / "a", "m"), told(tmp_path / "b", "copies", copy_inputs=True)
    async with serving(cluster["address"], *models) as kernel:
        with pytest.raises(ModelFailed, match="read-only: set copy_inputs"):
            await kernel.infer(tensor_request("m", large))
        answer = await kernel.infer(tensor_request("copies", large))
        assert np.all(answer.outputs[0].data == 1)
        small = await kernel.infer(tensor_request("m", np.zeros(10, np.float32)))
        assert np.all(small.outputs[0].data == 1)


@pytest.mark.parametrize("way", ["object_store", "working_dir"])
async def test_files_of_a_model_are_sent_to_the_nodes(
    cluster: Any, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = 0

    def count(model: ModelSettings) -> Archive:
        nonlocal packed
        packed += 1
        return pack(model)

    monkeypatch.setattr("mlsrv_ray.executor.pack", count)
    folder = tmp_path / "model"
    # On one node: those of the test share the folder into which Ray unpacks.
    replicas = 2 if way == "object_store" else 1
    model = told(folder, ray_artifacts=way, ray_replicas=replicas, ray_resources={"first": 1})
    (folder / "weights.txt").write_text("heavy")
    async with serving(cluster["address"], model) as kernel:
        assert packed == 1
        assert (await ask(kernel, "file weights.txt"))["value"] == "heavy"
        found = (await ask(kernel, "folder"))["value"]
        assert (Path(found) / "weights.txt").is_file() == (way == "working_dir")
        assert not Path(found).is_relative_to(tmp_path)
        (folder / "weights.txt").write_text("heavier")
        assert (await ask(kernel, "file weights.txt"))["value"] == "heavy"
        await kernel.load("m")
        assert (await ask(kernel, "file weights.txt"))["value"] == "heavier"


async def test_files_are_sent_as_one_working_directory_only(tmp_path: Path) -> None:
    model = told(tmp_path, ray_artifacts="working_dir", ray_runtime_env={"working_dir": "s3://b/files.zip"})
    async with serving("127.0.0.2:1", model) as kernel:
        assert await reason(kernel) == "Model m: ray_runtime_env has another working_dir already."


async def test_files_that_the_cluster_does_not_take_are_no_load(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_RUNTIME_ENV_FAIL_UPLOAD_FOR_TESTING", "1")
    async with serving(cluster["address"], told(tmp_path, ray_artifacts="working_dir")) as kernel:
        assert "The model's files cannot be stored in the cluster" in await reason(kernel)


async def test_more_replicas_start_while_requests_wait(cluster: Any, tmp_path: Path) -> None:
    model = told(tmp_path, ray_max_replicas=2, ray_concurrency=1)
    async with serving(cluster["address"], model) as kernel:
        nodes: set[str] = set()
        async with asyncio.timeout(60):
            while len(nodes) < 2:
                answers = await asyncio.gather(*(ask(kernel, "sleep 0.3") for _ in range(8)))
                nodes |= {str(answer["pid"]) for answer in answers}


async def test_a_reload_has_no_gap(cluster: Any, tmp_path: Path) -> None:
    async with serving(cluster["address"], told(tmp_path)) as kernel:
        before = await ask(kernel)
        reload = asyncio.create_task(kernel.load("m"))
        asked = 0
        while not reload.done():
            await ask(kernel)
            asked += 1
        await reload
        assert asked > 0
        assert (await ask(kernel))["pid"] != before["pid"]


async def test_the_deadline_is_of_the_machine_that_has_the_replica(cluster: Any, tmp_path: Path) -> None:
    async with serving(cluster["address"], told(tmp_path)) as kernel:
        assert (await ask(kernel, "value 1", seconds=60))["value"] == "1"


async def test_a_model_without_a_cluster_says_what_is_missing(tmp_path: Path) -> None:
    async with serving(None, told(tmp_path)) as kernel:
        assert "the setting ray_address names it" in await reason(kernel)


@pytest.mark.parametrize("limits", [{"ray_max_replicas": 2}, {"ray_min_replicas": 4}])
async def test_a_number_of_replicas_beyond_its_limits_is_refused(
    tmp_path: Path, limits: dict[str, int]
) -> None:
    async with serving("127.0.0.2:1", told(tmp_path, ray_replicas=3, **limits)) as kernel:
        assert "ray_replicas is 3, which is not from ray_min_replicas, " in await reason(kernel)


async def test_replicas_without_requests_end_down_to_the_least(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlsrv_ray.replicas.IDLE", 0.5)
    monkeypatch.setattr("mlsrv_ray.replicas.INTERVAL", 0.1)
    model = told(tmp_path, ray_replicas=2, ray_min_replicas=1)
    async with serving(cluster["address"], model) as kernel:
        placed = kernel.handle("m").instance.placement
        async with asyncio.timeout(30):
            while placed.replicas.count > 1:
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert placed.replicas.count == 1
        await ask(kernel)


def test_a_cluster_for_trying_is_started_and_ends_with_the_server(tmp_path: Path) -> None:
    # In a process of its own: Ray turns the authentication by tokens on for the whole process, and then no
    # actor starts on a cluster without tokens.
    path = os.pathsep.join((str(Path(ray_served.__file__).parent), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, "-c", TRYING, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr


async def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    models = told(tmp_path / "a"), told(tmp_path / "b", "here", executor="inline")
    async with serving("127.0.0.2:1", *models, ray_connect_timeout=1.0) as kernel:
        sentence = "The Ray cluster 127.0.0.2:1 cannot be used: ConnectionRefusedError"
        assert sentence in await reason(kernel)
        assert (await ask(kernel, name="here"))["node"] == "none"


async def test_resources_that_no_node_has_are_waited_for_and_logged(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlsrv_ray.replica.PATIENCE", 0.5)
    with caplog.at_level(logging.WARNING):
        async with serving(cluster["address"], told(tmp_path, ray_num_cpus=999, load_timeout=8.0)) as kernel:
            assert "load_timeout of 8 s" in await reason(kernel)
    assert "it may wait for resources of the cluster" in caplog.text
