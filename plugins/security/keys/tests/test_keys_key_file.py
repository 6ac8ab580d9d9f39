"""Key files: what is written is read again, and what is wrong is refused with its place."""

import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from mlsrv.authorization import Limits
from mlsrv.errors import ConfigurationError
from mlsrv_keys.key_file import Key, changing, read_keys, split_key, write_keys


def test_keys_are_read_as_they_were_written_and_the_file_has_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    limits = Limits(rate=2.5, burst=10, in_flight=3, in_flight_bytes=1000, priority=2)
    first, text = Key.make("robot", {"infer": ("iris-*",), "health": ("*",)}, 2e9, limits)
    second, _ = Key.make("other", {})
    write_keys(path, {first.id: first, second.id: second})
    assert read_keys(path) == {first.id: first, second.id: second}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    parts = split_key(text)
    assert parts is not None
    assert parts[0] == first.id
    assert parts[1] not in path.read_text()
    assert first.matches(parts[1])
    assert not first.matches(parts[1] + "x")
    assert not second.matches(parts[1])
    assert parts[1] not in repr(first)


@pytest.mark.parametrize("text", ["", "mlsrv", "mlsrv_a", "mlsrv__b", "sk_a_b", "mlsrv_a_" + "b" * 300])
def test_texts_that_are_no_keys(text: str) -> None:
    assert split_key(text) is None


def entry(**fields: Any) -> dict[str, Any]:
    return {"name": "a", "id": "b", "salt": "c", "hash": "d", "rights": {}} | fields


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "it is not JSON"),
        ("[" * 100_000, "it is not JSON|recursion"),
        ("[]", "expected an object"),
        ('{"keys": {}}', "expected an object"),
        ('{"keys": [], "more": 1}', "expected an object"),
        ('{"keys": [1]}', r"keys\[0\]: expected an object"),
        (json.dumps({"keys": [entry(name="")]}), r"keys\[0\].name: expected a text"),
        (json.dumps({"keys": [entry(secret="x")]}), r"keys\[0\]: unknown field 'secret'"),
        (json.dumps({"keys": [entry(rights={"fly": ["*"]})]}), "rights: unknown action 'fly'"),
        (json.dumps({"keys": [entry(rights={"infer": "*"})]}), "rights.infer: expected a list"),
        (json.dumps({"keys": [entry(expires="soon")]}), "expires: expected a time"),
        (json.dumps({"keys": [entry(rate=0)]}), "rate: expected a number above 0"),
        (json.dumps({"keys": [entry(in_flight=1.5)]}), "in_flight: expected a whole number"),
        (json.dumps({"keys": [entry(), entry()]}), "two keys have one id"),
    ],
    ids=range(14),
)
def test_a_wrong_file_is_one_sentence_with_the_place(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=says) as caught:
        read_keys(path)
    assert "\n" not in str(caught.value)
    assert "keys.json" in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_keys(tmp_path / "keys.json")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        changing(tmp_path / "no" / "keys.json").__enter__()


def test_changes_are_written_unless_they_fail(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key, _ = Key.make("robot", {})
    with changing(path) as keys:
        keys[key.id] = key

    def fail() -> None:
        with changing(path) as keys:
            keys.clear()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(read_keys(path)) == [key.id]
    assert sorted(file.name for file in tmp_path.iterdir()) == [".keys.json.lock", "keys.json"]


def test_an_end_can_only_come_nearer() -> None:
    now = time.time()
    key, _ = Key.make("robot", {}, now)
    assert key.until(now + 10).expires == now
    assert key.until(now - 10).expires == now - 10
