"""The page and its assets over the REST app."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest

import mlsrv_console.plugin
import mlsrv_rest.plugin
from mlsrv import Kernel
from mlsrv.authorization import action_of
from mlsrv.metrics import Metric, nothing
from mlsrv.testing import make_kernel
from mlsrv_console.routes import ASSETS, PAGE, routes
from mlsrv_rest import create_app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    kernel = make_kernel(plugins=[mlsrv_rest.plugin, mlsrv_console.plugin])
    async with kernel:
        transport = httpx.ASGITransport(create_app(kernel))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as found:
            yield found


async def test_the_page_names_assets_that_are_there(client: httpx.AsyncClient) -> None:
    page = await client.get("/v2/console")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self';" in page.headers["content-security-policy"]
    named = set(re.findall(r'(?:src|href)="(console/[^"]+)"', page.text))
    assert named == {"console/icon.svg", "console/console.css", "console/console.js"}
    scripts = "".join(path.read_text(encoding="utf-8") for path in ASSETS.glob("*.js"))
    named |= {f"console/{name}" for name in re.findall(r'from "\./([\w.]+)"', scripts)}
    for name in named:
        answer = await client.get(f"/v2/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["nothing.js", PAGE, "..%2froutes.py", "%2e%2e", "routes.py"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/v2/console/{name}")).status_code == 404


def test_the_files_need_no_more_than_the_health_of_the_server() -> None:
    actions = {route.path: action_of(route.endpoint) for route in routes(Kernel(discover=False))}
    assert actions.pop("/v2/console/gauges") == "metrics"
    assert set(actions.values()) == {"health"}


async def test_the_gauges_of_plugins_are_answered(caplog: pytest.LogCaptureFixture) -> None:
    kernel = make_kernel(plugins=[mlsrv_rest.plugin, mlsrv_console.plugin])
    async with (
        kernel,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(kernel)), base_url="http://test"
        ) as client,
    ):
        gauge = Metric("g", "A gauge.", "gauge", ("pool",))
        end = kernel.metrics.observe_gauge(gauge, lambda: [(("a",), 2.0)])
        kernel.metrics.observe_gauge(Metric("broken", "One.", "gauge"), lambda: [(("no such label",), 1.0)])
        found = (await client.get("/v2/console/gauges")).json()["gauges"]
        assert {"name": "g", "labels": {"pool": "a"}, "value": 2.0} in found
        assert "The gauge broken cannot be read" in caplog.text
        end()
        assert "g" not in {one["name"] for one in (await client.get("/v2/console/gauges")).json()["gauges"]}


async def test_a_request_costs_no_recorder_of_the_console() -> None:
    async with make_kernel(plugins=[mlsrv_rest.plugin, mlsrv_console.plugin]) as kernel:
        counter = Metric("c", "A counter.", "counter")
        assert kernel.metrics.bind(counter) is nothing
        assert kernel.metrics.bind_row([(counter, ())]) is nothing


def test_the_files_name_no_other_server() -> None:
    for path in ASSETS.iterdir():
        found = set(re.findall(r"https?://[\w./-]+", path.read_text(encoding="utf-8")))
        assert found <= {"http://www.w3.org/2000/svg"}, path
