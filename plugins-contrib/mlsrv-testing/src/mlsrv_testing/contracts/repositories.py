"""Contract of model repositories: the cases that each must pass."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from mlsrv.controlplane.loader import check_name
from mlsrv.errors import MLSrvError
from mlsrv.repository import BrokenModel, ModelRepository
from mlsrv.settings import ModelSettings
from mlsrv_testing.contracts.running import run


class RepositoryContract(ABC):
    """Cases for a `ModelRepository`. Each begins with an empty folder of its own, as `root`, in which a
    repository may keep whatever it needs. Override `make` and `add`, and `spoil` where it can happen."""

    @abstractmethod
    def make(self, root: Path) -> ModelRepository:
        """A repository over what `add` put there; an empty one at first."""

    @abstractmethod
    def add(self, root: Path, name: str, version: str | None = None) -> None:
        """Put a model there that can be loaded."""

    def spoil(self, root: Path, name: str) -> None:
        """Put something there that looks like a model and cannot be read."""
        pytest.skip("nothing in this repository can be unreadable")

    def test_an_empty_repository_is_empty(self, tmp_path: Path) -> None:
        """No models are an empty list.

        Guards against: a server that does not start because nothing was deployed yet.
        """
        assert run(self.make(tmp_path).list()) == []

    def test_every_model_and_version_is_listed(self, tmp_path: Path) -> None:
        """With names and versions, as `ModelSettings`.

        Guards against: versions that hide each other.
        """
        for name, version in (("a", None), ("b", "v9"), ("b", "v10")):
            self.add(tmp_path, name, version)
        found = run(self.make(tmp_path).list())
        assert all(isinstance(one, ModelSettings) for one in found)
        assert {(one.name, one.version) for one in found} == {("a", None), ("b", "v9"), ("b", "v10")}
        for one in found:
            check_name(one.name)

    def test_the_order_is_always_the_same(self, tmp_path: Path) -> None:
        """Two listings, of two repositories over the same contents, agree.

        Guards against: a winner among duplicates that depends on the file system.
        """
        for name in ("zebra", "ant", "Mule", "bee"):
            self.add(tmp_path, name)
        first, second = run(self.make(tmp_path).list()), run(self.make(tmp_path).list())
        assert [one.name for one in first] == [one.name for one in second]

    def test_it_is_read_afresh(self, tmp_path: Path) -> None:
        """A model that is added later is in the next listing of the same repository.

        Guards against: models that can only be deployed by a restart.
        """

        async def case() -> None:
            repository = self.make(tmp_path)
            assert await repository.list() == []
            self.add(tmp_path, "late")
            assert [one.name for one in await repository.list()] == ["late"]
            assert [one.name for one in await repository.find("late")] == ["late"]

        run(case())

    def test_find_agrees_with_list(self, tmp_path: Path) -> None:
        """`find` gives the versions of one model and no other; of an unknown one, nothing.

        Guards against: a load that brings other models along, or fails instead of answering "not found".
        """

        async def case() -> None:
            repository = self.make(tmp_path)
            for name in ("a", "ab", "b"):
                self.add(tmp_path, name, "v1")
            assert [(one.name, one.version) for one in await repository.find("a")] == [("a", "v1")]
            assert await repository.find("nothing") == []
            for name in ("..", "../a", "a/../b", ""):
                assert await repository.find(name) == [], f"find({name!r}) found something"

        run(case())

    def test_each_listing_has_settings_of_its_own(self, tmp_path: Path) -> None:
        """Changes of a caller to listed settings are not in the next listing.

        Guards against: a model that sees the settings of an earlier load.
        """

        async def case() -> None:
            self.add(tmp_path, "a")
            repository = self.make(tmp_path)
            for one in await repository.list():
                assert isinstance(one, ModelSettings)
                one.parameters.extra["changed"] = True
                one.name = "changed"
            again = await repository.list()
            assert [one.name for one in again] == ["a"]
            assert all(isinstance(one, ModelSettings) and not one.parameters.extra for one in again)

        run(case())

    def test_many_may_ask_at_once(self, tmp_path: Path) -> None:
        """Concurrent listings agree.

        Guards against: a listing that is half of one state and half of another, for want of a lock.
        """

        async def case() -> None:
            for name in ("a", "b", "c"):
                self.add(tmp_path, name)
            repository = self.make(tmp_path)
            listings = await asyncio.gather(*(repository.list() for _ in range(10)))
            assert all([one.name for one in found] == ["a", "b", "c"] for found in map(_sorted, listings))

        run(case())

    def test_what_tells_a_change(self, tmp_path: Path) -> None:
        """A repository that can be watched has a stamp for the source of each model, the same as long as
        nothing changes.

        Guards against: models that are loaded again and again, or never.
        """

        async def case() -> None:
            self.add(tmp_path, "a")
            repository = self.make(tmp_path)
            first = await repository.stamps()
            if first is None:
                pytest.skip("this repository cannot be watched")
            assert first == await repository.stamps()
            self.add(tmp_path, "b")
            second = await repository.stamps()
            assert second is not None
            assert first.items() < second.items()
            assert set(second) == {str(one.source) for one in await repository.list()}

        run(case())

    def test_an_unreadable_model_keeps_its_place(self, tmp_path: Path) -> None:
        """It is listed as a `BrokenModel` with a reason, and the others are listed all the same.

        Guards against: one broken file that empties the server, or that is not reported.
        """

        async def case() -> None:
            self.add(tmp_path, "good")
            self.spoil(tmp_path, "bad")
            found = {one.name: one for one in await self.make(tmp_path).list()}
            assert isinstance(found["good"], ModelSettings)
            broken = found["bad"]
            assert isinstance(broken, BrokenModel)
            assert broken.reason.strip()
            assert broken.source
            assert "\n" not in broken.reason

        run(case())

    def test_a_root_that_is_not_there(self, tmp_path: Path) -> None:
        """It is an error of ours with the root in its sentence, or an empty repository; never a traceback.

        Guards against: a misspelt path that looks like a crash.
        """
        root = tmp_path / "not there"
        problem = ""
        try:
            assert run(self.make(root).list()) == []
        except MLSrvError as error:
            problem = str(error)
        assert not problem or str(root) in problem


def _sorted(found: list[ModelSettings | BrokenModel]) -> list[ModelSettings | BrokenModel]:
    return sorted(found, key=lambda one: one.name)
