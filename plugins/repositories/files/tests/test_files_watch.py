"""Repository watch: a kernel serves new files of a real folder without a load request."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mlsrv import Kernel, ModelSettings, Settings
from mlsrv.errors import MLSrvError
from mlsrv.testing import EchoModel, text_request
from mlsrv_files import FilesRepository, plugin
from mlsrv_testing.contracts.running import eventually

MODEL = """
from pathlib import Path

from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput


class Says(MLModel):
    def load(self):
        self.words = Path(self.settings.parameters.uri).read_text()
        if not self.words:
            raise ValueError("the artifact is empty")

    def predict(self, payload):
        return InferenceResponse(outputs=[ResponseOutput("words", [1], "BYTES", [self.words])])
"""

Looks = Callable[[int], Awaitable[None]]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Waits until the repository was looked at so many times from now on."""
    count = 0
    stamps = FilesRepository.stamps

    async def counted(self: FilesRepository) -> Any:
        nonlocal count
        found = await stamps(self)
        count += 1
        return found

    async def more(wanted: int) -> None:
        end = count + wanted
        await eventually("another look at the repository", lambda: count >= end)

    monkeypatch.setattr(FilesRepository, "stamps", counted)
    return more


def write(root: Path, name: str, words: str, version: str | None = None, **fields: Any) -> Path:
    """A model that says these words."""
    folder = root / name / (version or "")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "models.py").write_text(MODEL)
    (folder / "words.txt").write_text(words)
    parameters = {"uri": "words.txt", "version": version}
    values = {"name": name, "implementation": "models.Says", "parameters": parameters, **fields}
    (folder / "model-settings.json").write_text(json.dumps(values))
    return folder


def watching(root: Path, **settings: Any) -> Kernel:
    given = Settings(**{"model_repository_root": str(root), "model_repository_poll": 0.02, **settings})
    return Kernel(given, plugins=[plugin], discover=False)


async def ask(kernel: Kernel, name: str, version: str | None = None) -> str:
    request = text_request(name, ["?"])
    request.model_version = version
    try:
        return str((await kernel.infer(request)).outputs[0].data[0])
    except MLSrvError as error:
        return str(error.code)


async def until(kernel: Kernel, name: str, answer: str, version: str | None = None) -> None:
    """Wait until a model gives an answer, or fails with a code."""

    async def test() -> bool:
        return await ask(kernel, name, version) == answer

    await eventually(f"{name} answering {answer}", test)


async def until_reason(kernel: Kernel, name: str, reason: str) -> None:
    await eventually(f"the reason {reason}", lambda: reason in kernel.handle(name).reason)


# --- what comes, changes and goes ---


async def test_a_new_folder_is_loaded(tmp_path: Path) -> None:
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        assert kernel.model_names() == []
        write(tmp_path, "late", "here")
        await until(kernel, "late", "here")
        assert kernel.ready


async def test_a_changed_artifact_is_reloaded_without_a_gap(tmp_path: Path) -> None:
    folder = write(tmp_path, "m", "one")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        (folder / "words.txt").write_text("two")
        seen = set()

        async def changed() -> bool:
            seen.add(await ask(kernel, "m"))
            return "two" in seen

        await eventually("the new words", changed)
        assert seen == {"one", "two"}


async def test_an_artifact_outside_of_the_model_s_folder_counts(tmp_path: Path) -> None:
    elsewhere = tmp_path / "artifacts" / "words.txt"
    elsewhere.parent.mkdir()
    elsewhere.write_text("one")
    write(tmp_path / "models", "m", "unused", parameters={"uri": str(elsewhere)})
    async with watching(tmp_path / "models") as kernel:
        await kernel.loaded()
        assert await ask(kernel, "m") == "one"
        elsewhere.write_text("two")
        await until(kernel, "m", "two")


async def test_changed_settings_and_code_are_reloaded(tmp_path: Path) -> None:
    folder = write(tmp_path, "m", "one")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        (folder / "other.txt").write_text("two")
        write(tmp_path, "m", "one", parameters={"uri": "other.txt"})
        await until(kernel, "m", "two")
        (folder / "models.py").write_text(MODEL.replace("[self.words]", "[self.words.upper()]"))
        await until(kernel, "m", "TWO")


async def test_a_swapped_link_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes' volumes and git-sync replace what they show."""
    for release in ("1", "2"):
        write(tmp_path / release, "m", f"release {release}")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "live").symlink_to(tmp_path / "1")
    async with watching(tmp_path / "root") as kernel:
        await kernel.loaded()
        assert await ask(kernel, "m") == "release 1"
        (tmp_path / "next").symlink_to(tmp_path / "2")
        (tmp_path / "next").replace(tmp_path / "root" / "live")
        await until(kernel, "m", "release 2")


async def test_a_removed_folder_is_unloaded(tmp_path: Path) -> None:
    write(tmp_path, "stays", "here")
    folder = write(tmp_path, "goes", "there")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        shutil.rmtree(folder)
        await until(kernel, "goes", "NOT_FOUND")
        await eventually("the model being forgotten", lambda: kernel.model_names() == ["stays"])
        assert kernel.ready
        write(tmp_path, "goes", "back")
        await until(kernel, "goes", "back")


