import pytest

from mlsrv_protocol.quoting import clip


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("x", '"x"'),
        ("line\nbreak", '"line\\nbreak"'),
        (b"x\xff", '"x\\ufffd"'),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        (-3, "-3"),
        (10**80, "an integer of more than 256 bits"),
        ([1], "an array"),
        ((1,), "an array"),
        ({"a": 1}, "an object"),
        ({1}, "a value of type set"),
    ],
)
def test_values_are_spelled_as_in_json(value: object, quoted: str) -> None:
    assert clip(value) == quoted


def test_long_values_are_cut() -> None:
    for value in ("x" * 10**7, b"\x00" * 10**7, "\x00" * 100, 2**255, float("1e300")):
        assert len(clip(value)) < 90
