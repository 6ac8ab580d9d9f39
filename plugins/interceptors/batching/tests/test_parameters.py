"""Parameters of batches: which requests are joined, and what each of them gets back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_batching.joining import compatibility, cut, join, rejoin, split
from mlsrv_batching.parameters import Dealer, NotDealt

VALUES = st.sampled_from([None, True, False, 0, 1, 2.0, "", "a", "b", [], [0], [0, 1], ["a", "b"]])


def request(rows: int = 1, **parameters: Any) -> InferenceRequest:
    given = Parameters(**parameters) if parameters else None
    return InferenceRequest([RequestInput("p", [rows], "FP32", np.zeros(rows, np.float32), given)])


def answers(
    requests: list[InferenceRequest],
    output: Parameters | None,
    response: Parameters | None = None,
    by_row: tuple[str, ...] = (),
) -> list[InferenceResponse] | None:
    """Return what each request gets when the model answers all of them with these parameters."""
    counts = [one.inputs[0].shape[0] for one in requests]
    joined = join(requests)
    dealer = Dealer(joined, len(requests), by_row=by_row)
    tensor = ResponseOutput("y", [sum(counts)], "FP32", np.zeros(sum(counts), np.float32), output)
    return split(InferenceResponse("m", [tensor], parameters=response), counts, dealer)


def of_outputs(found: list[InferenceResponse] | None) -> list[Parameters | None]:
    assert found is not None
    return [one.outputs[0].parameters for one in found]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"user": "alice"}, {}),
        ({"user": "alice"}, {"client": "alice"}),
        ({"user": "alice"}, {"user": "alice", "more": 1}),
        ({"user": 1}, {"user": 1.0}),
        ({"user": 1}, {"user": True}),
        ({"user": "1"}, {"user": 1}),
        ({"user": ["a"]}, {"user": "a"}),
        ({"user": {"a": 1}}, {"user": [1]}),
    ],
)
def test_requests_whose_parameters_differ_in_keys_or_kinds_are_not_joined(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert compatibility(request(**one)) != compatibility(request(**other))
    assert compatibility(request(**one)) == compatibility(request(3, **one))


def test_values_of_the_same_kind_are_merged_and_absent_ones_count_as_none() -> None:
    assert compatibility(request(user="alice")) == compatibility(request(user="bob"))
    assert compatibility(request(user=None)) == compatibility(request())
    joined = join([request(user="alice", n=1), request(2, user="bob", n=2)])
    assert joined.inputs[0].parameters == Parameters(user=["alice", "bob"], n=[1, 2])


def test_parameters_of_a_codec_are_joined_if_they_are_equal() -> None:
    shared = ("pd_dtype",)
    one, same = request(pd_dtype="category", user="a"), request(pd_dtype="category", user="b")
    assert compatibility(one, shared) == compatibility(same, shared)
    assert compatibility(one, shared) != compatibility(request(pd_dtype="str", user="a"), shared)
    joined = join([one, same], shared)
    assert joined.inputs[0].parameters == Parameters(pd_dtype="category", user=["a", "b"])


def test_requested_outputs_with_other_parameters_are_not_joined() -> None:
    def asking(**parameters: Any) -> InferenceRequest:
        made = request()
        made.outputs = [RequestOutput("y", Parameters(**parameters))]
        return made

    assert compatibility(asking(timeout=1)) != compatibility(asking(timeout=2))
    assert compatibility(asking(classification=1)) != compatibility(asking(classification=True))


def test_request_parameters_with_objects_are_joined_by_identity_alone() -> None:
    def with_array(array: Any) -> InferenceRequest:
        made = request()
        made.parameters = Parameters(big=array)
        return made

    one, other = np.zeros(5000), np.arange(5000)
    other[0] = 0
    assert compatibility(with_array(one)) == compatibility(with_array(one))
    assert compatibility(with_array(np.arange(5000))) != compatibility(with_array(other))


@given(st.lists(st.tuples(st.integers(1, 4), st.dictionaries(st.sampled_from("ab"), VALUES)), max_size=8))
def test_each_value_comes_back_to_the_request_that_sent_it(sent: list[tuple[int, dict[str, Any]]]) -> None:
    groups: dict[Any, list[InferenceRequest]] = {}
    for rows, parameters in sent:
        made = request(rows, **parameters)
        groups.setdefault(compatibility(made), []).append(made)
    for group in groups.values():
        joined = join(group).inputs[0].parameters
        for one, got in zip(group, of_outputs(answers(group, joined)), strict=True):
            mine = one.inputs[0].parameters
            assert ({} if got is None else got.dict()) == ({} if mine is None else mine.dict())


def test_merged_values_are_dealt_out_wherever_the_model_puts_them() -> None:
    requests = [request(user="alice"), request(2, user="carol")]
    users = ["alice", "carol"]
    output = Parameters(seen=users, user=["ALICE", "CAROL"], all={"user": users}, nested=[users])
    found = answers(requests, output, Parameters(user=tuple(users)))
    assert of_outputs(found) == [
        Parameters(seen=name, user=name.upper(), all={"user": name}, nested=[name]) for name in users
    ]
    assert found is not None
    assert [one.parameters for one in found] == [Parameters(user=name) for name in users]


@pytest.mark.parametrize("where", ["output", "response"])
def test_a_merged_list_of_another_length_is_dealt_to_no_request(where: str) -> None:
    requests = [request(user="alice"), request(user="carol"), request(user="alice")]
    with pytest.raises(NotDealt, match="user"):
        answers(requests, **{"output": None, where: Parameters(user=["alice", "carol"])})


@pytest.mark.parametrize("labels", [["neg", "pos"], ["a", "b", "c"], [], [["a"], ["b"]]])
def test_lists_of_the_model_go_whole_to_each_request(labels: list[Any]) -> None:
    output = Parameters(content_type="np", labels=labels, text="t", number=1.5, table={"x": labels})
    for requests in ([request(), request()], [request(user="a"), request(user="b")]):
        assert of_outputs(answers(requests, output)) == [output, output]


def test_lists_by_row_give_each_request_the_values_of_its_rows() -> None:
    requests = [request(1), request(2), request(1)]
    by_row = ("names",)
    output = Parameters(names=["a", "b", "c", "d"], labels=["neg", "pos"])
    assert of_outputs(answers(requests, output, by_row=by_row)) == [
        Parameters(names=names, labels=["neg", "pos"]) for names in (["a"], ["b", "c"], ["d"])
    ]
    assert answers(requests, Parameters(names=["a"]), by_row=by_row) is None


def test_lists_by_row_of_pieces_are_joined_again() -> None:
    pieces = cut(request(3, user="u"), 3, 2)
    assert [piece.inputs[0].parameters for piece in pieces] == [Parameters(user="u")] * 2
    parts = [
        InferenceResponse("m", [ResponseOutput("y", [n], "FP32", np.zeros(n), Parameters(names=names, k=1))])
        for n, names in ((2, ["a", "b"]), (1, ["c"]))
    ]
    joined = rejoin(parts, [2, 1], ("names",))
    assert joined is not None
    assert joined.outputs[0].parameters == Parameters(names=["a", "b", "c"], k=1)
