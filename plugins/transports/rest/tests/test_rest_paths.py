"""Paths are decoded one segment at a time."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_rest.errors import HTTPProblem
from mlsrv_rest.paths import infer_target, join, split


def scope(raw: str, root_path: str = "") -> dict[str, object]:
    return {"path": unquote(raw), "raw_path": raw.encode(), "root_path": root_path}


CASES = [
    ("/", "", "", ["", ""]),
    ("/v2", "", "", ["", "v2"]),
    ("/v2/", "", "", ["", "v2"]),
    ("/v2//", "", "", ["", "v2", ""]),
    ("/a%2Fb/c", "", "", ["", "a/b", "c"]),
    ("/%25/c%20d", "", "", ["", "%", "c d"]),
    ("/%2541", "", "", ["", "%41"]),
    ("/ml/v2", "/ml", "", ["", "v2"]),
    ("/ml", "/ml", "", ["", ""]),
    ("/mlv2", "/ml", "", ["", "mlv2"]),
    ("/v2", "/ml", "", ["", "v2"]),
    ("/m%20l/v2", "/m l", "", ["", "v2"]),
    ("/ml/x/v2", "/ml/x/", "", ["", "v2"]),
    ("/p/v2", "", "/p", ["", "v2"]),
    ("/ml/p/v2", "/ml", "/p", ["", "v2"]),
    ("/ml/v2", "/ml", "/p", ["", "v2"]),
]


@pytest.mark.parametrize(("raw", "root", "prefix", "expected"), CASES)
def test_segments_below_the_application(raw: str, root: str, prefix: str, expected: list[str]) -> None:
    assert split(scope(raw, root), prefix.split("/") if prefix else []) == expected


def test_a_server_may_leave_the_raw_path_out() -> None:
    assert split({"path": "/v2/models/é"}, []) == ["", "v2", "models", "é"]


def test_a_path_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(HTTPProblem) as caught:
        split(scope("/v2/%C3%28"), [])
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2/models/m/infer", ("m", None)),
        ("/v2/models/m/versions/1/infer", ("m", "1")),
        ("/v2/models/infer/infer", ("infer", None)),
        ("/v2/models/m/infer/", ("m", None)),
        ("/v2/models/m%2Finfer", None),
        ("/v2/models/infer", None),
        ("/v2/models//infer", None),
        ("/v2/models/m/version/1/infer", None),
        ("/v2/models/m/versions//infer", None),
        ("/v2/models/m/versions/infer", None),
        ("/v1/models/m/infer", None),
        ("/x/v2/models/m/infer", None),
        ("/infer", None),
        ("/", None),
    ],
)
def test_the_target_of_an_inference(path: str, target: tuple[str, str | None] | None) -> None:
    assert infer_target(split(scope(path), [])) == target


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_name_survives_the_way(name: str, version: str) -> None:
    try:
        path = f"/v2/models/{quote(name, safe='')}/versions/{quote(version, safe='')}/infer"
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8
        return
    assert infer_target(split(scope(path), [])) == (name, version)


def test_joining_keeps_encoded_slashes_apart() -> None:
    assert join(["", "a/b", "c"]) == "/a%2Fb/c"