async def test_versions_come_and_go(tmp_path: Path) -> None:
    write(tmp_path, "m", "one", "1")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        second = write(tmp_path, "m", "two", "2")
        await until(kernel, "m", "two")
        assert await ask(kernel, "m", "1") == "one"
        shutil.rmtree(second)
        await until(kernel, "m", "NOT_FOUND", "2")
        assert await ask(kernel, "m") == "one"


async def test_a_renamed_model_is_served_by_its_new_name_alone(tmp_path: Path) -> None:
    write(tmp_path, "old", "words")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        path = tmp_path / "old" / "model-settings.json"
        path.write_text(path.read_text().replace('"old"', '"new"'))
        await until(kernel, "new", "words")
        await until(kernel, "old", "NOT_FOUND")


async def test_another_version_in_the_same_file_takes_over_when_it_serves(tmp_path: Path) -> None:
    folder = write(tmp_path, "m", "one", parameters={"uri": "words.txt", "version": "1"})
    path = folder / "model-settings.json"
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        (folder / "words.txt").write_text("")
        path.write_text(path.read_text().replace('"version": "1"', '"version": "2"'))
        await eventually("the other version", lambda: len(kernel.registry.versions("m")) == 2)
        await eventually("its reason", lambda: "is empty" in kernel.handle("m", "2").reason)
        assert await ask(kernel, "m") == "one"
        (folder / "words.txt").write_text("two")
        seen = set()

        async def changed() -> bool:
            seen.add(await ask(kernel, "m"))
            return "two" in seen

        await eventually("the new version", changed)
        assert seen <= {"one", "two"}
        await until(kernel, "m", "NOT_FOUND", "1")


async def test_the_second_of_two_files_serves_when_the_first_is_removed(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder, "m", folder)
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        assert await ask(kernel, "m") == "a"
        shutil.rmtree(tmp_path / "a")
        await until(kernel, "m", "b")


async def test_unchanged_models_are_not_loaded_again(tmp_path: Path, looks: Looks) -> None:
    folder = write(tmp_path, "m", "one")
    write(tmp_path / "m", "inner", "other model")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        instance = kernel.handle("m").instance
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "models.pyc").write_text("")
        (folder / ".hidden").write_text("")
        write(tmp_path / "m", "inner", "changed")
        await until(kernel, "inner", "changed")
        await looks(3)
        assert kernel.handle("m").instance is instance


async def test_models_of_the_application_are_left_alone(tmp_path: Path, looks: Looks) -> None:
    own = ModelSettings(name="own", implementation=EchoModel)
    settings = {"model_repository_root": str(tmp_path), "model_repository_poll": 0.02}
    async with Kernel(settings, models=[own], plugins=[plugin], discover=False) as kernel:
        await kernel.loaded()
        write(tmp_path, "m", "one")
        await until(kernel, "m", "one")
        shutil.rmtree(tmp_path / "m")
        await until(kernel, "m", "NOT_FOUND")
        assert await ask(kernel, "own") == "?"


# --- what is wrong ---


async def test_a_half_written_artifact_leaves_what_serves(tmp_path: Path) -> None:
    folder = write(tmp_path, "m", "one")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        (folder / "words.txt").write_text("")
        await until_reason(kernel, "m", "The last reload failed")
        assert await ask(kernel, "m") == "one"
        assert kernel.ready
        (folder / "words.txt").write_text("two")
        await until(kernel, "m", "two")
        assert kernel.handle("m").reason == ""


async def test_a_file_that_is_still_being_written_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path, "m", "one")
    pieces = ["more "] * 20
    seen = set()
    stamps = FilesRepository.stamps

    async def written_before_each_look(self: FilesRepository) -> Any:
        if pieces:
            seen.add(await ask(kernel, "m"))
            with (folder / "words.txt").open("a") as file:
                file.write(pieces.pop())
        return await stamps(self)

    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        monkeypatch.setattr(FilesRepository, "stamps", written_before_each_look)
        await until(kernel, "m", "one" + "more " * 20)
        assert seen == {"one"}


async def test_broken_settings_leave_what_serves(tmp_path: Path) -> None:
    """Though a broken file may not even tell the name any more."""
    write(tmp_path / "folder", "m", "one")
    path = tmp_path / "folder" / "m" / "model-settings.json"
    good = path.read_text()
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        path.write_text('{"name": ')
        await until_reason(kernel, "m", "is not valid JSON")
        assert await ask(kernel, "m") == "one"
        path.write_text(good)
        await eventually("the reload", lambda: kernel.handle("m").reason == "")
        assert kernel.model_names() == ["m"]


async def test_a_new_model_that_fails_does_not_take_the_server_down(tmp_path: Path) -> None:
    write(tmp_path, "good", "fine")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        folder = write(tmp_path, "bad", "")
        await eventually("a known model", lambda: "bad" in kernel.model_names())
        await until_reason(kernel, "bad", "the artifact is empty")
        assert kernel.ready
        (folder / "words.txt").write_text("better")
        await until(kernel, "bad", "better")


