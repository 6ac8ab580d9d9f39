"""``mlsrv config``."""

from __future__ import annotations

import json
from pathlib import Path

CLASSLESS = "VALUE = 1\n"

WITH_A_TRACE = """
from pathlib import Path
from mlsrv import MLModel

class Model(MLModel):
    async def load(self):
        Path("TRACE").touch()
"""


def test_show_tells_every_value_and_its_origin(mlsrv, only_tiny, folder: Path, add_model) -> None:
    (folder / "settings.json").write_text('{"max_in_flight": "7"}')
    place = add_model("iris", parameters={"version": "v1", "uri": "artifact"}, max_in_flight=3)
    env = {"MLSRV_SERVER_NAME": "acme", "MLSRV_MODEL_PLATFORM": "sklearn"}
    done = mlsrv("config", "show", folder, *only_tiny, "--tiny-port", "5", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    server, model = done.stdout.split("\nModel iris version v1\n")
    rows = {line.split()[0]: line.split() for line in server.splitlines()}
    assert rows["max_in_flight"][1:] == ["7", str(folder / "settings.json")]
    assert rows["server_name"][1:] == ['"acme"', "environment"]
    assert rows["tiny_port"][1:] == ["5", "command", "line"]
    assert rows["host"][1:] == ['"0.0.0.0"', "default"]
    rows = {line.split()[0]: line.split() for line in model.splitlines()}
    source = str(place / "model-settings.json")
    assert rows["max_in_flight"][1:] == ["3", source]
    assert rows["platform"][1:] == ['"sklearn"', "environment"]
    assert rows["parameters.uri"][1:] == [json.dumps(str(place / "artifact")), source]
    assert rows["implementation"][1:] == ['"code_of_it.Model"', source]
    assert rows["check_inputs"][1:] == ["true", "default"]


def test_show_all_tells_what_each_setting_means_and_whose_it_is(
    mlsrv, only_tiny, folder: Path, add_model
) -> None:
    add_model("iris")
    done = mlsrv("config", "show", folder, *only_tiny, "--all")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert "mlsrv-core" in lines["request_timeout"]
    assert "Seconds that a" in lines["request_timeout"]
    assert "Framework that trained the model" in lines["platform"]


def test_show_as_json(mlsrv, only_tiny, folder: Path, add_model) -> None:
    add_model("good")
    add_model("bad", no_such_setting=1)
    shown = json.loads(mlsrv("config", "show", folder, *only_tiny, "--json").stdout)
    port = next(value for value in shown["server"] if value["name"] == "tiny_port")
    assert port == {
        "name": "tiny_port",
        "value": 0,
        "origin": "default",
        "help": "Port of the tiny transport.",
        "distribution": "tiny",
    }
    bad, good = shown["models"]
    assert good["problems"] == []
    assert "no_such_setting" in bad["problems"][0]


def test_show_names_models_that_are_wrong(mlsrv, only_tiny, folder: Path, add_model) -> None:
    add_model("good")
    (folder / "broken").mkdir()
    (folder / "broken" / "model-settings.json").write_text("{")
    done = mlsrv("config", "show", folder, *only_tiny)
    assert done.returncode == 0
    assert (
        f"Model broken\nError: {folder / 'broken' / 'model-settings.json'}: is not valid JSON" in done.stdout
    )
    assert "Model good\n" in done.stdout


def test_check_of_a_good_folder(mlsrv, only_tiny, folder: Path, add_model) -> None:
    add_model("good")
    done = mlsrv("config", "check", folder, *only_tiny)
    assert (done.returncode, done.stderr) == (0, "")
    header, row, end = done.stdout.splitlines()
    assert header.split() == ["model", "version", "runtime", "artifact", "runs", "in", "environment"]
    assert row.split() == ["good", "-", "code_of_it.Model", "-", "inline", "-"]
    assert end == f"{folder}: no problems."


def test_check_lists_every_problem_of_the_server_and_of_the_models(
    mlsrv, only_tiny, folder: Path, add_model
) -> None:
    (folder / "settings.json").write_text('{"hots": 1, "debug": "perhaps"}')
    add_model("good")
    add_model("typo", max_in_fligt=3)
    add_model("classless", code=CLASSLESS)
    add_model("raising", code="raise RuntimeError('no licence')\n")
    add_model("unknown", implementation="no_such_runtime")
    (folder / "broken").mkdir()
    (folder / "broken" / "model-settings.json").write_text("[]")
    done = mlsrv("config", "check", folder, *only_tiny)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 7
    assert all(line.startswith(f"Error: {folder}") for line in lines)
    for part in ('did you mean "host"?', "perhaps", 'did you mean "max_in_flight"?', "Model classless"):
        assert part in done.stderr
    for part in ("no licence", 'unknown runtime "no_such_runtime"', "must hold one JSON object"):
        assert part in done.stderr


def test_check_of_two_models_of_one_name(mlsrv, only_tiny, folder: Path, add_model) -> None:
    add_model("one", name="m")
    second = add_model("two", name="m")
    done = mlsrv("config", "check", folder, *only_tiny)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"{second / 'model-settings.json'} describes m without a version" in done.stderr


def test_check_starts_and_opens_nothing(mlsrv, only_tiny, folder: Path, add_model, tmp_path: Path) -> None:
    trace = tmp_path / "loaded"
    add_model("good", code=WITH_A_TRACE.replace("TRACE", str(trace)))
    assert mlsrv("config", "check", folder, *only_tiny).returncode == 0
    assert mlsrv("config", "show", folder, *only_tiny).returncode == 0
    assert not trace.exists()


def test_check_of_a_server_without_a_transport(mlsrv, only_tiny, folder: Path) -> None:
    done = mlsrv("config", "check", folder, *only_tiny[2:])
    assert done.returncode == 2
    assert done.stderr.startswith("Error: No transport is installed and enabled")


def test_config_alone_shows_its_commands(mlsrv) -> None:
    done = mlsrv("config", "--help")
    assert done.returncode == 0
    assert "show" in done.stdout
    assert "check" in done.stdout


def test_secrets_are_not_shown(mlsrv, folder: Path, add_model, only_tiny: list[str]) -> None:
    add_model("good", parameters={"extra": {"api_token": "S3CRET", "db": "postgres://me:S3CRET@db/x"}})
    (folder / "settings.json").write_text(
        json.dumps({"logging_settings": {"handlers": {"mail": {"credentials": ["me", "S3CRET"]}}}})
    )
    env = {"MLSRV_SERVER_NAME": "http://user:S3CRET@c:4317"}
    for options in ([], ["--json"]):
        shown = mlsrv("config", "show", folder, *only_tiny, *options, env=env)
        assert shown.returncode == 0, shown.stderr
        assert "S3CRET" not in shown.stdout
        assert "api_token" in shown.stdout
        assert "postgres://me:***@db/x" in shown.stdout
        assert "http://user:***@c:4317" in shown.stdout


def test_check_of_a_model_with_an_environment_of_its_own(mlsrv, folder: Path, add_model) -> None:
    place = add_model(
        "own", code="import no_such_package\n", parameters={"environment_requirements": "requirements.txt"}
    )
    missing = mlsrv("config", "check", folder)
    assert missing.returncode == 2
    assert f"there is no file {place / 'requirements.txt'}" in missing.stderr
    (place / "requirements.txt").write_text("no-such-package")
    done = mlsrv("config", "check", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"workers  environment_requirements {place / 'requirements.txt'}" in done.stdout
    without = mlsrv("config", "check", folder, "--set", "parallel_workers=0")
    assert without.returncode == 2
    assert "set parallel_workers to 1 or more" in without.stderr


def test_check_of_a_model_without_its_artifact(mlsrv, folder: Path, add_model) -> None:
    for name in ("empty", "gone"):
        place = add_model(name, implementation="sklearn")
        (place / "code_of_it.py").unlink()
    add_model("gone2", implementation="sklearn", parameters={"uri": "absent.joblib"})
    done = mlsrv("config", "check", folder)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert "has no artifact of scikit-learn" in lines[0]
    assert "has no artifact of scikit-learn" in lines[1]
    assert "absent.joblib' is neither a file nor a folder" in lines[2]
    for name in ("empty", "gone", "gone2"):
        (folder / name / "model.joblib").write_text("{}")
    settings = folder / "gone2" / "model-settings.json"
    settings.write_text(settings.read_text().replace("absent", "model"))
    good = mlsrv("config", "check", folder)
    assert (good.returncode, good.stderr) == (0, "")
    assert f"sklearn  {folder / 'empty' / 'model.joblib'}" in " ".join(good.stdout.split(" ")).replace(
        "   ", "  "
    )


def test_the_path_may_be_in_the_environment(mlsrv, only_tiny, folder: Path, add_model) -> None:
    add_model("echo")
    found = mlsrv("config", "check", *only_tiny, env={"MLSRV_MODELS_DIR": str(folder)})
    assert found.returncode == 0, found.stderr
    assert f"{folder}: no problems." in found.stdout
    missing = mlsrv("config", "check", *only_tiny, env={"MLSRV_MODELS_DIR": str(folder / "missing")})
    assert missing.returncode == 2
    assert f'There is no file or folder "{folder / "missing"}"' in missing.stderr
    assert "Missing argument" in mlsrv("config", "check", *only_tiny).stderr
