"""Discovery in real folders, and what a kernel makes of it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mlsrv_files.repository
from mlsrv import Kernel, ModelSettings, Settings
from mlsrv.errors import ConfigurationError
from mlsrv.repository import BrokenModel
from mlsrv.testing import text_request
from mlsrv_files import FilesRepository, plugin
from mlsrv_files.search import settings_files


def write(folder: Path, **values: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model-settings.json"
    path.write_text(json.dumps(values))
    return path


async def listed(root: Path) -> list[ModelSettings | BrokenModel]:
    return await FilesRepository(str(root)).list()


async def names(root: Path) -> list[str]:
    return [model.name for model in await listed(root)]


# --- discovery ---


async def test_every_depth_is_searched_in_the_order_of_the_paths(tmp_path: Path) -> None:
    write(tmp_path, name="root")
    for folder in ("b", "a/deep/er", "a", "c/1", "c/2"):
        write(tmp_path / folder, name=folder.replace("/", "-"))
    (tmp_path / "a" / "other.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    assert await names(tmp_path) == ["root", "a", "a-deep-er", "b", "c-1", "c-2"]


async def test_hidden_folders_are_skipped_unless_they_are_the_root(tmp_path: Path) -> None:
    write(tmp_path / ".hidden" / "a")
    write(tmp_path / "seen" / ".git")
    write(tmp_path / "seen")
    assert await names(tmp_path) == ["seen"]
    assert await names(tmp_path / ".hidden") == ["a"]


async def test_linked_folders_and_files_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write(tmp_path / "elsewhere" / "inner")
    file = write(tmp_path / "single", name="single")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "z").mkdir()
    (root / "z" / "model-settings.json").symlink_to(file)
    found = await listed(root)
    assert [model.name for model in found] == ["inner", "single"]
    assert isinstance(found[0], ModelSettings)
    assert found[0].folder == root / "linked" / "inner"


async def test_cycles_of_links_end(tmp_path: Path) -> None:
    write(tmp_path / "a" / "model")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert await names(tmp_path) == ["model"]


async def test_a_folder_that_is_linked_twice_is_two_models_unless_it_names_one(tmp_path: Path) -> None:
    for shared, values in (("named", {"name": "m"}), ("nameless", {})):
        write(tmp_path / "shared" / shared, **values)
        for link in ("x", "y"):
            (tmp_path / "root" / shared).mkdir(parents=True, exist_ok=True)
            (tmp_path / "root" / shared / link).symlink_to(tmp_path / "shared" / shared)
    found = await listed(tmp_path / "root")
    assert [model.name for model in found] == ["m", "x", "y"]
    assert all(isinstance(model, ModelSettings) for model in found)


async def test_a_relative_root_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "only")
    monkeypatch.chdir(tmp_path / "only")
    [found] = await listed(Path("."))
    assert found.name == "only"
    assert isinstance(found, ModelSettings)
    assert found.parameters.uri == str(tmp_path / "only")


async def test_an_unreadable_folder_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "good")
    write(tmp_path / "lost+found")
    scandir = os.scandir

    def refusing(folder: str) -> Any:  # a real one would not refuse a superuser who runs the tests
        if Path(folder).name == "lost+found":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    assert await names(tmp_path) == ["good"]
    assert "lost+found is skipped: Permission denied" in caplog.text


async def test_versions_come_from_the_parameters_alone(tmp_path: Path) -> None:
    write(tmp_path / "m" / "7", name="m", parameters={"version": "1"})
    write(tmp_path / "m" / "8", name="m")
    found = await listed(tmp_path)
    assert [(model.name, model.version) for model in found] == [("m", "1"), ("m", None)]


async def test_find_gives_every_version_of_one_model_as_the_files_are_now(tmp_path: Path) -> None:
    write(tmp_path / "other")
    repository = FilesRepository(str(tmp_path))
    assert await repository.find("m") == []
    write(tmp_path / "1", name="m", parameters={"version": "1"})
    write(tmp_path / "2", name="m", parameters={"version": "2"})
    assert [model.version for model in await repository.find("m")] == ["1", "2"]


async def test_the_event_loop_runs_while_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, may_go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow_search(root: Path) -> Iterator[Path]:
        loop.call_soon_threadsafe(reached.set)
        assert may_go_on.wait(30)
        return settings_files(root)

    monkeypatch.setattr(mlsrv_files.repository, "settings_files", slow_search)
    write(tmp_path / "m")
    listing = asyncio.create_task(names(tmp_path))
    await asyncio.wait_for(reached.wait(), 30)
    may_go_on.set()
    assert await asyncio.wait_for(listing, 30) == ["m"]


# --- what is wrong ---


@pytest.mark.parametrize(
    ("text", "name", "version", "reason"),
    [
        ("{", "folder", None, "is not valid JSON at line 1, column 2"),
        ("[]", "folder", None, "must hold one JSON object"),
        ("[" * 100_000, "folder", None, "is not valid JSON"),
        ("\xff", "folder", None, "it is not UTF-8 text"),
        ('{"name": 7}', "folder", None, "name: expected a text, got 7"),
        ('{"model": "m", "implementation": 7}', "m", None, "implementation: expected a text"),
        (
            '{"name": "m", "parameters": {"version": "3", "uri": 1}}',
            "m",
            "3",
            "parameters.uri: expected a text",
        ),
        ('{"name": "m", "inputs": [{"name": "x"}]}', "m", None, "inputs[0]"),
        ('{"name": ".."}', "folder", None, "name: '..' cannot be the name of a model."),
        ('{"name": "."}', "folder", None, "cannot be the name of a model."),
        ('{"name": "a/b"}', "folder", None, "cannot be the name of a model."),
        ('{"name": "a\\\\b"}', "folder", None, "cannot be the name of a model."),
        ('{"name": " a"}', "folder", None, "cannot be the name of a model."),
        ('{"name": "a\\u0000"}', "folder", None, "cannot be the name of a model."),
        ('{"name": "a\\u0085"}', "folder", None, "cannot be the name of a model."),
        ('{"name": "a\\ud800"}', "folder", None, "cannot be the name of a model."),
        ('{"name": "stats"}', "folder", None, "name: 'stats' cannot be the name of a model."),
    ],
)
async def test_a_broken_file_keeps_its_place_with_its_reason(
    tmp_path: Path, text: str, name: str, version: str | None, reason: str
) -> None:
    write(tmp_path / "a")
    path = write(tmp_path / "folder")
    path.write_bytes(text.encode("latin-1"))
    write(tmp_path / "z")
    first, broken, last = await listed(tmp_path)
    assert (first.name, last.name) == ("a", "z")
    assert isinstance(broken, BrokenModel)
    assert (broken.name, broken.version, broken.source) == (name, version, str(path))
    assert str(path) in broken.reason
    assert reason in broken.reason
    assert "\n" not in broken.reason


async def test_a_dangling_link_is_a_broken_model(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model-settings.json").symlink_to(tmp_path / "gone")
    [broken] = await listed(tmp_path)
    assert isinstance(broken, BrokenModel)
    assert broken.name == "m"
    assert "cannot be read: No such file or directory" in broken.reason


async def test_a_named_pipe_is_a_broken_model(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    os.mkfifo(tmp_path / "m" / "model-settings.json")
    [broken] = await asyncio.wait_for(listed(tmp_path), 30)
    assert isinstance(broken, BrokenModel)
    assert "is not a regular file" in broken.reason


async def test_a_duplicate_names_both_files(tmp_path: Path) -> None:
    first = write(tmp_path / "a", name="m", parameters={"version": "1"})
    second = write(tmp_path / "b", name="m", parameters={"version": 1})
    write(tmp_path / "c", name="m")
    good, broken, other = await listed(tmp_path)
    assert isinstance(good, ModelSettings)
    assert isinstance(other, ModelSettings)
    assert isinstance(broken, BrokenModel)
    assert (broken.name, broken.version, broken.source) == ("m", "1", str(second))
    assert broken.reason.startswith(f"{second} describes m version 1, but {first} already does")


async def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(ConfigurationError, match=f"^model_repository_root: {gone} does not exist\\.$"):
        FilesRepository(str(gone))
    gone.write_text("")
    with pytest.raises(ConfigurationError, match=f"^model_repository_root: {gone} is not a folder\\.$"):
        FilesRepository(str(gone))
    gone.unlink()
    gone.mkdir()
    repository = FilesRepository(str(gone))
    assert await repository.list() == []
    gone.rmdir()
    with pytest.raises(ConfigurationError, match="does not exist"):
        await repository.list()


def test_further_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r'the repository "files" takes none, but got bucket, key\.$'
    ):
        FilesRepository(str(tmp_path), key=1, bucket=2)


async def test_many_models_are_listed_in_little_time(tmp_path: Path) -> None:
    for index in range(500):
        write(tmp_path / f"{index:03}")
    started = time.monotonic()
    assert len(await listed(tmp_path)) == 500
    assert time.monotonic() - started < 20


# --- in a kernel ---


def kernel_of(root: Path) -> Kernel:
    return Kernel(Settings(model_repository_root=str(root)), plugins=[plugin], discover=False)


async def test_a_kernel_serves_what_is_there_and_tells_what_is_broken(tmp_path: Path) -> None:
    write(tmp_path / "echo", implementation="mlsrv.testing.EchoModel")
    write(tmp_path / "bad").write_text("{")
    async with kernel_of(tmp_path) as kernel:
        await kernel.loaded()
        response = await kernel.infer(text_request("echo", ["hello"]))
        assert response.outputs[0].data == ["hello"]
        [bad, echo] = await kernel.index()
        assert (bad.name, bad.state) == ("bad", "UNAVAILABLE")
        assert "is not valid JSON" in bad.reason
        assert (echo.name, echo.state) == ("echo", "READY")
        assert not kernel.ready


async def test_a_kernel_does_not_start_without_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        async with kernel_of(tmp_path / "gone"):
            pass
