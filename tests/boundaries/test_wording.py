"""Docstrings and comments of the sources keep to plain words."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from workspace import Room, rooms

FIRST = {"what", "where", "whether", "whoever", "which", "how"}
"""Words that no docstring begins with: it says what is done or returned."""

PERSONS = re.compile(r"\b(?:somebody|nobody|whoever|anybody)(?:'s)?\b", re.IGNORECASE)

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each docstring of a module, a class or a function, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, Documented) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def prose(tree: ast.Module, source: str) -> Iterator[tuple[int, str]]:
    """Yield each docstring, each text below a name that it documents, and each comment, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def sources(room: Room) -> Iterator[tuple[str, Path]]:
    for _, path in room.modules():
        yield path.relative_to(room.folder).as_posix(), path


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.where)
def test_no_docstring_begins_with_a_question_word(room: Room) -> None:
    found = [
        f"{where}:{line}: {text.splitlines()[0]}"
        for where, path in sources(room)
        for line, text in docstrings(ast.parse(path.read_text(encoding="utf-8")))
        if re.match(r"\w*", text).group().lower() in FIRST  # type: ignore[union-attr]  # it always matches
    ]
    assert found == []


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.where)
def test_no_sentence_is_about_an_unknown_person(room: Room) -> None:
    found = [
        f"{where}:{line}: {match.group()}"
        for where, path in sources(room)
        for source in [path.read_text(encoding="utf-8")]
        for line, text in prose(ast.parse(source), source)
        for match in PERSONS.finditer(text)
    ]
    assert found == []
