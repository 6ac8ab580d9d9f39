"""Every hook is documented in one form, and the example in its docstring runs."""

import ast
import doctest
import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from workspace import rooms

MODULES = [module for room in rooms() for module, _ in room.modules() if module.endswith("hookspecs")]


def hooks() -> list[tuple[str, Callable[..., Any]]]:
    """The functions of each `hookspecs` module that carry pluggy's mark, in their order."""
    found = []
    for module in MODULES:
        for name, value in vars(importlib.import_module(module)).items():
            if inspect.isfunction(value) and hasattr(value, "mlsrv_spec"):
                found.append((f"{module}:{name}", value))
    return found


HOOKS = hooks()
each_hook = pytest.mark.parametrize(("name", "hook"), HOOKS, ids=[name for name, _ in HOOKS])


def sections(docstring: str) -> dict[str, str]:
    """The text before the first heading (as "") and below each of `Args:`, `Returns:` and `Example:`."""
    found = {"": ""}
    heading = ""
    for line in inspect.cleandoc(docstring).splitlines():
        match = re.fullmatch(r"([A-Z][a-z]+):", line)
        if match is not None:
            heading = match.group(1)
            found[heading] = ""
        else:
            found[heading] += line + "\n"
    return found


def test_hooks_were_found() -> None:
    assert "mlsrv.plugins.hookspecs" in MODULES
    assert len(HOOKS) >= 12


@each_hook
def test_the_docstring_has_the_fixed_form(name: str, hook: Callable[..., Any]) -> None:
    parts = sections(hook.__doc__ or "")
    parameters = list(inspect.signature(hook).parameters)
    assert list(parts) == ["", *(["Args"] if parameters else []), "Returns", "Example"]
    purpose, _, when = parts[""].partition("\n\n")
    assert purpose.strip().endswith(".")
    assert when.startswith("Called "), "the second paragraph says when, how often and in which process"
    assert re.search(r"\bprocess\b|owner", when)
    documented = re.findall(r"^    (\w+):", parts.get("Args", ""), flags=re.MULTILINE)
    assert documented == parameters
    returned = ast.unparse(ast.parse(inspect.getsource(hook)).body[0].returns or ast.Constant(None))
    assert "None" in parts["Returns"] or (returned == "None" and parts["Returns"].strip() == "Nothing.")


@each_hook
def test_the_example_runs(name: str, hook: Callable[..., Any]) -> None:
    test = doctest.DocTestParser().get_doctest(hook.__doc__ or "", {}, name, None, 0)
    assert any(f"def {hook.__name__}(" in example.source for example in test.examples)
    transcript: list[str] = []
    results = doctest.DocTestRunner().run(test, out=transcript.append)
    assert results.attempted > 0
    assert results.failed == 0, "".join(transcript)


@each_hook
def test_the_name_has_the_prefix(name: str, hook: Callable[..., Any]) -> None:
    assert hook.__name__.startswith("mlsrv_")


def test_every_hook_has_an_annotated_return() -> None:
    assert [name for name, hook in HOOKS if "return" not in hook.__annotations__] == []
