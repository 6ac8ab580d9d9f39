"""Model sources: given models, the repository, the environment."""

import logging
from typing import Any

import pytest
from kernel_parts import Shelf, model, shelved

import mlsrv
from mlsrv import Kernel
from mlsrv.errors import ConfigurationError, RepositoryError
from mlsrv.repository import BrokenModel, ModelRepository
from mlsrv.testing import EchoModel, MemoryRepository, Offering


def named(listing: list[Any]) -> list[tuple[str, str | None]]:
    return [(found.name, found.version) for found in listing]


async def test_given_models_come_before_those_of_the_repository() -> None:
    kernel = Kernel(
        {
            "model_repository_root": "shelf",
            "model_repository_implementation": "mlsrv.testing.MemoryRepository",
            "model_repository_implementation_args": {"models": [model("b"), model("a", version="v1")]},
        },
        models=[model("z")],
        discover=False,
    )
    assert named(await kernel.listing()) == [("z", None), ("b", None), ("a", "v1")]


async def test_without_a_root_there_is_no_repository() -> None:
    assert await Kernel(discover=False).listing() == []


async def test_a_model_that_two_sources_list_is_listed_once(caplog: pytest.LogCaptureFixture) -> None:
    first = model("m", version="v1")
    broken = BrokenModel("m", "/models/b/model-settings.json", "the name is taken", "v1")
    listing = await shelved([first, broken, model("m", version="v1"), model("m")]).listing()
    assert listing[0] is first
    assert named(listing) == [("m", "v1"), ("m", None)]
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "Model m version v1 of /models/b/model-settings.json is left out: the name is taken",
        ),
        (logging.WARNING, "Model m version v1 of code is left out: another one of this name comes first"),
    ]


def test_a_model_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Kernel(
            models=[model("m"), model("m"), model("n", version="1"), model("n", version="1")], discover=False
        )
    assert caught.value.problems == ["The model m was given twice.", "The model n version 1 was given twice."]


async def test_the_repository_is_made_once_and_asked_each_time() -> None:
    models: list[Any] = []
    kernel = shelved(models)
    assert await kernel.listing() == []
    models.append(model("late"))
    assert named(await kernel.listing()) == [("late", None)]
    assert kernel._sources.repository() is kernel._sources.repository()


async def test_an_exception_of_a_repository_is_a_repository_error() -> None:
    with pytest.raises(
        RepositoryError, match=r"^The model repository cannot be read: OSError: disk on fire$"
    ):
        await shelved([OSError("disk on fire")]).listing()
    with pytest.raises(ConfigurationError, match=r"^no such bucket$"):
        await shelved([ConfigurationError("no such bucket")]).listing()


class Picky(ModelRepository):
    def __init__(self, root: str, depth: int) -> None:
        super().__init__(root)

    async def list(self) -> Any:
        return []


class Refusing(Picky):
    def __init__(self, root: str) -> None:
        raise ConfigurationError(f"{root}: is not a folder.")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model_repository_implementation": None}, "No model repository is installed; install one"),
        (
            {"model_repository_implementation": "nothing"},
            'model_repository_implementation: unknown "nothing"; installed are none.',
        ),
        (
            {"model_repository_implementation": "nowhere.Repository"},
            "model_repository_implementation: nowhere.Repository cannot be imported: ModuleNotFoundError",
        ),
        (
            {"model_repository_implementation": "mlsrv.testing:EchoModel"},
            "model_repository_implementation: mlsrv.testing:EchoModel is <class",
        ),
        (
            {
                "model_repository_implementation": "mlsrv.testing.MemoryRepository",
                "model_repository_implementation_args": {"depth": 3},
            },
            "The model repository mlsrv.testing.MemoryRepository cannot be made: TypeError",
        ),
    ],
)
async def test_a_repository_that_cannot_be_made(settings: dict[str, Any], sentence: str) -> None:
    kernel = Kernel({"model_repository_root": "x", **settings}, discover=False)
    with pytest.raises(ConfigurationError) as caught:
        await kernel.listing()
    assert str(caught.value).startswith(sentence)
    with pytest.raises(ConfigurationError):
        await kernel.__aenter__()


async def test_a_repository_that_refuses_its_root() -> None:
    kernel = Kernel(
        {"model_repository_root": "x"},
        plugins=[Offering(mlsrv.RepositoryOffer("picky", Refusing))],
        discover=False,
    )
    with pytest.raises(ConfigurationError, match=r"^x: is not a folder"):
        await kernel.listing()


def test_the_repository_with_the_highest_priority_is_the_default() -> None:
    offers = [
        mlsrv.RepositoryOffer("abc", Picky),
        mlsrv.RepositoryOffer("toys", MemoryRepository, priority=1),
        mlsrv.RepositoryOffer("zoo", Picky, priority=1),
    ]
    kernel = Kernel({"model_repository_root": "x"}, plugins=[Offering(*offers)], discover=False)
    assert type(kernel._sources.repository()) is MemoryRepository


def test_the_only_repository_is_the_default() -> None:
    offer = mlsrv.RepositoryOffer("shelf", Shelf)
    kernel = Kernel({"model_repository_root": "x"}, plugins=[Offering(offer)], discover=False)
    assert type(kernel._sources.repository()) is Shelf


async def test_find_asks_for_one_name() -> None:
    kernel = shelved([model("a"), model("b", version="1"), model("b", version="2")])
    assert named(await kernel._sources.find("b")) == [("b", "1"), ("b", "2")]
    assert await kernel._sources.find("c") == []


async def test_find_gives_each_version_once() -> None:
    first = model("a")
    assert await shelved([first, model("a")])._sources.find("a") == [first]


async def test_a_broken_listing_without_a_version_is_kept() -> None:
    listing = await shelved([BrokenModel("m", "f", "no JSON"), model("n", EchoModel)]).listing()
    assert named(listing) == [("m", None), ("n", None)]
