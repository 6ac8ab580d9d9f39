import copy
import pickle

import pytest

from mlsrv_protocol import InvalidPayload, Parameters


def test_any_key_is_a_parameter() -> None:
    parameters = Parameters(content_type="np", headers={"a": "b"}, temperature=0.5, stop=["x"])
    assert parameters.content_type == "np"
    assert parameters.headers == {"a": "b"}
    assert parameters.temperature == 0.5
    assert parameters.extra == {"temperature": 0.5, "stop": ["x"]}
    assert parameters.get("content_type") == "np"
    assert parameters.get("stop") == ["x"]
    assert parameters.get("missing", 7) == 7
    assert "stop" in parameters
    assert "missing" not in parameters
    assert list(parameters.keys()) == ["content_type", "headers", "temperature", "stop"]
    assert dict(parameters.items()) == parameters.dict()
    assert repr(Parameters(a=1)) == "Parameters(a=1)"


def test_a_missing_parameter_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no parameter"):
        _ = Parameters().temperature
    assert not hasattr(Parameters(), "x")


def test_none_is_absent() -> None:
    parameters = Parameters(content_type=None, foo=None)
    assert parameters == Parameters()
    assert parameters.dict() == {}
    assert "foo" not in parameters
    assert parameters.get("foo", 1) == 1


def test_attributes_can_be_set() -> None:
    parameters = Parameters()
    parameters.content_type = "str"
    parameters.foo = 1
    assert parameters == Parameters(content_type="str", foo=1)
    assert parameters != {"content_type": "str", "foo": 1}


@pytest.mark.parametrize("key", ["self", "extra", "get", "dict", "to_plain", "__class__", "__reduce__"])
def test_a_key_that_means_something_in_python_is_only_a_key(key: str) -> None:
    parameters = Parameters(**{key: 1})
    assert parameters.extra == {key: 1}
    assert parameters.dict() == {key: 1}
    assert parameters.get(key) == 1


def test_copies_and_pickles_are_equal_and_apart() -> None:
    parameters = Parameters(content_type="np", headers={"a": "1"}, foo=[1])
    for other in (copy.copy(parameters), copy.deepcopy(parameters), pickle.loads(pickle.dumps(parameters))):
        assert other == parameters
        other.bar = 1
        other.headers["a"] = "2"
        assert parameters == Parameters(content_type="np", headers={"a": "1"}, foo=[1])


def test_they_are_mutable_and_so_not_hashable() -> None:
    with pytest.raises(TypeError):
        hash(Parameters())


@pytest.mark.parametrize(
    "wrong", [{"content_type": 1}, {"headers": []}, {"headers": {"a": 1}}, {"headers": {1: "a"}}]
)
def test_the_two_known_keys_have_types(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidPayload, match=r"^parameters\.(content_type|headers) "):
        Parameters(**wrong)  # type: ignore[arg-type]  # what a client may send


def test_construct_takes_the_parts_as_they_are() -> None:
    extra = {"a": 1, "b": None}
    made = Parameters.construct("np", {"x": "y"}, extra)
    assert made == Parameters("np", {"x": "y"}, a=1)
    assert made.extra is extra
