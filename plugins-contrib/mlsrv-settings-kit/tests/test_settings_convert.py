"""Conversion of settings: what is accepted, and the sentence for what is not."""

from typing import Any, Literal

import pytest

from mlsrv.settings import setting, settings_class
from mlsrv_settings_kit.convert import from_text, structure_fields


@settings_class
class Nested:
    origins: list[str] = setting(factory=list, help="Origins.")
    age: int = setting(600, help="Seconds.")


@settings_class
class Everything:
    flag: bool = setting(False, help="A flag.")
    count: int = setting(0, help="A count.")
    ratio: float = setting(0.0, help="A ratio.")
    text: str = setting("", help="A text.")
    maybe: int | None = setting(None, help="A count or nothing.")
    choice: Literal["a", "b"] = setting("a", help="One of two.")
    many: list[int] = setting(factory=list, help="Counts.")
    table: dict[str, float] = setting(factory=dict, help="Ratios by name.")
    either: str | dict[str, Any] | None = setting(None, help="A text or an object.")
    nested: Nested | None = setting(None, help="An object with fields.")
    anything: Any = setting(None, help="Whatever.")
    positive: int = setting(1, help="A count from 1 up.", at_least=1)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("flag", True, True),
        ("flag", "true", True),
        ("flag", " FALSE ", False),
        ("flag", "on", True),
        ("flag", 1, True),
        ("count", 7, 7),
        ("count", "8080", 8080),
        ("count", "-3", -3),
        ("count", 8080.0, 8080),
        ("ratio", "0.5", 0.5),
        ("ratio", 2, 2.0),
        ("text", "x", "x"),
        ("maybe", None, None),
        ("maybe", "5", 5),
        ("choice", "b", "b"),
        ("many", [1, "2"], [1, 2]),
        ("many", (1, 2), [1, 2]),
        ("table", {"x": "1.5"}, {"x": 1.5}),
        ("either", "file.json", "file.json"),
        ("either", {"version": 1}, {"version": 1}),
        ("nested", {"origins": ["*"]}, Nested(origins=["*"])),
        ("nested", Nested(age=1), Nested(age=1)),
        ("anything", {"a": [1]}, {"a": [1]}),
        ("positive", 1, 1),
    ],
)
def test_accepted(name: str, given: object, value: object) -> None:
    made, problems = structure_fields(Everything, {name: given})
    assert problems == []
    assert getattr(made, name) == value
    assert type(getattr(made, name)) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("flag", "maybe", "expected true or false, got 'maybe'"),
        ("flag", 2, "expected true or false, got 2"),
        ("flag", None, "expected true or false, got None"),
        ("count", "8080x", "expected a whole number, got '8080x'"),
        ("count", "+-5", "expected a whole number, got '+-5'"),
        ("count", 1.5, "expected a whole number, got 1.5"),
        ("count", True, "expected a whole number, got True"),
        ("count", float("nan"), "expected a whole number, got nan"),
        ("count", float("inf"), "expected a whole number, got inf"),
        ("count", "9" * 5000, "expected a whole number, got '99999"),
        ("ratio", "fast", "expected a number, got 'fast'"),
        ("ratio", "nan", "expected a number, got 'nan'"),
        ("ratio", 10**400, "expected a number, got 1000"),
        ("text", 5, "expected a text, got 5"),
        ("maybe", "x", "expected a whole number, got 'x'"),
        ("choice", "c", "expected one of 'a', 'b', got 'c'"),
        ("choice", ["a"], "expected one of 'a', 'b', got ['a']"),
        ("many", "1,2", "expected a list, got '1,2'"),
        ("many", [1, "x"], "[1]: expected a whole number, got 'x'"),
        ("table", [1], "expected an object, got [1]"),
        ("either", 5, "expected a text, got 5; or expected an object, got 5"),
        ("nested", "*", "expected an object, got '*'"),
        ("nested", {"age": "old"}, "age: expected a whole number, got 'old'"),
        ("nested", {"origin": []}, 'origin: unknown key "origin"; did you mean "origins"?'),
        ("positive", 0, "expected at least 1, got 0"),
        ("cuont", 1, 'unknown key "cuont"; did you mean "count"?'),
    ],
)
def test_refused(name: str, given: object, sentence: str) -> None:
    made, problems = structure_fields(Everything, {name: given})
    assert made is None
    ((path, problem),) = problems
    assert path == name
    assert problem.startswith(sentence)
    assert len(problem) < 200


def test_every_problem_is_reported() -> None:
    _, problems = structure_fields(Everything, {"flag": 3, "count": "x", "nonsense": 1, "text": "fine"})
    assert [path for path, _ in problems] == ["count", "flag", "nonsense"]


@pytest.mark.parametrize(
    ("text", "wanted", "value"),
    [
        ("8080", int, "8080"),
        ("plain", str, "plain"),
        ("null", str | None, None),
        ("null", int | None, None),
        ("", int | None, None),
        ("8080", int | None, 8080),
        ('{"a": 1}', dict[str, int], {"a": 1}),
        ("[1, 2]", list[int], [1, 2]),
        ("{not json", dict[str, int], "{not json"),
        ("file.json", str | dict[str, Any], "file.json"),
        ('{"version": 1}', str | dict[str, Any], {"version": 1}),
        ('{"origins": []}', Nested | None, {"origins": []}),
    ],
)
def test_texts_of_the_environment(text: str, wanted: object, value: object) -> None:
    assert from_text(text, wanted) == value
