import pickle

import pytest

from mlsrv_protocol import Code, InvalidOutput, InvalidPayload, MLSrvError


@pytest.mark.parametrize(
    ("cls", "code"),
    [
        (MLSrvError, Code.INTERNAL),
        (InvalidPayload, Code.INVALID_ARGUMENT),
        (InvalidOutput, Code.INTERNAL),
    ],
)
def test_an_error_is_a_sentence_with_a_code_and_survives_pickling(cls: type[MLSrvError], code: Code) -> None:
    error = cls("A sentence.")
    copy = pickle.loads(pickle.dumps(error))
    assert str(error) == str(copy) == "A sentence."
    assert error.code is copy.code is code
    assert type(copy) is cls


def test_codes_are_strings() -> None:
    assert f"{Code.NOT_READY}" == str(Code.NOT_READY) == "NOT_READY" == Code.NOT_READY
    assert len(Code) == 13


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("one text",), "one text"),
        (("model", "no parameters"), "model: no parameters"),
        (("model", None), "model"),
        ((), "MLSrvError"),
    ],
)
def test_an_error_takes_any_number_of_texts(parts: tuple[object, ...], text: str) -> None:
    error = pickle.loads(pickle.dumps(MLSrvError(*parts)))
    assert str(error) == text
