"""Crashes of models are counted, and shared among those that were running."""

from mlsrv_workers.pool.crashes import CRASHES, PERIOD, Crashes


def test_a_model_that_crashes_alone_is_named_after_so_many_crashes() -> None:
    crashes = Crashes()
    assert [crashes.add({1: 4}, float(second)) for second in range(CRASHES)] == [None, None, 1]


def test_crashes_long_ago_do_not_count() -> None:
    crashes = Crashes()
    assert [crashes.add({1: 1}, 0.6 * PERIOD * step) for step in range(6)] == [None] * 6


def test_models_whose_requests_only_ran_beside_are_not_named() -> None:
    crashes = Crashes()
    named = [crashes.add({1: 1} if step % 2 else {1: 1, 2: 1}, float(step)) for step in range(8)]
    assert set(named) == {None, 1}


def test_models_with_the_most_crashes_are_suspects_for_a_while() -> None:
    crashes = Crashes()
    assert crashes.suspects(0.0) == set()
    crashes.add({1: 1, 2: 1}, 0.0)
    assert crashes.suspects(0.0) == {1, 2}
    crashes.add({1: 1}, 1.0)
    assert crashes.suspects(1.0) == {1}
    assert crashes.suspects(PERIOD + 2.0) == set()


def test_an_unloaded_model_is_forgotten() -> None:
    crashes = Crashes()
    for second in range(CRASHES - 1):
        crashes.add({1: 1}, float(second))
    crashes.forget(1)
    assert crashes.add({1: 1}, float(CRASHES)) is None
