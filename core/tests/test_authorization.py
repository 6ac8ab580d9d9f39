"""Authorization: rights of principals, marks of endpoints."""

import pytest

from mlsrv.authorization import ACTIONS, Principal, action_of, requires
from mlsrv.errors import Code, PermissionDenied


@pytest.mark.parametrize(
    ("patterns", "model", "allowed"),
    [
        (["*"], "iris", True),
        (["*"], None, True),
        (["iris"], "iris", True),
        (["iris"], "Iris", False),
        (["iris"], "iris-2", False),
        (["iris"], None, True),
        (["iris-*", "tiny"], "tiny", True),
        (["iris-?"], "iris-2", True),
        (["iris-?"], "iris-22", False),
        (["iris"], "iris\n", False),
        ([""], "", True),
        ([], None, False),
        ([], "iris", False),
    ],
)
def test_a_right_covers_the_models_that_its_patterns_match(
    patterns: list[str], model: str | None, allowed: bool
) -> None:
    principal = Principal("robot", {"infer": patterns})
    assert principal.allows("infer", model) is allowed
    assert not principal.allows("repository", model)


def test_a_missing_right_is_an_error_that_says_whose_and_which() -> None:
    principal = Principal("robot", {"infer": ["iris"]})
    principal.check("infer", "iris")
    with pytest.raises(PermissionDenied, match=r"^robot has no right infer for model other\.$") as caught:
        principal.check("infer", "other")
    assert caught.value.code is Code.PERMISSION_DENIED


def test_lists_show_what_the_principal_may_see() -> None:
    principal = Principal("robot", {"metadata": ["b*"]})
    assert principal.visible("metadata", ["a", "b1", "c", "b2"]) == ["b1", "b2"]


def test_endpoints_are_marked_with_their_action() -> None:
    class Group:
        @requires("docs")
        async def page(self) -> None: ...

        @requires(None)
        async def unsupported(self) -> None: ...

        async def unmarked(self) -> None: ...

    assert action_of(Group().page) == "docs"
    assert action_of(Group().unsupported) is None
    assert action_of(Group().unmarked) == "admin"
    with pytest.raises(ValueError, match="no action 'inference'"):
        requires("inference")  # type: ignore[arg-type]  # that is what is tested
    assert "infer" in ACTIONS
