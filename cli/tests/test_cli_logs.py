"""Logging: text, JSON lines, and configurations of one's own."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import datetime
from pathlib import Path

import pytest

from mlsrv_cli.log_formats import EscapingFormatter
from mlsrv_cli.logs import JsonFormatter, TextFormatter

CHATTY = """
import logging
from mlsrv.testing import EchoModel as Model

logging.getLogger("mlsrv.acme").debug("ours")
logging.getLogger(__name__).debug("the model's own")
# As if a library said it.
exec(compile('logging.getLogger("acme").debug("theirs")', "/usr/lib/site-packages/acme.py", "exec"))
"""


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("acme", logging.WARNING, __file__, 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


def test_text_names_the_model_where_there_is_one() -> None:
    line = TextFormatter().format(record("it is %s", "late", model="iris", version="v1"))
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[acme\]\[iris:v1\] WARNING - it is late", line
    )
    assert "[acme][iris] WARNING" in TextFormatter().format(record("late", model="iris", version=None))
    assert "[acme] WARNING - late" in TextFormatter().format(record("late"))


def test_text_has_what_the_message_does_not_say() -> None:
    about = {"request_id": "r1", "trace_id": "4bf9", "worker": 2}
    assert TextFormatter().format(record("late", **about)).endswith("late (request r1, trace 4bf9, worker 2)")
    line = TextFormatter().format(record("Request %s is late", "r1", request_id="r1"))
    assert line.endswith(" - Request r1 is late")
    assert TextFormatter().format(record("late", request_id="r1\nforged")).endswith(r"(request 'r1\nforged')")


def test_json_has_every_field_and_is_valid_whatever_is_logged() -> None:
    nasty = 'quote " newline \n nul \x00 surrogate \ud800 ☃'
    line = JsonFormatter().format(
        record("%s", nasty, model="iris", version="v1", request_id="r1", size=float("nan"), thing=object())
    )
    assert "\n" not in line
    fields = json.loads(line, parse_constant=pytest.fail)
    assert fields["message"] == nasty
    assert fields["name"] == "acme"
    assert fields["level"] == "WARNING"
    assert (fields["model_name"], fields["model_version"], fields["request_id"]) == ("iris", "v1", "r1")
    assert fields["size"] == "nan"
    assert fields["thing"].startswith("<object object")
    assert datetime.fromisoformat(fields["time"]).tzinfo is not None


HOSTILE = "first\n2026-01-01 00:00:00 forged\r\x1b[31m\x85\u2028" + "x" * 5_000_000


def hostile() -> logging.LogRecord:
    """A record that has what a client made in every field."""
    about = dict.fromkeys(("request_id", "trace_id", "model", "version", "client", "note"), HOSTILE)
    made = record("Request %s failed: %s", HOSTILE, HOSTILE, **about)
    made.exc_text = f"Traceback (most recent call last):\n  File here\nValueError: {HOSTILE}"
    return made


@pytest.mark.parametrize(
    "formatter",
    [
        TextFormatter(),
        EscapingFormatter.like(logging.Formatter("%(message)s %(request_id)s %(model)s %(client)s")),
    ],
)
def test_text_of_clients_is_cut_and_makes_no_lines_of_its_own(formatter: logging.Formatter) -> None:
    text = formatter.format(hostile())
    assert len(text) < 100_000
    first, *others = text.splitlines()
    assert first.count("forged") >= 1
    assert others
    assert all(line.startswith("  | ") for line in others)
    assert others[0] == "  | Traceback (most recent call last):"
    assert not any(char in text for char in "\r\x1b\x85\u2028")


def test_json_of_clients_is_cut() -> None:
    line = JsonFormatter().format(hostile())
    assert len(line) < 100_000
    fields = json.loads(line)
    assert fields["request_id"].startswith("first\n2026")
    assert fields["exception"].startswith("Traceback (most recent call last):\n  File here")


def test_a_traceback_of_many_lines_keeps_its_ends() -> None:
    made = record("failed")
    made.exc_text = "begin\n" + "frame\n" * 1_000_000 + "end"
    lines = TextFormatter().format(made).splitlines()
    assert (lines[1], lines[-1]) == ("  | begin", "  | end")
    assert any("more characters" in line for line in lines)
    assert len(lines) < 10_000


def test_extra_fields_take_no_place_of_others() -> None:
    line = record("late", level=3, time="never", message_id=7)
    line.__dict__["model_name"] = "forged"
    fields = json.loads(JsonFormatter().format(line))
    assert (fields["level"], fields["message_id"]) == ("WARNING", 7)
    assert datetime.fromisoformat(fields["time"]).tzinfo is not None
    assert fields.get("model_name") is None


def test_json_has_the_traceback_that_a_worker_sent() -> None:
    line = record("failed", exc_text="Traceback: there", worker=2)
    assert json.loads(JsonFormatter().format(line))["exception"] == "Traceback: there"


def test_json_has_the_traceback_as_a_field() -> None:
    try:
        raise ValueError("bad\n'day'")
    except ValueError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
    fields = json.loads(JsonFormatter().format(failed))
    assert fields["exception"].startswith("Traceback")
    assert fields["exception"].endswith("ValueError: bad\n'day'")


@pytest.mark.parametrize("options", [["--log-format", "json"], ["--set", "use_structured_logging=true"]])
def test_every_line_of_a_server_is_json(start, add_model, options: list[str]) -> None:
    add_model("good", parameters={"version": "v1"})
    add_model("bad", code="import warnings\nwarnings.warn('old')\nraise RuntimeError('no\\n\"licence\"')\n")
    server = start(*options, env={"MLSERVER_DEBUG": "1"})
    server.wait_for("1 of 2 models ready")
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.lines]
    assert all({"time", "name", "level", "message"} <= line.keys() for line in lines)
    ready = next(line for line in lines if "version v1 is READY" in line["message"])
    assert (ready["model_name"], ready["model_version"]) == ("good", "v1")
    listens = next(line for line in lines if "listens on" in line["message"])
    assert listens["transport"] == "tiny"
    assert listens["url"].startswith("tiny://127.0.0.1:")
    assert any(line["name"] == "py.warnings" for line in lines)
    assert server.errors == ""


def test_text_beats_a_file_that_wants_json(start, folder: Path) -> None:
    (folder / "settings.json").write_text('{"use_structured_logging": true}')
    server = start("--log-format", "text")
    assert not server.wait_for("Serving").startswith("{")
    assert server.stop() == 0


def test_the_level(start, add_model, tmp_path: Path) -> None:
    add_model("good", code=CHATTY)
    stopping = ["--plugin", str(stop_when_loaded(tmp_path))]
    quiet = start("--log-level", "ERROR", *stopping)
    assert quiet.wait() == 0
    assert quiet.lines == []
    loud = start("--debug", *stopping)
    assert loud.wait() == 0
    assert any("[mlsrv.acme][good] DEBUG - ours" in line for line in loud.lines)
    assert any("DEBUG - the model's own" in line for line in loud.lines)
    assert not any("theirs" in line for line in loud.lines)
    everything = start("--log-level", "debug", *stopping)
    assert everything.wait() == 0
    assert any("[acme][good] DEBUG - theirs" in line for line in everything.lines)


def test_a_configuration_in_the_settings(start, folder: Path, add_model, tmp_path: Path) -> None:
    add_model("good")
    log = tmp_path / "server.log"
    configuration = {
        "formatters": {"short": {"format": "%(levelname)s|%(message)s"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": str(log), "formatter": "short"}},
        "root": {"handlers": ["file"], "level": "INFO"},
    }
    for wanted in (configuration, "logging.json"):
        log.unlink(missing_ok=True)
        (folder / "logging.json").write_text(json.dumps(configuration))
        (folder / "settings.json").write_text(json.dumps({"logging_settings": wanted, "tiny_port": 0}))
        server = start("--on-load-failure", "exit", "--plugin", str(stop_when_loaded(tmp_path)))
        assert server.wait() == 0
        assert server.lines == []
        assert "INFO|Model good is READY" in log.read_text().splitlines()


def test_a_configuration_finds_the_fields_and_our_formatters(start, folder: Path, add_model) -> None:
    add_model("good", code=CHATTY, parameters={"version": "v1"})
    configuration = {
        "formatters": {
            "short": {"format": "%(model)s|%(request_id)s|%(message)s"},
            "json": {"()": "mlsrv_cli.logs.JsonFormatter"},
        },
        "handlers": {
            "out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "short"},
            "err": {"class": "logging.StreamHandler", "formatter": "json"},
        },
        "root": {"handlers": ["out", "err"], "level": "DEBUG"},
    }
    (folder / "settings.json").write_text(json.dumps({"logging_settings": configuration}))
    server = start()
    server.wait_for("The server is ready")
    assert server.stop() == 0
    assert "good|None|ours" in server.lines
    errors = [json.loads(line) for line in server.errors.splitlines()]
    ours = next(line for line in errors if line["message"] == "ours")
    assert (ours["model_name"], ours["model_version"]) == ("good", "v1")


def test_a_configuration_in_an_ini_file(start, folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    (folder / "logging.ini").write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=file\n[formatters]\nkeys=\n"
        f"[logger_root]\nlevel=INFO\nhandlers=file\n[handler_file]\nclass=FileHandler\nargs=({str(log)!r},)\n"
    )
    (folder / "settings.json").write_text('{"logging_settings": "logging.ini"}')
    server = start("--plugin", str(stop_when_loaded(tmp_path)))
    assert server.wait() == 0
    assert "Stopped" in log.read_text()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("nowhere.json", "there is no such file"),
        ({"handlers": {"x": {"class": "no.such.Handler"}}}, "no.such"),
        ({"root": {"level": "LOUD"}}, "LOUD"),
    ],
)
def test_a_configuration_that_does_not_work(start, folder: Path, wanted: object, message: str) -> None:
    (folder / "settings.json").write_text(json.dumps({"logging_settings": wanted}))
    server = start()
    assert server.wait() == 2
    assert server.errors.startswith("Error: logging_settings")
    assert message in server.errors
    assert len(server.errors.splitlines()) == 1


def stop_when_loaded(folder: Path) -> Path:
    """A plugin that interrupts its own server once the models are loaded."""
    file = folder / "stop_when_loaded.py"
    file.write_text(
        "import asyncio, contextlib, os, signal, mlsrv\n\n"
        "async def stop(kernel):\n"
        "    while not kernel.transports:\n        await asyncio.sleep(0.01)\n"
        "    await kernel.loaded()\n    os.kill(os.getpid(), signal.SIGTERM)\n\n"
        "@contextlib.asynccontextmanager\nasync def watch(kernel):\n"
        "    task = asyncio.create_task(stop(kernel))\n    yield\n    await task\n\n"
        "@mlsrv.hookimpl\ndef mlsrv_lifespan(kernel):\n    return watch(kernel)\n"
    )
    return file


def test_times_are_those_of_logging_itself() -> None:
    ours, theirs = TextFormatter(), logging.Formatter()
    record = logging.makeLogRecord({"msg": "x"})
    for created in (1000.25, 1000.75, 1001.0, 999.999, 1000.25):
        record.created, record.msecs = created, created % 1 * 1000
        assert ours.formatTime(record) == theirs.formatTime(record)
