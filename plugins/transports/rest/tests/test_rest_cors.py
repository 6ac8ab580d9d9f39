"""Cross-origin requests."""

from __future__ import annotations

from typing import Any

BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'
INFER = "/v2/models/echo/infer"
PREFLIGHT = {
    "origin": "http://page.test",
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type",
}


async def test_a_page_may_infer(serve: Any) -> None:
    cors = {"allow_origins": ["http://page.test"], "expose_headers": ["x-cost", "x-other"], "max_age": 60}
    async with serve(cors_settings=cors) as served:
        client = served.client
        preflight = await client.options(INFER, headers=PREFLIGHT)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "http://page.test"
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert preflight.headers["access-control-max-age"] == "60"
        answer = await client.post(INFER, content=BODY, headers={"origin": "http://page.test"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "http://page.test"
        assert answer.headers["access-control-expose-headers"] == "x-cost, x-other"
        assert answer.headers["content-type"] == "application/json"


async def test_a_page_may_read_errors(serve: Any) -> None:
    async with serve(cors_settings={"allow_origins": ["*"]}) as served:
        for method, path, status in (("POST", INFER, 400), ("GET", "/nope", 404), ("PUT", "/v2", 405)):
            answer = await served.client.request(method, path, headers={"origin": "http://page.test"})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "error" in answer.json()


async def test_other_pages_may_not(serve: Any) -> None:
    async with serve(cors_settings={"allow_origin_regex": r"https://.*\.page\.test"}) as served:
        refused = await served.client.options(INFER, headers=PREFLIGHT)
        assert refused.status_code == 400
        assert refused.headers["content-type"] == "application/json"
        assert refused.json() == {"error": "Disallowed CORS origin"}
        allowed = await served.client.options(INFER, headers=PREFLIGHT | {"origin": "https://a.page.test"})
        assert allowed.status_code == 200


async def test_credentials_methods_and_headers(serve: Any) -> None:
    cors = {"allow_origins": ["*"], "allow_credentials": True, "allow_methods": ["*"], "allow_headers": ["*"]}
    async with serve(cors_settings=cors) as served:
        headers = PREFLIGHT | {
            "access-control-request-method": "DELETE",
            "access-control-request-headers": "x-a",
        }
        preflight = await served.client.options("/v2/anything", headers=headers)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-credentials"] == "true"
        assert preflight.headers["access-control-allow-headers"] == "x-a"


async def test_without_the_setting_there_is_no_cors(serve: Any) -> None:
    async with serve() as served:
        assert (await served.client.options(INFER, headers=PREFLIGHT)).status_code == 405
        answer = await served.client.post(INFER, content=BODY, headers={"origin": "http://page.test"})
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
