"""The endpoint: its forms, its refusals, its port, and what it does under load."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import trustme
from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector
from prometheus_client import Metric as Samples
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.routing import Mount, Route

import mlsrv
import mlsrv_prometheus.plugin
import mlsrv_rest.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.authorization import AccessRequest, Authorizer, Principal
from mlsrv.errors import ConfigurationError, ModelLoadError, Unauthenticated
from mlsrv.metrics import Metric
from mlsrv.testing import EchoModel, tensor_request, text_request
from mlsrv_prometheus import create_app
from mlsrv_prometheus.transport import MetricsTransport
from mlsrv_rest import create_app as create_rest_app


def asking(name: str = "m") -> Any:
    return tensor_request(name, np.array([1.0], np.float32))


async def test_the_forms_that_clients_ask_for(serve: Any, model: Any) -> None:
    async with serve(model()) as served:
        await served.post(asking())
        get = served.client.get
        plain = await get(served.metrics)
        openmetrics = await get(
            served.metrics, headers={"accept": "application/openmetrics-text; version=1.0.0"}
        )
        packed = await get(served.metrics, headers={"accept-encoding": "gzip"})
        bare = await get(served.metrics, headers={"accept-encoding": "identity"})
        slashed = await get(f"{served.metrics}/")
        head = await served.client.head(served.metrics)
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(openmetrics.text)}
    assert families["model_infer_request_success"].type == "counter"
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in bare.headers
    assert gzip.compress(bare.content)
    assert "model_infer_request_success_total" in packed.text
    assert "model_infer_request_success_total" in slashed.text
    assert (head.status_code, head.content) == (200, b"")


async def test_everything_else_is_refused(serve: Any, model: Any) -> None:
    async with serve(model()) as served:
        base = served.metrics.removesuffix("/metrics")
        elsewhere = await served.client.get(f"{base}/v2/models/m")
        posted = await served.client.post(served.metrics, content=b"x")
        assert (elsewhere.status_code, posted.status_code) == (404, 405)
        assert elsewhere.json() == {"error": "There is nothing here; the metrics are at /metrics"}
        assert posted.headers["allow"] == "GET, HEAD"
        assert (await served.client.get(served.metrics)).status_code == 200


async def test_another_path_and_another_prefix(serve: Any, model: Any) -> None:
    async with serve(model(), metrics_endpoint="/a/b", metrics_rest_server_prefix="http") as served:
        assert served.metrics.endswith("/a/b")
        await served.post(asking())
        found = await served.scrape()
    assert found.value("http_requests_total", status_code="200") == 1
    assert found.value("http_request_duration_seconds_count", status_code="200") == 1
    assert not any(name.startswith("rest_server") for name in found.families)


async def test_without_an_endpoint_nothing_is_measured_or_opened() -> None:
    model = ModelSettings(name="echo", implementation=EchoModel)
    settings = {"metrics_endpoint": None}
    async with Kernel(settings, plugins=[mlsrv_prometheus.plugin], models=[model], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.meters == {}
        assert kernel.handle("echo").loaded().interceptors == ()
        with pytest.raises(ConfigurationError, match="No transport is installed"):
            await kernel.serve(asyncio.Event().wait)
        with pytest.raises(ConfigurationError, match="has no metrics"):
            create_app(kernel)
    with pytest.raises(ConfigurationError, match="has no metrics"):
        create_app(Kernel(discover=False))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics_endpoint": "metrics"}, "metrics_endpoint: expected a path that begins with /"),
        ({"metrics_port": 70000}, "metrics_port: expected a number from 0 to 65535, got 70000"),
        ({"metrics_rest_server_prefix": "a-b"}, "metrics_rest_server_prefix: expected letters"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Kernel(settings, plugins=[mlsrv_prometheus.plugin], discover=False)


def test_settings_as_existing_files_have_them() -> None:
    settings = {"metrics_port": "9000", "metrics_dir": "/tmp/.metrics", "metrics_endpoint": "/m"}
    kernel = Kernel(settings, plugins=[mlsrv_prometheus.plugin], discover=False)
    assert kernel.settings.metrics_port == 9000


async def test_a_port_in_use_is_told_and_nothing_is_left_open(serve: Any, model: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=f"endpoint cannot listen on 127.0.0.1:{port}: address already in use"
        ):
            async with serve(model(), metrics_port=port):
                pass


@pytest.mark.usefixtures("no_leaks")
async def test_stopping_closes_the_port(serve: Any, model: Any) -> None:
    async with serve(model()) as served:
        url = served.metrics
        await served.scrape()
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)


async def test_a_client_that_stays_connected_does_not_hold_up_the_end(serve: Any, model: Any) -> None:
    async with serve(model()) as served:
        address = served.metrics.removeprefix("http://").partition("/")[0].split(":")
        _, writer = await asyncio.open_connection(address[0], int(address[1]))
        writer.write(b"GET /metrics HTT")
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTT"])
async def test_a_client_that_sends_no_request_is_cut_off(
    serve: Any, model: Any, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("mlsrv_prometheus.transport.KEEP_ALIVE", 0.2)
    async with serve(model()) as served:
        address = served.metrics.removeprefix("http://").partition("/")[0].split(":")
        reader, writer = await asyncio.open_connection(address[0], int(address[1]))
        writer.write(sent)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()
        await served.scrape()


async def test_what_is_no_http_is_refused_and_logged_by_the_server(
    serve: Any, model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(model()) as served:
        address = served.metrics.removeprefix("http://").partition("/")[0].split(":")
        reader, writer = await asyncio.open_connection(address[0], int(address[1]))
        writer.write(b"\x16\x03\x01 no HTTP\r\n\r\n")
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        await served.scrape()
    assert [record.name for record in caplog.records if "Invalid HTTP" in record.message] == ["mlsrv.metrics"]


async def test_a_server_that_ended_is_a_problem_of_the_kernel(serve: Any, model: Any) -> None:
    async with serve(model()) as served:
        await served.scrape()
        transport = served.kernel.transports["prometheus"]
        assert transport.problem is None
        transport._listeners[0].close()
        assert "The server of the metrics has ended." in served.kernel.problems()


async def test_scrapes_during_load_are_whole_and_grow(serve: Any, model: Any) -> None:
    async with serve(model()) as served:
        requests = asyncio.gather(*(served.post(asking()) for _ in range(150)))
        counts = [(await served.scrape()).value("model_infer_request_success_total") for _ in range(10)]
        scrapes = await asyncio.gather(*(served.scrape() for _ in range(10)))
        assert set(await requests) == {200}
        end = await served.scrape()
    assert counts == sorted(counts)
    assert all(scrape.value("process_cpu_seconds_total") > 0 for scrape in scrapes)
    assert end.value("model_infer_request_success_total") == 150
    assert end.value("model_infer_request_duration_count") == 150


async def test_long_and_strange_names_of_models(serve: Any, model: Any) -> None:
    names = ["x" * 3000, 'a"b', "ü✓", "a{b}", "\\".replace("\\", "back"), "c d"]
    async with serve(*(model(name=name) for name in names)) as served:
        for name in names:
            await served.kernel.infer(asking(name))
        found = await served.scrape()
    for name in names:
        assert found.value("model_infer_request_success_total", model=name, version="") == 1
        assert found.value("orders_total", model_name=name) == 1


CLASHES: list[tuple[dict[str, Any], str]] = [
    ({"name": "my-metric"}, "'my-metric' cannot be the name of a metric"),
    ({"name": "orders", "kind": "gauge"}, 'The metric "orders" is a counter already, and cannot be a gauge'),
    (
        {"name": "orders_total", "kind": "counter"},
        'has samples called orders_total, and so has the metric "orders"',
    ),
    ({"name": "price_count"}, 'has samples called price_count, and so has the metric "price"'),
    ({"name": "price", "buckets": (1, 2)}, 'The metric "price" has the buckets'),
    ({"name": "python_info", "kind": "gauge"}, "cannot begin with process_ or python_"),
    (
        {"name": "mlsrv_model_state", "kind": "gauge"},
        "has the labels model_name, model_version, state already",
    ),
    ({"name": "x", "kind": "summary"}, "'kind' must be in"),
]


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_metric_that_cannot_be_makes_the_load_fail(serve: Any, model: Any, workers: int) -> None:
    wrong = [
        model("Clashing", f"wrong-{number}", metric=metric) for number, (metric, _) in enumerate(CLASHES)
    ]
    settings = {"load_models_at_startup": False, "parallel_workers": workers}
    async with serve(model(), *wrong, **settings) as served:
        await served.kernel.load("m")
        for one, (_, reason) in zip(wrong, CLASHES, strict=True):
            with pytest.raises(ModelLoadError) as caught:
                await served.kernel.load(one.name)
            assert reason in str(caught.value)
            assert reason in served.kernel.handle(one.name).reason
        assert await served.post(asking()) == 200
        assert (await served.scrape()).value("orders_total") == 1


async def test_two_kernels_keep_their_numbers_apart(serve: Any, model: Any) -> None:
    async with serve(model()) as one, serve(model()) as two:
        await one.post(asking())
        first, second = await one.scrape(), await two.scrape()
    assert first.value("model_infer_request_success_total") == 1
    assert second.value("model_infer_request_success_total") == 0


async def test_the_application_alone() -> None:
    model = ModelSettings(name="echo", implementation=EchoModel)
    async with Kernel(plugins=[mlsrv_prometheus.plugin], models=[model], discover=False) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("echo", ["hi"]))
        app: Any = httpx.ASGITransport(create_app(kernel))
        async with httpx.AsyncClient(transport=app, base_url="http://test") as client:
            text = (await client.get("/anywhere")).text
    assert 'model_infer_request_success_total{model="echo",version=""} 1.0' in text


class Unreadable(Collector):
    def collect(self) -> Iterator[Samples]:
        raise OSError("gone")
        yield


async def test_the_registry_of_an_application_is_merged(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    Counter("orders", "Orders.", ["shop"], registry=registry).labels("north").inc(3)
    Gauge("model_infer_request_success_total", "Not the kernel's.", registry=registry).set(770077)
    GCCollector(registry=registry)
    model = ModelSettings(name="echo", implementation=EchoModel)
    async with Kernel(plugins=[mlsrv_prometheus.plugin], models=[model], discover=False) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("echo", ["hi"]))
        texts = []
        for one in (registry, Unreadable()):
            app: Any = httpx.ASGITransport(create_app(kernel, registry=one))
            async with httpx.AsyncClient(transport=app, base_url="http://test") as client:
                texts.append((await client.get("/")).text)
    assert 'orders_total{shop="north"} 3.0' in texts[0]
    assert "770077" not in texts[0]
    assert texts[0].count('python_gc_collections_total{generation="0"}') == 1
    assert 'model_infer_request_success_total{model="echo",version=""} 1.0' in texts[1]
    assert "The metrics of the application cannot be read" in caplog.text


async def test_the_application_is_mounted_before_the_kernel_runs() -> None:
    model = ModelSettings(name="echo", implementation=EchoModel)
    plugins = [mlsrv_prometheus.plugin, mlsrv_rest.plugin]
    kernel = Kernel(plugins=plugins, models=[model], discover=False)
    routes = [Route("/ml/metrics", create_app(kernel)), Mount("/ml", create_rest_app(kernel))]
    app: Any = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=app, base_url="http://test") as client:
        early = await client.get("/ml/metrics")
        async with kernel:
            await kernel.loaded()
            await kernel.infer(text_request("echo", ["hi"]))
            found = await client.get("/ml/metrics")
            assert (await client.get("/ml/v2/health/live")).status_code == 200
    assert [one.status_code for one in (early, found)] == [503, 200]
    assert early.json() == {"error": "There are no metrics now: the kernel does not run."}
    assert 'model_infer_request_success_total{model="echo",version=""} 1.0' in found.text


async def test_other_requests_are_answered_while_thousands_of_series_are_written() -> None:
    async with Kernel(plugins=[mlsrv_prometheus.plugin], discover=False) as kernel:
        for number in range(300):
            for name in "abcd":
                kernel.metrics.record(Metric(name, name, "histogram", ("model",)), 0.1, (str(number),))
            gauge = Metric("g", "g", "gauge", ("model",))
            kernel.metrics.observe_gauge(gauge, lambda number=number: [((str(number),), 1.0)])
        app: Any = httpx.ASGITransport(create_app(kernel))
        async with httpx.AsyncClient(transport=app, base_url="http://test") as client:
            scrape = asyncio.create_task(client.get("/"))
            turns = 0
            while not scrape.done():
                turns += 1
                await asyncio.sleep(0.001)
            text = (await scrape).text
        assert text.count("\n") > 300 * 4 * 15
        assert turns > 50


class OneKey(Authorizer):
    """Lets in who has the key, with the right to the metrics unless the key is that of a reader."""

    @mlsrv.hookimpl
    def mlsrv_authorize(self) -> Authorizer:
        return self

    async def authorize(self, access: AccessRequest) -> Principal:
        key = access.headers.get("x-key")
        if key not in ("scraper", "reader"):
            raise Unauthenticated("The key is missing or wrong.")
        return Principal(key, {"metrics": ["*"]} if key == "scraper" else {})


class Counted(EchoModel):
    async def predict(self, payload: Any) -> Any:
        mlsrv.register("predictions_of_mine", kind="counter")
        mlsrv.log(predictions_of_mine=1)
        return await super().predict(payload)


async def test_warm_up_counts_in_the_metrics_of_the_models_code_alone() -> None:
    wanted = asking().dict()
    model = ModelSettings(name="m", implementation=Counted, warm_up=[{"inputs": wanted["inputs"]}] * 2)
    kernel = Kernel(models=[model], plugins=[mlsrv_prometheus.plugin], discover=False)
    app = httpx.ASGITransport(create_app(kernel))
    async with kernel, httpx.AsyncClient(transport=app, base_url="http://test") as client:
        await kernel.loaded()
        await kernel.infer(asking())
        lines = (await client.get("/")).text.splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    own = [value for name, value in found.items() if name.startswith("predictions_of_mine_total")]
    served = [value for name, value in found.items() if name.startswith("model_infer_request_success_total")]
    assert (own, served) == (["3.0"], ["1.0"])


async def test_metrics_need_their_right_where_an_authorizer_is_installed() -> None:
    kernel = Kernel(plugins=[mlsrv_prometheus.plugin, OneKey()], discover=False)
    app = httpx.ASGITransport(create_app(kernel))
    async with kernel, httpx.AsyncClient(transport=app, base_url="http://test") as client:
        answers = [
            await client.get("/", headers={"x-key": key} if key else {}) for key in ("", "reader", "scraper")
        ]
    assert [answer.status_code for answer in answers] == [401, 403, 200]
    assert answers[0].json() == {"error": "The key is missing or wrong."}
    assert answers[0].headers["www-authenticate"] == "Bearer"


async def test_metrics_are_encrypted_with_the_certificate_of_every_transport(tmp_path: Path) -> None:
    authority, path = trustme.CA(), tmp_path / "both.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    settings = {"host": "192.0.2.1", "admin_host": "127.0.0.1", "metrics_port": 0, "tls_cert": str(path)}
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with Kernel(settings, plugins=[mlsrv_prometheus.plugin], discover=False) as kernel:
        transport = MetricsTransport(kernel)
        await transport.start()
        (url,) = transport.endpoints
        assert url.startswith("https://127.0.0.1:")
        async with httpx.AsyncClient(verify=context) as client:
            assert (await client.get(url)).status_code == 200
        with pytest.raises(httpx.TransportError):
            await httpx.AsyncClient().get(url.replace("https", "http"))
        await transport.reload()
        await transport.stop(1)
