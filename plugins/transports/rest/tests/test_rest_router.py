"""Every route of the protocol, over real sockets, with both servers."""

from __future__ import annotations

from typing import Any

import pytest

from mlsrv import MLModel, ModelSettings

BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'


class Broken(MLModel):
    async def load(self) -> bool:
        raise ValueError("no such artifact")


class Described(MLModel):
    async def load(self) -> bool:
        return True


DESCRIBED = ModelSettings(
    name="described",
    implementation=Described,
    platform="test",
    versions=["1", "2"],
    inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    outputs=[{"name": "y", "datatype": "INT64", "shape": [-1]}],
)

GOOD: list[tuple[str, Any]] = [
    ("/v2/health/live", {"live": True}),
    ("/v2/health/ready", {"ready": True, "live": True}),
    ("/v2/models", {"models": ["asked", "blocking", "echo", "failing", "headers", "my é"]}),
    ("/v2/models/echo", {"name": "echo", "platform": "", "versions": [], "inputs": [], "outputs": []}),
    ("/v2/models/echo/ready", {"name": "echo", "ready": True}),
    ("/v2/models/my%20%C3%A9/ready", {"name": "my é", "ready": True}),
    ("/v2/models/my%20%c3%a9/versions/v%201/ready", {"name": "my é", "ready": True}),
    ("/%76%32/health/li%76e", {"live": True}),
    ("/v2/health/live/", {"live": True}),
    ("/v2/health/live?x=1&y", {"live": True}),
]


@pytest.mark.parametrize(("path", "expected"), GOOD)
async def test_a_route_answers_with_exactly_this_object(serve: Any, path: str, expected: Any) -> None:
    async with serve() as served:
        response = await served.client.get(path)
        assert response.status_code == 200
        assert response.json() == expected
        assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
async def test_the_server_describes_itself_without_a_redirect(serve: Any, path: str) -> None:
    async with serve(server_name="here", server_version="7") as served:
        response = await served.client.get(path, follow_redirects=False)
        assert response.status_code == 200
        extensions = ["binary_tensor_data", "generate", "model_configuration"]
        extensions += ["model_repository", "parameters", "schedule_policy", "statistics"]
        assert response.json() == {"name": "here", "version": "7", "extensions": extensions}


async def test_model_metadata_has_its_tensors(serve: Any) -> None:
    async with serve(models=[DESCRIBED]) as served:
        assert (await served.client.get("/v2/models/described")).json() == {
            "name": "described",
            "platform": "test",
            "versions": ["1", "2"],
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
            "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1]}],
        }


@pytest.mark.parametrize(
    "path",
    ["/v2/models/echo/infer", "/v2/models/my%20%C3%A9/infer", "/v2/models/my%20%C3%A9/versions/v%201/infer"],
)
async def test_inference_with_and_without_a_version(serve: Any, path: str) -> None:
    async with serve() as served:
        response = await served.client.post(path, content=BODY)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        answer = response.json()
        assert answer["outputs"] == [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.5]}]
        assert answer["model_name"] == ("my é" if "my" in path else "echo")
        assert answer.get("model_version") == ("v 1" if "my" in path else None)


NOT_FOUND = [
    ("GET", "/", "There is nothing at /; the server describes itself at /v2"),
    ("GET", "/docs", "There is nothing at /docs; the server describes itself at /v2"),
    *(
        ("POST", path, f"There is nothing at {path}; models answer at /v2/models/NAME/infer")
        for path in ("/predict", "/v2/models/echo/predict", "/v1/models/echo:predict")
    ),
    ("GET", "/v1/models/echo", "There is nothing at /v1/models/echo"),
    ("GET", "/v2/models/echo/versions", "There is nothing at /v2/models/echo/versions"),
    ("GET", "/v2/models/echo/ready/now", "There is nothing at /v2/models/echo/ready/now"),
    ("GET", "/v2/models/a/b/ready", "There is nothing at /v2/models/a/b/ready"),
    ("GET", "/v2/models//ready", "There is nothing at /v2/models//ready"),
    ("GET", "/v2//health/live", "There is nothing at /v2//health/live"),
    ("GET", "/v2/health/live%0A", "There is nothing at '/v2/health/live\\n'"),
    ("GET", "/V2/health/live", "There is nothing at /V2/health/live"),
    ("GET", "/v2/models/nope", "Model nope not found"),
    ("GET", "/v2/models/nope/ready", "Model nope not found"),
    ("GET", "/v2/models/echo/versions/9", "Model echo with version 9 not found"),
    ("GET", "/v2/models/echo?model_version=9", None),
    ("POST", "/v2/models/nope/infer", "Model nope not found"),
    ("POST", "/v2/models/echo/versions/9/infer", "Model echo with version 9 not found"),
    ("GET", "/v2/models/my%2Fecho/ready", "Model my/echo not found"),
    ("GET", "/v2/models/echo%2Fready", "Model echo/ready not found"),
    ("POST", "/v2/models/%2e%2e%2fecho/infer", "Model ../echo not found"),
    ("POST", "/v2/models//infer", "There is nothing at /v2/models//infer"),
    ("POST", "/v2/models/echo/versions//infer", "There is nothing at /v2/models/echo/versions//infer"),
]


