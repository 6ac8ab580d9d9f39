"""``mlsrv plugins check``, on installed plugins and on wrong ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SHOUT = """
import mlsrv
from mlsrv.codecs import ElementsCodec

class Shout(ElementsCodec):
    ContentType = "shout"
    Element = str

    @classmethod
    def decode_element(cls, element):
        return element if isinstance(element, str) else element.decode()

    @classmethod
    def encode_element(cls, value):
        return value

@mlsrv.hookimpl
def mlsrv_codecs():
    return mlsrv.CodecOffer("shout", Shout)
"""
FINE = """

class Fine(Shout):
    ContentType = "fine"

@mlsrv.hookimpl
def mlsrv_codecs():
    return mlsrv.CodecOffer("shout", Shout), mlsrv.CodecOffer("fine", Fine)

class Shout(Shout):
    @classmethod
    def METHOD(cls, value):
        import os
        HANG
"""
IN_A_CASE = """if "::Test" in os.environ.get("PYTEST_CURRENT_TEST", ""):
            HANG
        return super().METHOD(value)"""
DEAF = """
import asyncio
import mlsrv
from mlsrv.interceptor import Interceptor

class Deaf(Interceptor):
    phase = "observe"

    async def __call__(self, request, context, call_next):
        while True:
            try:
                await asyncio.Event().wait()  # here
            except asyncio.CancelledError:
                pass

@mlsrv.hookimpl
def mlsrv_interceptors(kernel, model):
    return Deaf()