async def test_a_model_that_failed_at_the_start_is_mended(tmp_path: Path) -> None:
    folder = write(tmp_path, "m", "")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        assert not kernel.ready
        (folder / "words.txt").write_text("better")
        await until(kernel, "m", "better")
        assert kernel.ready


async def test_a_failure_is_not_repeated_until_something_changes(
    tmp_path: Path, looks: Looks, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, "m", "one")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        (folder / "words.txt").write_text("")
        await until_reason(kernel, "m", "The last reload failed")
        await looks(4)
    assert caplog.text.count("keeps its previous instance") == 1


async def test_a_repository_that_is_away_is_one_warning(
    tmp_path: Path, looks: Looks, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "root"
    write(root, "m", "one")
    caplog.set_level("INFO")
    async with watching(root) as kernel:
        await kernel.loaded()
        root.rename(tmp_path / "away")
        await eventually("a warning", lambda: "until the repository can be read" in caplog.text)
        assert await ask(kernel, "m") == "one"
        (tmp_path / "away").rename(root)
        await looks(3)
        assert await ask(kernel, "m") == "one"
        assert caplog.text.count("until the repository can be read") == 1
        assert caplog.text.count("can be read again") == 1
        (root / "m" / "words.txt").write_text("two")
        await until(kernel, "m", "two")


@pytest.mark.parametrize("which", ["", "group"])
async def test_a_folder_that_cannot_be_read_keeps_its_models(
    tmp_path: Path,
    looks: Looks,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    which: str,
) -> None:
    write(tmp_path / "group", "m", "one")
    scandir = os.scandir

    def refusing(path: str) -> Any:  # a real one would not refuse a superuser who runs the tests
        if Path(path) == tmp_path / which:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        monkeypatch.setattr(os, "scandir", refusing)
        await eventually("a warning", lambda: "Permission denied" in caplog.text)
        write(tmp_path, "other", "new")
        if which:
            await looks(4)
        assert await ask(kernel, "m") == "one"
        assert caplog.text.count("Permission denied") <= 2
        monkeypatch.setattr(os, "scandir", scandir)
        await until(kernel, "other", "new")
        assert await ask(kernel, "m") == "one"


async def test_a_model_that_writes_into_its_folder_is_not_reloaded_for_ever(
    tmp_path: Path, looks: Looks, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, "m", "one")
    noting = "        with (Path(__file__).parent / 'log.txt').open('a') as file: file.write('loaded ')\n"
    (folder / "models.py").write_text(MODEL.replace("        if not", noting + "        if not"))
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        await eventually("a warning", lambda: "changes whenever it is loaded" in caplog.text)
        loads = (folder / "log.txt").read_text().count("loaded")
        assert loads <= 4
        await looks(4)
        assert (folder / "log.txt").read_text().count("loaded") == loads
        (folder / "words.txt").write_text("two")
        await until(kernel, "m", "two")


# --- beside the API ---


async def test_a_model_that_was_unloaded_on_purpose_stays_so(tmp_path: Path, looks: Looks) -> None:
    folder = write(tmp_path, "m", "one")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        await kernel.unload("m")
        (folder / "words.txt").write_text("two")
        await looks(4)
        assert await ask(kernel, "m") == "NOT_READY"
        await kernel.load("m")
        assert await ask(kernel, "m") == "two"
        (folder / "words.txt").write_text("three")
        await until(kernel, "m", "three")


async def test_a_model_that_was_unloaded_comes_back_with_its_folder(tmp_path: Path, looks: Looks) -> None:
    folder = write(tmp_path, "m", "one")
    async with watching(tmp_path) as kernel:
        await kernel.loaded()
        await kernel.unload("m")
        shutil.rmtree(folder)
        await eventually("the model being forgotten", lambda: kernel.model_names() == [])
        write(tmp_path, "m", "two")
        await until(kernel, "m", "two")


async def test_a_load_on_demand_is_not_repeated(tmp_path: Path, looks: Looks) -> None:
    folder = write(tmp_path, "m", "one")
    async with watching(tmp_path, model_repository_poll=0.2) as kernel:
        await kernel.loaded()
        (folder / "words.txt").write_text("two")
        await kernel.load("m")
        instance = kernel.handle("m").instance
        await looks(3)
        assert kernel.handle("m").instance is instance


async def test_models_that_are_not_loaded_at_the_start_wait_to_be_asked_for(
    tmp_path: Path, looks: Looks
) -> None:
    folder = write(tmp_path, "m", "one")
    async with watching(tmp_path, load_models_at_startup=False) as kernel:
        await kernel.loaded()
        (folder / "words.txt").write_text("two")
        write(tmp_path, "new", "words")
        await until(kernel, "new", "words")
        await looks(3)
        assert await ask(kernel, "m") == "NOT_READY"
        await kernel.load("m")
        (folder / "words.txt").write_text("three")
        await until(kernel, "m", "three")
