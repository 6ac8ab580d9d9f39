"""Registry: the default version, and the errors of models that do not answer."""

import random
from typing import Any

import pytest

from mlsrv.controlplane.registry import Registry, version_key
from mlsrv.errors import ModelNotFound, ModelNotReady, ServerNotReady
from mlsrv.types import State


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    made.complete = True
    return made


def make_live(registry: Registry, name: str, version: str | None) -> Any:
    handle = registry.ensure(name, version)
    handle.instance = object()  # type: ignore[assignment]  # the registry only hands it on
    handle.state = State.READY
    registry.refresh(name)
    return handle.instance


@pytest.mark.parametrize(
    "ordered",
    [
        ["v8", "v9", "v10"],
        ["1", "2", "10", None],
        ["1.9.1", "1.10.0", "2.0"],
        ["3", "7", "8", "v3"],
        ["2024-01-31", "2024-02-01"],
        ["a", "b"],
    ],
)
def test_versions_are_ordered_by_their_numbers(ordered: list[str | None]) -> None:
    shuffled = list(ordered)
    random.Random(1).shuffle(shuffled)
    assert sorted(shuffled, key=version_key) == ordered


def test_the_default_is_the_highest_live_version(registry: Registry) -> None:
    nine = make_live(registry, "m", "v9")
    assert registry.live["m", None] is nine
    ten = make_live(registry, "m", "v10")
    assert registry.live["m", None] is ten
    assert registry.live["m", "v9"] is nine
    assert registry.handle("m").version == "v10"
    registry.ensure("m", "v11")
    assert registry.handle("m").version == "v10"


def test_a_model_without_version_is_the_default(registry: Registry) -> None:
    plain = make_live(registry, "m", None)
    make_live(registry, "m", "7")
    assert registry.live["m", None] is plain


def test_an_unloaded_version_leaves_the_table(registry: Registry) -> None:
    nine = make_live(registry, "m", "v9")
    make_live(registry, "m", "v10")
    other = make_live(registry, "other", None)
    registry.handle("m", "v10").instance = None
    registry.refresh("m")
    assert registry.live == {("m", "v9"): nine, ("m", None): nine, ("other", None): other}


def test_the_error_of_a_model_that_does_not_answer(registry: Registry) -> None:
    handle = registry.ensure("m", "v1")
    handle.reason = "no such weights"
    assert isinstance(registry.why_not("n", None), ModelNotFound)
    assert str(registry.why_not("n", None)) == "Model n not found"
    assert str(registry.why_not("m", "v2")) == "Model m with version v2 not found"
    error = registry.why_not("m", None)
    assert isinstance(error, ModelNotReady)
    assert str(error) == "Model m with version v1 is not ready (UNAVAILABLE): no such weights"


def test_before_the_models_are_listed_nothing_is_unknown(registry: Registry) -> None:
    registry.complete = False
    with pytest.raises(ServerNotReady, match="does not know its models yet"):
        registry.handle("m")
    registry.ensure("m", "v1")
    with pytest.raises(ServerNotReady):
        registry.handle("m", "v2")
    assert registry.handle("m", "v1").name == "m"


def test_iteration_is_sorted_and_forgetting_is_complete(registry: Registry) -> None:
    for name, version in (("b", "v10"), ("b", "v9"), ("a", None)):
        registry.ensure(name, version)
    assert [(handle.name, handle.version) for handle in registry] == [("a", None), ("b", "v9"), ("b", "v10")]
    for handle in list(registry):
        registry.forget(handle)
        registry.forget(handle)
    assert registry.names() == []
    with pytest.raises(ModelNotFound):
        registry.versions("b")


def test_a_handle_that_was_replaced_is_not_forgotten(registry: Registry) -> None:
    old = registry.ensure("m", None)
    registry.forget(old)
    new = registry.ensure("m", None)
    registry.forget(old)
    assert registry.handle("m") is new


def test_clear(registry: Registry) -> None:
    make_live(registry, "m", None)
    registry.clear()
    assert (registry.live, registry.names(), registry.complete) == ({}, [], False)


def test_a_model_that_is_not_loaded_may_be_hidden_from_clients(registry: Registry) -> None:
    handle = registry.ensure("m", "v1")
    handle.wanted = False
    assert registry.shown("m") is handle
    hiding = Registry(hides_unloaded=True)
    hiding.complete = True
    hidden = hiding.ensure("m", "v1")
    hidden.wanted = False
    with pytest.raises(ModelNotFound, match="Model m not found"):
        hiding.shown("m")
    assert isinstance(hiding.why_not("m", "v1"), ModelNotFound)
    hidden.wanted = True
    assert hiding.shown("m", "v1") is hidden