"""
LOSSY = SHOUT.replace("return value\n", "return value + '!'\n")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "shouting.py"
    file.write_text(SHOUT)
    return file


def test_a_right_plugin(mlsrv, plugin: Path) -> None:
    done = mlsrv("plugins", "check", "shouting", "--plugin", plugin)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "shouting"
    assert lines[3].split("  ")[0] == "input codec shout"
    assert lines[-1] == "Every case that was run passed."
    assert "input codec shout: the suite has no garbage" in done.stdout


def test_a_wrong_plugin_fails_with_what_it_does(mlsrv, plugin: Path) -> None:
    plugin.write_text(LOSSY)
    done = mlsrv("plugins", "check", "shout", "--plugin", plugin)
    assert done.returncode == 1
    assert done.stderr == ""
    assert "FAILED input codec shout: test_a_request_comes_back" in done.stdout
    assert "Guards against: values that change on their way to the model." in done.stdout
    assert "Traceback" not in done.stdout


def test_the_report_as_json(mlsrv, plugin: Path) -> None:
    plugin.write_text(LOSSY)
    done = mlsrv("plugins", "check", "shout", "--plugin", plugin, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert (report["plugin"], report["passed"]) == ("shouting", False)
    (codec,) = [one for one in report["checked"] if one["subject"] == "input codec shout"]
    outcomes = {case["name"]: case["outcome"] for case in codec["cases"]}
    assert outcomes["test_it_has_a_content_type"] == "passed"
    assert outcomes["test_a_request_comes_back"] == "failed"
    assert outcomes["test_garbage_is_refused_with_a_sentence"] == "not checked"


def test_samples_and_suites_of_the_author(mlsrv, plugin: Path, tmp_path: Path) -> None:
    sample = tmp_path / "sample.json"
    sample.write_text('{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["hello"]}')
    done = mlsrv("plugins", "check", "shouting", "--plugin", plugin, "--sample", sample)
    assert done.returncode == 0
    assert "--sample" in done.stdout
    suite = tmp_path / "test_shouting.py"
    suite.write_text(
        "from mlsrv_testing.contracts import InputCodecContract\n"
        "from mlsrv_text import StringCodec\n"
        "class TestIt(InputCodecContract):\n    codec = StringCodec\n    samples = []\n"
    )
    done = mlsrv("plugins", "check", "text", "--suite", suite, "--json")
    assert done.returncode == 1
    (failed,) = [
        (one["suite"], case["name"], case["detail"].splitlines()[0])
        for one in json.loads(done.stdout)["checked"]
        for case in one["cases"]
        if case["outcome"] == "failed"
    ]
    assert failed == (f"{suite}: TestIt", "test_there_are_samples", "give the suite samples")


def test_interceptors_need_settings(mlsrv) -> None:
    done = mlsrv("plugins", "check", "cache")
    assert done.returncode == 0
    assert "--set KEY=VALUE switches it on" in done.stdout
    assert done.stdout.endswith("Every case that was run passed. Not tried at all: interceptor.\n")
    done = mlsrv("plugins", "check", "cache", "--set", "cache_enabled=true")
    assert done.returncode == 0
    assert "interceptor ResponseCache" in done.stdout


def test_a_plugin_that_did_not_load_fails(mlsrv, tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "acme_sick-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "acme_sick.py").write_text("raise RuntimeError('out of order')\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-sick\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mlsrv]\nsick = acme_sick\n")
    done = mlsrv("plugins", "check", "acme-sick", env={"PYTHONPATH": str(site)})
    assert done.returncode == 1
    assert "FAILED plugin sick: it loads\n  RuntimeError: out of order" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["numpi"], 'No plugin is called "numpi" or offers that; did you mean "numpy"?'),
        (["nothing-like-it"], "installed are batching"),
        (["numpy", "--block", "numpy"], 'No plugin is called "numpy"'),
        (["numpy", "--sample", "absent.json"], "absent.json"),
        (["numpy", "--model", "absent"], "absent"),
        (["sklearn", "--model", "."], "model-settings.json"),
        (["numpy", "--set", "x"], 'expected "key=value"'),
        ([], "Missing argument"),
    ],
)
def test_mistakes_are_one_line(mlsrv, arguments: list[str], problem: str) -> None:
    done = mlsrv("plugins", "check", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("absent", ["mlsrv_testing", "pytest"])
def test_without_the_kit_one_line_says_what_to_install(environment: dict[str, str], absent: str) -> None:
    program = f"import sys; sys.modules[{absent!r}] = None\nfrom mlsrv_cli.main import main\nsys.exit(main())"
    command = [sys.executable, "-c", program, "plugins"]
    done = subprocess.run(
        [*command, "check", "numpy"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: mlsrv plugins check needs mlsrv-testing (pip install mlsrv-testing).\n"
    listed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (listed.returncode, listed.stderr) == (0, "")


def test_progress_is_drawn_on_a_terminal(terminal_text, environment: dict[str, str]) -> None:
    command = [
        sys.executable,
        "-c",
        "import os, sys; os.dup2(1, 2); from mlsrv_cli.main import main; sys.exit(main())",
    ]
    assert "Checking numpy" in terminal_text([*command, "plugins", "check", "numpy"], environment)


def cases(report: Any, subject: str) -> list[tuple[str, str, str]]:
    (found,) = [one for one in report["checked"] if one["subject"] == subject]
    return [(case["name"], case["outcome"], case["detail"]) for case in found["cases"]]


def hanging(method: str, hang: str) -> str:
    return SHOUT + FINE.replace("HANG", hang).replace("METHOD", method)


@pytest.mark.parametrize(
    ("method", "hang", "case", "says", "place"),
    [
        (
            "encode_element",
            "os.fork()\n        while True: pass",
            "its suite is made",
            "it did not end within",
            "encode_element",
        ),
        # Here the lock of the interpreter is held all the time.
        (
            "decode_element",
            IN_A_CASE.replace("HANG", "__import__('re').match(r'(a+)+$', 'a' * 60 + 'b')"),
            "test_a_response_comes_back",
            "it did not end within 1 seconds; it is at",
            "decode_element",
        ),
        (
            "decode_element",
            IN_A_CASE.replace("HANG", "__import__('ctypes').string_at(0)"),
            "test_a_response_comes_back",
            "it killed the process: SIGSEGV; it is at",
            "decode_element",
        ),
        (
            "decode_element",
            IN_A_CASE.replace("HANG", "os._exit(0)"),
            "test_a_response_comes_back",
            "it ended the process, with exit code 0",
            "",
        ),
    ],
    ids=[
        "loop",
        "held interpreter",
        "fault",
        "exit",
    ],  # the code would be in the environment, with these names
)
def test_code_that_hangs_or_dies_fails_its_case_and_the_others_are_run(
    mlsrv, plugin: Path, method: str, hang: str, case: str, says: str, place: str
) -> None:
    plugin.write_text(hanging(method, hang))
    done = mlsrv("plugins", "check", "shouting", "--plugin", plugin, "--timeout", "1", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    (failed,) = [one for one in cases(report, "input codec shout") if one[1] == "failed"]
    assert failed[0] == case
    assert failed[2].startswith(says)
    assert (f'File "{plugin}", line' in failed[2]) is bool(place)
    assert place in failed[2]
    left = [one[2] for one in cases(report, "input codec shout") if one[1] == "not checked"]
    assert case == "its suite is made" or f"{case} came to no end" in left
    others = [one[1] for one in cases(report, "input codec fine")]
    assert others.count("passed") >= 10
    assert "failed" not in others


def test_a_coroutine_that_cannot_be_cancelled(mlsrv, plugin: Path) -> None:
    plugin.write_text(DEAF)
    done = mlsrv("plugins", "check", "shouting", "--plugin", plugin, "--timeout", "1")
    assert (done.returncode, done.stderr) == (1, "")
    line = DEAF.splitlines().index("                await asyncio.Event().wait()  # here") + 1
    assert f'File "{plugin}", line {line} in __call__' in done.stdout
    assert "1 of the cases failed." in done.stdout


def test_a_plugin_that_hangs_when_it_is_loaded(mlsrv, plugin: Path) -> None:
    plugin.write_text("while True:\n    pass\n")
    done = mlsrv("plugins", "check", "shouting", "--plugin", plugin, "--timeout", "1")
    assert (done.returncode, done.stderr) == (1, "")
    assert "FAILED plugin shouting: the plugins are loaded\n  it did not end within 1 seconds" in done.stdout
    assert f'File "{plugin}", line ' in done.stdout


def test_an_interrupt_leaves_nothing_behind(
    plugin: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    note, temporary = tmp_path / "note", tmp_path / "temporary"
    temporary.mkdir()
    plugin.write_text(
        f"import os, pathlib\npathlib.Path({str(note)!r}).write_text(str(os.getpid()))\nwhile True: pass\n"
    )
    command = [sys.executable, "-m", "mlsrv_cli", "plugins", "check", "shouting", "--plugin", str(plugin)]
    with subprocess.Popen(command, env=environment | {"TMPDIR": str(temporary)}) as process:
        end = time.monotonic() + 30
        while not (note.exists() and note.read_text()) and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
    assert list(temporary.iterdir()) == []
