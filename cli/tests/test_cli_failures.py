"""From exceptions to lines and exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import rich_click as click

from mlsrv.errors import ConfigurationError, InferenceError, ModelLoadError, PluginError
from mlsrv_cli.failures import StartFailed, explain, report


@pytest.mark.parametrize(
    ("error", "lines", "code"),
    [
        (ConfigurationError(["one", "two"]), ["one", "two"], 2),
        (PluginError("needed"), ["needed"], 2),
        (InferenceError("refused"), ["refused"], 2),
        (ModelLoadError("broken"), ["broken"], 1),
        (StartFailed(["a", "b"]), ["a", "b"], 1),
        (click.UsageError("wrong\n  option"), ["wrong option"], 2),
        (click.Abort(), ["Interrupted."], 130),
        (KeyError("x\ny"), ["KeyError: 'x\\ny' (--debug shows where)"], 1),
    ],
)
def test_failures_become_lines_and_an_exit_code(error: Exception, lines: list[str], code: int) -> None:
    assert explain(error) == (lines, code)


def test_the_traceback_is_for_debugging(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("boom")
    assert report(caught.value) == 1
    assert capsys.readouterr().err == "Error: RuntimeError: boom (--debug shows where)\n"
    assert report(caught.value, debug=True) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_failure_to_report(environment: dict[str, str]) -> None:
    command = f"{sys.executable} -m mlsrv_cli plugins --json | head -c 1"
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "["
    assert done.stderr == ""
