"""Texts that pytest-xdist could not send are escaped, all others stay as they are."""

from mlsrv_testing.surrogate_reports import escaped


def test_lone_surrogates_are_escaped_wherever_they_stand() -> None:
    report = {"nodeid": "a[\ud800]", "sections": [("log", "b \udfff")], "when": "call", "duration": 0.5}
    assert escaped(report) == {
        "nodeid": "a[\\ud800]",
        "sections": [("log", "b \\udfff")],
        "when": "call",
        "duration": 0.5,
    }


def test_other_texts_stay_as_they_are() -> None:
    assert escaped(["é", "日本", None, 1]) == ["é", "日本", None, 1]
