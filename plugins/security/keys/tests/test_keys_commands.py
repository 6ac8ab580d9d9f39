"""Commands: keys are made, listed, rotated and revoked."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlsrv_keys.commands import keys
from mlsrv_keys.key_file import read_keys, split_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def run(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(keys, [*arguments, "--file", str(path)])


def test_the_life_of_a_key(path: Path) -> None:
    made = run(path, "add", "robot", "-r", "infer=iris-*", "-r", "infer=tiny", "-r", "health", "--rate", "5")
    assert made.exit_code == 0
    parts = split_key(made.output.strip())
    assert parts is not None
    (key,) = read_keys(path).values()
    assert key.matches(parts[1])
    assert key.rights == {"infer": ("iris-*", "tiny"), "health": ("*",)}
    assert (key.limits.rate, key.expires) == (5.0, None)

    listed = run(path, "list")
    assert listed.output == f"robot  {key.id}  valid  infer=iris-*,tiny health=*  rate 5\n"
    assert json.loads(run(path, "list", "--json").output)[0]["name"] == "robot"

    renewed = run(path, "rotate", "robot", "--keep", "1h")
    old, new = read_keys(path).values()
    assert (old.id, old.expires is not None) == (key.id, True)
    assert (new.rights, new.limits, new.expires) == (key.rights, key.limits, None)
    assert split_key(renewed.output.strip()) != parts
    assert "until" in run(path, "list").output

    assert run(path, "rotate", "robot").exit_code == 0
    assert len(read_keys(path)) == 1
    assert run(path, "revoke", "robot").exit_code == 0
    assert read_keys(path) == {}


@pytest.mark.parametrize("end", ["90d", "12h", "30m", "2100-12-31", "2100-12-31T23:59:59+02:00"])
def test_ends(path: Path, end: str) -> None:
    assert run(path, "add", "robot", "-r", "infer", "--expires", end).exit_code == 0
    (key,) = read_keys(path).values()
    assert key.expires is not None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "robot"], "--right"),
        (["add", "robot", "-r", "fly"], "unknown action 'fly'"),
        (["add", "a b", "-r", "infer"], "NAME"),
        (["add", "robot", "-r", "infer", "--expires", "soon"], "'soon' is no time"),
        (["add", "robot", "-r", "infer", "--rate", "0"], "--rate"),
        (["add", "twice", "-r", "infer"], "has a key already"),
        (["revoke", "nobody"], "nobody has no key"),
        (["rotate", "nobody"], "nobody has no key"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(path: Path, arguments: list[str], says: str) -> None:
    run(path, "add", "twice", "-r", "infer")
    before = path.read_bytes()
    done = run(path, *arguments)
    assert done.exit_code == 2
    assert says in done.output
    assert path.read_bytes() == before
