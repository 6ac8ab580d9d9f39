"""A real Prometheus scrapes a server for a while: its numbers are those of the clients, it can ask every
query of the dashboard, and its tools find nothing to complain about."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from mlsrv import ModelSettings
from mlsrv.testing import tensor_request
from mlsrv_prometheus.alerts import alerts
from mlsrv_prometheus.dashboard import ROWS
from served import Served, served

SECONDS = 30
SCRAPES = 12

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: mlsrv
    static_configs: [{{targets: ["{target}"]}}]
"""


@asynccontextmanager
async def scraping(url: str, folder: Path, port: int) -> AsyncIterator[httpx.AsyncClient]:
    """A Prometheus that scrapes a server every second: a client of its API."""
    (folder / "alerts.yml").write_text(alerts(), encoding="utf-8")
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(target=url.split("/")[2]), encoding="utf-8")
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as client:
            await eventually(client, "/-/ready", lambda answer: answer.status_code == 200)
            yield client
    finally:
        process.kill()
        process.wait(SECONDS)


async def eventually(
    client: httpx.AsyncClient, path: str, test: Callable[[httpx.Response], bool], **query: str
) -> httpx.Response:
    """The first answer that passes."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            answer = await client.get(path, params=query)
            if test(answer):
                return answer
        except httpx.TransportError:
            answer = None
        assert time.monotonic() < end, f"{path} {query}: {answer.text if answer else 'no answer'}"
        await asyncio.sleep(0.2)


async def ask(client: httpx.AsyncClient, expression: str) -> list[dict[str, Any]]:
    """The result of a query now."""
    answer = (await client.get("/api/v1/query", params={"query": expression})).json()
    assert answer["status"] == "success", f"{expression}: {answer}"
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


async def traffic(found: Served) -> int:
    """Requests over REST and gRPC. Returns their number."""
    request = tensor_request("echo", np.array([1.0], np.float32))
    for _ in range(10):
        await found.infer("json", request)
        await found.infer("grpc", request)
    return 20


@pytest.mark.parametrize("workers", [0, 1])
async def test_prometheus_has_the_numbers_of_the_clients(
    tmp_path: Path, free_port: int, workers: int
) -> None:
    echo = ModelSettings(name="echo", implementation="mlsrv.testing.ThreadedEchoModel")
    async with served([echo], parallel_workers=workers) as found:
        async with scraping(
            found.kernel.transports["prometheus"].endpoints[0], tmp_path, free_port
        ) as client:
            sent = await traffic(found)
            success = 'model_infer_request_success_total{model="echo"}'

            def complete(answer: httpx.Response) -> bool:
                return [item["value"][1] for item in answer.json()["data"]["result"]] == [str(sent)]

            await eventually(client, "/api/v1/query", complete, query=success)
            await eventually(
                client,
                "/api/v1/query",
                lambda answer: float(answer.json()["data"]["result"][0]["value"][1]) >= SCRAPES,
                query="count_over_time(up[5m])",
            )
            assert [item["value"][1] for item in await ask(client, "min_over_time(up[5m])")] == ["1"]
            for expression, wanted in (
                ('sum(rest_server_requests_total{path="/v2/models/{model}/infer"})', sent / 2),
                ('sum(grpc_server_handled_total{grpc_code="OK"})', sent / 2),
                ('sum(mlsrv_phase_seconds_count{phase="predict"})', sent),
                ("mlsrv_model_ready", 1),
            ):
                assert [float(item["value"][1]) for item in await ask(client, expression)] == [wanted], (
                    expression
                )
            answered = 0
            for row in ROWS:
                for panel in row.panels:
                    for query, _ in panel.queries:
                        plain = query.replace("$__rate_interval", "1m").replace("$model", ".*")
                        answered += bool(await ask(client, plain))
            assert answered >= 18, "queries without any data say nothing"
            rules = (await client.get("/api/v1/rules")).json()["data"]["groups"][0]["rules"]
            assert {rule["health"] for rule in rules} == {"ok"}
            assert {rule["state"] for rule in rules} == {"inactive"}


async def test_its_tools_find_nothing_to_complain_about(tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text(alerts(), encoding="utf-8")
    checked = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "alerts.yml")], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    echo = ModelSettings(name="echo", implementation="mlsrv.testing.EchoModel")
    async with served([echo], parallel_workers=0) as found:
        await traffic(found)
        async with httpx.AsyncClient() as client:
            text = (await client.get(found.kernel.transports["prometheus"].endpoints[0])).text
    linted = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert linted.returncode in (0, 3), linted.stderr  # 3: there are remarks on style
    assert "error" not in linted.stderr.lower(), linted.stderr
