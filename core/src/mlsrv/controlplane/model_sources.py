"""Model sources: the models a kernel was given, those of its repository and of the environment."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from mlsrv.errors import ConfigurationError, MLSrvError, RepositoryError
from mlsrv.plugins.factory import resolve_class
from mlsrv.plugins.manager import Plugins
from mlsrv.plugins.offers import RepositoryOffer
from mlsrv.repository import BrokenModel, Listing, ModelRepository
from mlsrv.settings import KernelSettings, ModelSettings
from mlsrv.settings.model_environment import ModelEnvironment
from mlsrv_settings_kit.known_plugins import first_choice

logger = logging.getLogger("mlsrv.models")

_T = TypeVar("_T")


class ModelSources:
    """Every model that could be loaded.

    Args:
        given: models that an application hands over; they come first.
        plugins: who offers repositories.
        settings: which repository to use, and its root.
        environment: describes one model where there is no other.

    Raises:
        ConfigurationError: two of the given models have the same name and version.
    """

    def __init__(
        self,
        given: Sequence[ModelSettings],
        plugins: Plugins,
        settings: KernelSettings,
        environment: ModelEnvironment | None,
    ) -> None:
        self.given = tuple(given)
        self._plugins = plugins
        self._settings = settings
        self._environment = environment
        self._repository: ModelRepository | None = None
        twice = [model for index, model in enumerate(given) if _key(model) in map(_key, given[:index])]
        if twice:
            raise ConfigurationError([f"The model {_named(model)} was given twice." for model in twice])

    async def listing(self, left_out: bool = False) -> list[Listing]:
        """Every model and version, read afresh; where two claim one name and version, the first one counts,
        and the others are there, as a `BrokenModel` each, only with `left_out`.

        Raises:
            ConfigurationError: there is no such repository.
            RepositoryError: it cannot be read.
        """
        repository = self.repository()
        if repository is None:
            found: Sequence[Listing] = self.given
        else:
            found = [*self.given, *await _ask(repository.list())]
        default = self._environment.default_model() if self._environment and not found else None
        return _first_of_each([*found, default] if default is not None else found, left_out)

    async def find(self, name: str) -> list[Listing]:
        """Every version of one model; empty if there is none. Raises as `listing`."""
        repository = self.repository()
        found: list[Listing] = [model for model in self.given if model.name == name]
        if repository is not None:
            found += await _ask(repository.find(name))
        if not found and self._environment is not None:
            found = [model for model in await self.listing() if model.name == name]
        return _first_of_each(found)

    async def stamps(self) -> Mapping[str, Hashable]:
        """See `ModelRepository.stamps`; empty where nothing can be watched. Raises as `listing`."""
        repository = self.repository()
        return (await _ask(repository.stamps()) if repository is not None else None) or {}

    def check_watchable(self) -> None:
        """Raises:
        ConfigurationError: there is no repository, or it cannot be watched.
        """
        repository = self.repository()
        if repository is None:
            raise ConfigurationError(
                "model_repository_poll: without model_repository_root there is nothing to watch."
            )
        if type(repository).stamps is ModelRepository.stamps:
            kind = type(repository).__name__
            raise ConfigurationError(f"model_repository_poll: a {kind} cannot be watched.")

    def repository(self) -> ModelRepository | None:
        """The repository that the settings name, made when it is first needed; None if they name no root."""
        if self._repository is None and self._settings.model_repository_root is not None:
            self._repository = self._make(self._settings.model_repository_root)
        return self._repository

    def _make(self, root: str) -> ModelRepository:
        name, cls = self._repository_class()
        try:
            made: Any = cls(root, **self._settings.model_repository_implementation_args)
        except MLSrvError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"The model repository {name} cannot be made: {type(error).__name__}: {error}"
            ) from error
        return made  # type: ignore[no-any-return]  # a subclass of ModelRepository

    def _repository_class(self) -> tuple[str, type[Any]]:
        offers = self._plugins.offers(RepositoryOffer)
        targets = {offer.name: offer.target for offer in offers}
        name = self._settings.model_repository_implementation
        if name is None:
            if not offers:
                raise ConfigurationError(
                    "No model repository is installed; "
                    f"install one (pip install {first_choice('repositories')})."
                )
            name = max(offers, key=lambda offer: offer.priority).name
        if name not in targets and "." not in name.replace(":", "."):
            known = ", ".join(sorted(targets)) or "none"
            raise ConfigurationError(
                f'model_repository_implementation: unknown "{name}"; installed are {known}.'
            )
        target = targets.get(name) or ":".join(name.replace(":", ".").rsplit(".", 1))
        return name, resolve_class(target, ModelRepository, f"model_repository_implementation: {name}")


async def _ask(answer: Awaitable[_T]) -> _T:
    try:
        return await answer
    except MLSrvError:
        raise
    except Exception as error:
        raise RepositoryError.of_unexpected(error) from error


def _first_of_each(found: Sequence[Listing], left_out: bool = False) -> list[Listing]:
    kept: dict[tuple[str, str | None], Listing] = {}
    others: list[Listing] = []
    for model in found:
        first = kept.setdefault(_key(model), model)
        if first is model:
            continue
        source = str(model.source or "code")
        reason = model.reason if isinstance(model, BrokenModel) else "another one of this name comes first"
        if not left_out:
            logger.warning("Model %s of %s is left out: %s", _named(model), source, reason)
        elif isinstance(model, BrokenModel):
            others.append(model)
        else:
            told = f"{source}: another model called {_named(model)} comes first; rename one of them."
            others.append(BrokenModel(model.name, source, told, model.version))
    return [*kept.values(), *others]


def _key(model: Listing) -> tuple[str, str | None]:
    return model.name, model.version


def _named(model: Listing) -> str:
    return model.name if model.version is None else f"{model.name} version {model.version}"
