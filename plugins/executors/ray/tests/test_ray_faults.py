"""What may happen to replicas, nodes, the cluster and the server, with requests counted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import ray_served
from ray_served import ask, is_running, running_cluster, serving, told

from mlsrv.errors import Code, MLSrvError, ModelNotReady
from mlsrv_ray.failures import ReplicaEnded

pytestmark = pytest.mark.timeout(240)


async def until(what: Any, seconds: float = 90) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.1)


async def outcome(kernel: Any, text: str = "sleep 0.02") -> str:
    """Ask once; return how it ended."""
    try:
        await ask(kernel, text)
    except MLSrvError as error:
        return type(error).__name__
    return "answered"


async def test_a_replica_that_is_killed_is_replaced(cluster: Any, tmp_path: Path) -> None:
    async with serving(cluster["address"], told(tmp_path, ray_replicas=2)) as kernel:
        victim = (await ask(kernel))["pid"]
        found: Counter[str] = Counter()
        over = asyncio.Event()

        async def client() -> None:
            while not over.is_set():
                found[await outcome(kernel)] += 1

        clients = [asyncio.create_task(client()) for _ in range(4)]
        os.kill(victim, signal.SIGKILL)
        await until(lambda: found["answered"] > 50)
        assert kernel.ready  # the other one answers
        pids: set[int] = set()
        async with asyncio.timeout(90):
            while len(pids) < 2:
                answers = await asyncio.gather(*(ask(kernel, "sleep 0.1") for _ in range(16)))
                pids = {answer["pid"] for answer in answers}
        over.set()
        await asyncio.gather(*clients)
        assert victim not in pids
        assert set(found) <= {"answered", "ReplicaEnded"}
        assert found["ReplicaEnded"] <= 8


async def test_what_a_killed_replica_had_may_be_asked_again(cluster: Any, tmp_path: Path) -> None:
    async with serving(cluster["address"], told(tmp_path)) as kernel:
        victim = (await ask(kernel))["pid"]
        running = asyncio.create_task(ask(kernel, "sleep 60"))
        await asyncio.sleep(0.5)
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(ReplicaEnded) as caught:
            await running
        assert caught.value.code is Code.OVERLOADED
        assert caught.value.retry_after == 1.0
        await until(lambda: kernel.ready)
        assert (await ask(kernel))["pid"] != victim


async def test_while_its_only_replica_is_replaced_a_model_is_not_ready(cluster: Any, tmp_path: Path) -> None:
    async with serving(cluster["address"], told(tmp_path)) as kernel:
        os.kill((await ask(kernel))["pid"], signal.SIGKILL)
        await until(lambda: not kernel.ready)
        assert any("being replaced" in problem for problem in kernel.problems())
        with pytest.raises(ModelNotReady, match="its replicas are being replaced"):
            await ask(kernel)
        await until(lambda: kernel.ready)
        await ask(kernel)


async def test_a_replica_whose_requests_were_given_up_and_go_on_is_replaced(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlsrv_ray.replica.PATIENCE", 1.0)
    async with serving(cluster["address"], told(tmp_path, ray_concurrency=1)) as kernel:
        stuck = (await ask(kernel))["pid"]
        with pytest.raises(MLSrvError) as caught:
            await ask(kernel, "block 600", seconds=0.5)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        await until(lambda: not is_running(stuck))
        await until(lambda: kernel.ready)
        assert (await ask(kernel))["pid"] != stuck


async def test_replicas_keep_the_version_that_was_loaded(cluster: Any, tmp_path: Path) -> None:
    async with serving(cluster["address"], told(tmp_path, ray_replicas=2)) as kernel:
        (tmp_path / "told.py").write_text("raise ImportError('a newer one, which is broken')")
        victim = (await ask(kernel))["pid"]
        os.kill(victim, signal.SIGKILL)
        pids: set[int] = set()
        async with asyncio.timeout(90):
            while len(pids - {victim}) < 2:
                answers = await asyncio.gather(
                    *(ask(kernel, "sleep 0.1") for _ in range(8)), return_exceptions=True
                )
                pids |= {answer["pid"] for answer in answers if isinstance(answer, dict)}


SERVER = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from ray_served import ask, is_running, serving, told

async def main():
    async with serving(sys.argv[1], told(Path(sys.argv[2]))) as kernel:
        print(json.dumps(await ask(kernel)), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_no_replica_outlives_a_server_that_is_killed(cluster: Any, tmp_path: Path) -> None:
    folder = str(Path(ray_served.__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, cluster["address"], str(tmp_path), folder],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        replica = next(json.loads(line)["pid"] for line in lines if line.startswith("{"))
        assert is_running(replica)
    finally:
        process.kill()
        process.communicate()
    await until(lambda: not is_running(replica))


async def test_models_answer_again_when_the_head_of_their_cluster_is_started_again(tmp_path: Path) -> None:
    models = told(tmp_path / "m"), told(tmp_path / "here", "here", executor="inline")
    clusters = ExitStack()
    first = await asyncio.to_thread(clusters.enter_context, running_cluster(nodes=1))
    port = int(first["address"].rpartition(":")[2])
    try:
        async with serving(first["address"], *models) as kernel:
            before = await ask(kernel)
            await asyncio.to_thread(clusters.close)
            await until(lambda: not kernel.ready)
            with pytest.raises(ModelNotReady):
                await ask(kernel)
            assert (await ask(kernel, name="here"))["pid"] == os.getpid()
            await asyncio.to_thread(clusters.enter_context, running_cluster(port, nodes=1))
            await until(lambda: kernel.ready)
            after = await ask(kernel)
            assert after["node"] != before["node"]
            assert (await ask(kernel, name="here"))["pid"] == os.getpid()
    finally:
        clusters.close()


async def test_a_node_that_ends_takes_its_replica_only(cluster: Any, tmp_path: Path) -> None:
    """The last test of the cluster's second node."""
    if not cluster["processes"]:
        pytest.skip("the cluster is not one of this test")
    models = told(tmp_path / "m", ray_replicas=2), told(tmp_path / "here", "here", executor="inline")
    async with serving(cluster["address"], *models) as kernel:
        nodes = {(await ask(kernel, "sleep 0.05"))["node"] for _ in range(2)}
        (raylet,) = cluster["processes"]["second"]["raylet"]
        os.kill(raylet, signal.SIGKILL)
        found: Counter[str] = Counter()
        async with asyncio.timeout(120):
            while len(nodes) > 1 or found["ReplicaEnded"] + found["answered"] < 20:
                found[await outcome(kernel)] += 1
                answers = await asyncio.gather(
                    *(ask(kernel, "sleep 0.1") for _ in range(4)), return_exceptions=True
                )
                nodes = {answer["node"] for answer in answers if isinstance(answer, dict)} or nodes
        assert set(found) <= {"answered", "ReplicaEnded"}
        assert kernel.ready
