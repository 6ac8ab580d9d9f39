"""Garbage collections of tests do not visit what was there before them."""

import gc
import weakref

import pytest


class Node:
    """May be part of a reference cycle."""

    def __init__(self) -> None:
        self.itself = self


def test_the_libraries_of_this_run_are_excluded(request: pytest.FixtureRequest) -> None:
    visited = {id(thing) for thing in gc.get_objects()}
    assert id(pytest.__dict__) not in visited
    assert id(request.session) not in visited


def test_garbage_of_tests_is_still_collected() -> None:
    gone = weakref.ref(Node())
    gc.collect()
    assert gone() is None
