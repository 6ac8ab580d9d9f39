"""Errors: one code each, one sentence each, the same in every process."""

import pickle
import re

import pytest

from mlsrv import errors
from mlsrv.errors import Code, ConfigurationError, MLSrvError, ModelsFailed


def classes() -> list[type[MLSrvError]]:
    found = [getattr(errors, name) for name in errors.__all__]
    return [one for one in found if isinstance(one, type) and issubclass(one, MLSrvError)]


def drawn() -> dict[str, tuple[str | None, str]]:
    """The tree of the docstring: class -> (its base, its code)."""
    tree: dict[str, tuple[str | None, str]] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([│├└─ ]*)(\w+) +([A-Z_]+) +\S", line)
        if match is not None:
            depth = len(match[1]) // 4
            above[depth] = match[2]
            tree[match[2]] = (above.get(depth - 1), match[3])
    return tree


@pytest.mark.parametrize("cls", classes())
def test_the_tree_in_the_docstring_is_the_real_one(cls: type[MLSrvError]) -> None:
    base, code = drawn()[cls.__name__]
    assert code == cls.code
    assert base == (None if cls is MLSrvError else cls.__bases__[0].__name__)


def test_the_tree_has_no_others() -> None:
    assert set(drawn()) == {cls.__name__ for cls in classes()}


@pytest.mark.parametrize("cls", classes())
def test_errors_travel_between_processes(cls: type[MLSrvError]) -> None:
    plural = cls in (ConfigurationError, ModelsFailed) or issubclass(cls, ConfigurationError)
    error = cls(["One.", "Two."]) if plural else cls("One.")  # type: ignore[arg-type]  # problems
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (cls, str(error), cls.code)
    assert getattr(again, "problems", None) == getattr(error, "problems", None)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.ModelNotFound.of("m"), "Model m not found"),
        (errors.ModelNotFound.of("m", "v1"), "Model m with version v1 not found"),
        (errors.ModelNotFound.of("m", ""), "Model m not found"),
        (errors.ModelNotReady.of("m", None, "LOADING"), "Model m is not ready (LOADING)"),
        (errors.ModelFailed.of("m", None, ValueError()), "Model m failed: ValueError"),
        (
            errors.ModelFailed.of("m", "1", ValueError("x\ny")),
            "Model m with version 1 failed: ValueError: x y",
        ),
        (errors.TooLarge.of(10), "The request body is larger than the limit of 10 bytes."),
        (
            errors.InvalidModelURI.of("m", None),
            "Model m has no parameters.uri and no folder of its own; set parameters.uri.",
        ),
        (errors.InvalidModelURI.of("m", "x"), "Model m: parameters.uri 'x' is neither a file nor a folder."),
        (
            errors.ModelParametersMissing.of("m", "uri"),
            "Model m needs the parameter uri; add it to model-settings.json.",
        ),
        (
            errors.InputsNotFound.missing("m", ["b"], ["a", "b"]),
            "Model m needs the inputs b; it takes a, b.",
        ),
        (
            errors.InputsNotFound.missing("m", ["b", "a"], ["a", "b"]),
            "Model m needs the inputs a, b; it takes a, b, one tensor each.",
        ),
        (errors.InputsNotFound.missing("m", ["a"], ["a"]), "Model m needs the inputs a; it takes a."),
        (
            errors.CodecNotFound.for_content_type("hf", ["pd", "np"], 'input "x"'),
            'input "x": unknown content type "hf"; known are np, pd.',
        ),
        (
            errors.CodecNotFound.for_payload([1], 'output "y"'),
            'output "y": no codec encodes a builtins.list; name a content type for it.',
        ),
    ],
)
def test_sentences(error: MLSrvError, sentence: str) -> None:
    assert str(error) == sentence


def test_every_code_is_used_by_some_error_or_by_a_transport() -> None:
    assert {cls.code for cls in classes()} | {Code.ALREADY_EXISTS} == set(Code)


class _Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_errors_of_models_need_no_text() -> None:
    says = "_Silent: its text cannot be had (RuntimeError)"
    assert str(errors.ModelFailed.of("m", None, _Silent())) == f"Model m failed: {says}"
    assert str(errors.ModelLoadError.of_unexpected("It failed", _Silent())) == f"It failed: {says}"