@pytest.mark.parametrize(("method", "path", "error"), NOT_FOUND)
async def test_unknown_paths_and_models_are_404_in_the_error_form(
    serve: Any, method: str, path: str, error: str | None
) -> None:
    async with serve() as served:
        response = await served.client.request(method, path, content=BODY if method == "POST" else None)
        if error is None:
            assert response.status_code == 200, "a query is no part of the address of a model"
            return
        assert (response.status_code, response.json()) == (404, {"error": error})
        assert response.headers["content-type"] == "application/json"


WRONG_METHODS = [
    ("POST", "/v2/health/live", "GET, HEAD"),
    ("DELETE", "/v2", "GET, HEAD"),
    ("PUT", "/v2/models/echo", "GET, HEAD"),
    ("PATCH", "/v2/models/echo/versions/1/ready", "GET, HEAD"),
    ("OPTIONS", "/v2/models", "GET, HEAD"),
    ("GET", "/v2/models/echo/infer", "POST"),
    ("HEAD", "/v2/models/echo/infer", "POST"),
    ("OPTIONS", "/v2/models/echo/versions/1/infer", "POST"),
    ("BREW", "/v2", "GET, HEAD"),
]


@pytest.mark.parametrize(("method", "path", "allow"), WRONG_METHODS)
async def test_a_wrong_method_is_405_and_says_which_are_right(
    serve: Any, http_server: str, method: str, path: str, allow: str
) -> None:
    if http_server != "hypercorn" and method == "BREW":
        pytest.skip("httptools knows a fixed list of methods; this one is not HTTP to it")
    async with serve() as served:
        response = await served.client.request(method, path, content=b"{}")
        assert response.status_code == 405
        assert response.headers["allow"] == allow
        assert response.headers["content-type"] == "application/json"
        if method != "HEAD":
            assert response.json() == {"error": f"This path does not take {method}; it takes {allow}."}


async def test_head_is_get_without_a_body(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        await wire.send(
            b"HEAD /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\nGET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
        )
        head = await wire.reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.splitlines()[0] + b" "
        assert b"content-length: 13" in head
        assert (await wire.answer()).body == b'{"live":true}'
        await wire.close()


async def test_readiness_tells_what_is_missing(serve: Any) -> None:
    async with serve(models=[ModelSettings(name="broken", implementation=Broken)]) as served:
        ready = await served.client.get("/v2/health/ready")
        assert ready.status_code == 503
        assert ready.json()["ready"] is False
        assert ready.json()["live"] is True
        assert "no such artifact" in ready.json()["error"]
        model = await served.client.get("/v2/models/broken/ready")
        assert model.status_code == 503
        assert model.json()["name"] == "broken"
        assert model.json()["ready"] is False
        assert "no such artifact" in model.json()["error"]
        assert (await served.client.get("/v2/models/broken")).status_code == 503
        infer = await served.client.post("/v2/models/broken/infer", content=BODY)
        assert infer.status_code == 503
        assert "no such artifact" in infer.json()["error"]
        assert (await served.client.get("/v2/health/live")).status_code == 200


async def test_a_path_that_is_not_utf8_is_refused(serve: Any) -> None:
    async with serve() as served:
        response = await served.client.get("/v2/models/%FF/ready")
        assert response.status_code == 400
        assert response.json() == {"error": "The path is not valid UTF-8 after percent-decoding."}
