"""The object `parameters` of a model's settings."""

import copy
import pickle
from typing import Any

import pytest

from mlsrv.errors import ConfigurationError
from mlsrv.settings import ModelParameters


def test_named_fields_and_others() -> None:
    found = ModelParameters(uri="model.bin", version="v1", extra={"threshold": 0.5}, pool="gpu", others=1)
    assert (found.uri, found.version, found.content_type, found.format) == ("model.bin", "v1", None, None)
    assert found.extra["threshold"] == 0.5
    assert found.pool == "gpu"
    assert found.others == {"pool": "gpu", "others": 1}
    assert found.dict() == {
        "uri": "model.bin",
        "version": "v1",
        "extra": {"threshold": 0.5},
        "pool": "gpu",
        "others": 1,
    }
    assert ModelParameters().dict() == {}


def test_a_key_that_is_absent() -> None:
    with pytest.raises(AttributeError, match="parameters has no 'pool'"):
        ModelParameters().pool  # noqa: B018  # the access is the test


@pytest.mark.parametrize(
    ("given", "version"), [("v1", "v1"), (2, "2"), (1.5, "1.5"), ("", None), (None, None)]
)
def test_versions_are_texts(given: Any, version: str | None) -> None:
    assert ModelParameters(version=given).version == version


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"uri": 5}, "parameters.uri: expected a text, got 5"),
        ({"version": True}, "parameters.version: expected a text, got True"),
        ({"content_type": ["np"]}, "parameters.content_type: expected a text, got ['np']"),
        ({"extra": [1]}, "parameters.extra: expected an object, got [1]"),
    ],
)
def test_wrong_values(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ModelParameters(**values)
    assert str(caught.value) == sentence


def test_null_extra_is_empty() -> None:
    assert ModelParameters(extra=None).extra == {}


def test_equality_copies_and_pickles() -> None:
    found = ModelParameters(uri="x", pool="gpu")
    assert found == ModelParameters(uri="x", pool="gpu") != ModelParameters(uri="x")
    assert copy.deepcopy(found) == found
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_key_called_self() -> None:
    assert ModelParameters(self=1).others == {"self": 1}
