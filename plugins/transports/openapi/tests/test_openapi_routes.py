"""The documents and pages, over real requests."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate
from starlette.routing import Route

import mlsrv_openapi.plugin
import mlsrv_rest.plugin
from mlsrv import CallContext, Kernel, ModelSettings
from mlsrv.handlers import custom_handler
from mlsrv.testing import EchoModel
from mlsrv.types import Datatype
from mlsrv_openapi.document import OPERATIONS
from mlsrv_rest import create_app

ALL = [{"name": datatype.value, "datatype": datatype.value, "shape": [-1, 2]} for datatype in Datatype]


class Explains(EchoModel):
    @custom_handler("/explain/{method}")
    async def explain(self, body: dict[str, Any], method: str, top: int = 3) -> dict[str, Any]:
        """Explain a prediction.

        In detail.
        """
        return {"method": method, "top": top, "body": body}

    @custom_handler("/about/{what}", "GET", root=True)
    async def about(
        self, headers: dict[str, str], what: str, context: CallContext, loud: bool = False
    ) -> str:
        return what

    @custom_handler("/raw")
    async def raw(self, content: bytes) -> bytes:
        return content


MODELS = [
    ModelSettings(name="any", implementation=EchoModel),
    ModelSettings(
        name="my é", implementation=EchoModel, inputs=ALL, outputs=ALL, parameters={"version": "v 1"}
    ),
    ModelSettings(name="explains", implementation=Explains),
    ModelSettings(
        name="scalar", implementation=EchoModel, inputs=[{"name": "s", "datatype": "FP64", "shape": []}]
    ),
]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    plugins = [mlsrv_rest.plugin, mlsrv_openapi.plugin]
    async with Kernel(models=MODELS, plugins=plugins, discover=False) as kernel:
        await kernel.loaded()
        transport = httpx.ASGITransport(create_app(kernel))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
            yield made


async def test_a_model_shows_its_custom_handlers(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/v2/models/explains/docs/dataplane.json")).json()["paths"]
    explain = paths["/v2/models/explains/explain/{method}"]["post"]
    assert explain["summary"] == "Explain a prediction."
    assert [(one["name"], one["in"], one["schema"]["type"]) for one in explain["parameters"]] == [
        ("method", "path", "string"),
        ("top", "query", "integer"),
    ]
    assert list(explain["requestBody"]["content"]) == ["application/json"]
    about = paths["/about/{what}"]["get"]
    assert [(one["name"], one["in"]) for one in about["parameters"]] == [("what", "path"), ("loud", "query")]
    assert about["summary"] == "Custom handler about"
    raw = paths["/v2/models/explains/raw"]["post"]["requestBody"]
    assert list(raw["content"]) == ["application/octet-stream"]
    validate((await client.get("/v2/models/explains/docs/dataplane.json")).json())


PAGES = ["/v2", "/v2/models/any", "/v2/models/my%20%C3%A9", "/v2/models/my%20%C3%A9/versions/v%201"]


@pytest.mark.parametrize("page", PAGES)
async def test_documents_are_valid_and_their_paths_lead_somewhere(
    client: httpx.AsyncClient, page: str
) -> None:
    where = f"{page}/docs/dataplane.json"
    document = (await client.get(where)).json()
    validate(document)
    root = httpx.URL(f"http://test{where}").join(document["servers"][0]["url"]).path
    assert root == "/"
    for path, methods in document["paths"].items():
        concrete = path.replace("{model}", "any").replace("/versions/{version}", "")
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            answer = await client.request(method, concrete, json=content.get("example"))
            assert str(answer.status_code) in operation["responses"], (path, answer.text)
            assert answer.status_code not in (404, 405)


@pytest.mark.parametrize("page", PAGES[1:])
async def test_examples_work_as_they_are(client: httpx.AsyncClient, page: str) -> None:
    document = (await client.get(f"{page}/docs/dataplane.json")).json()
    operation = document["paths"][f"{page}/infer"]["post"]
    answer = await client.post(
        f"{page}/infer", json=operation["requestBody"]["content"]["application/json"]["example"]
    )
    assert answer.status_code == 200, answer.text


async def test_the_example_of_a_scalar(client: httpx.AsyncClient) -> None:
    document = (await client.get("/v2/models/scalar/docs/dataplane.json")).json()
    body = document["paths"]["/v2/models/scalar/infer"]["post"]["requestBody"]
    assert body["content"]["application/json"]["example"]["inputs"][0]["data"] == [0.0]


@pytest.mark.parametrize("page", PAGES)
async def test_pages_find_their_assets(client: httpx.AsyncClient, page: str) -> None:
    answer = await client.get(f"{page}/docs")
    assert answer.headers["content-type"].startswith("text/html")
    for part in answer.text.split('"'):
        if part.endswith((".js", ".css", ".png", ".json")):
            assert not part.startswith(("http", "/"))
            found = await client.get(httpx.URL(f"http://test{page}/docs").join(part))
            assert found.status_code == 200, part


@pytest.mark.parametrize("page", PAGES)
async def test_pages_run_no_foreign_script_and_in_no_frame(client: httpx.AsyncClient, page: str) -> None:
    answer = await client.get(f"{page}/docs")
    policy = dict(part.split(maxsplit=1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert answer.headers["x-frame-options"] == "DENY"
    script = answer.text.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy["script-src"] == f"'self' 'sha256-{digest}'"


@pytest.mark.parametrize("page", PAGES)
async def test_browsers_may_not_guess_types(client: httpx.AsyncClient, page: str) -> None:
    for path in (f"{page}/docs", f"{page}/docs/dataplane.json", "/v2/docs/assets/swagger-ui.css"):
        assert (await client.get(path)).headers["x-content-type-options"] == "nosniff"


async def test_paths_that_people_try_first_lead_to_the_documentation(client: httpx.AsyncClient) -> None:
    for path in ("/", "/docs"):
        answer = await client.get(path)
        assert answer.status_code == 404
        assert answer.json() == {
            "error": f"There is nothing at {path}; the server describes itself at /v2, "
            "its documentation is at /v2/docs"
        }


async def test_models_that_are_not_there(client: httpx.AsyncClient) -> None:
    for path in ("nope/docs", "nope/docs/dataplane.json", "any/versions/7/docs"):
        answer = await client.get(f"/v2/models/{path}")
        assert answer.status_code == 404
        assert set(answer.json()) == {"error"}
    assert (await client.get("/v2/docs/assets/..%2F..%2Fetc")).status_code == 404


async def test_every_route_of_the_protocol_is_described(client: httpx.AsyncClient) -> None:
    from mlsrv_rest.app import RestApp

    kernel = Kernel(plugins=[mlsrv_rest.plugin], discover=False)
    app: Any = RestApp(kernel)
    described = {operation.path for operation in OPERATIONS}
    own = [route for route in app._router._app.routes if isinstance(route, Route)]
    assert len(own) > 20
    for route in own:
        path = route.path.replace("/versions/{version}", "").replace("/{repository}", "")
        assert path in described, path
