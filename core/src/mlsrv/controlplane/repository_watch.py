"""Repository watch: polls the model repository, and loads, reloads or unloads the models that changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from mlsrv.controlplane.loader import Loader
from mlsrv.controlplane.model_sources import ModelSources
from mlsrv.controlplane.registry import Registry
from mlsrv.errors import MLSrvError
from mlsrv.repository import BrokenModel, Listing

logger = logging.getLogger("mlsrv.models")

Key: TypeAlias = tuple[str, str | None]
"""Name and version of a model."""


@attrs.define
class _Known:
    """One version of a model that came from the repository.

    Attributes:
        source: where the repository describes it.
        stamp: of what was loaded, or could not be.
        held: whether it stays unloaded until a client asks for it.
        restless: whether its files changed while it was being loaded.
    """

    source: str
    stamp: Hashable
    held: bool = False
    restless: bool = False


class RepositoryWatch:
    """Looks at the repository every few seconds.

    Nothing is done about a change before it is the same at two looks, so that files that are being written
    are left alone. A model that fails is tried again when it changes again. A model that was unloaded on
    purpose stays so until it is loaded on purpose, or goes from the repository and comes back.

    Args:
        sources: has the repository.
        registry: the models.
        loader: loads and unloads them, several at once.
        begin: loads everything; called until it succeeds, where that failed at the start of the server.
    """

    def __init__(
        self,
        sources: ModelSources,
        registry: Registry,
        loader: Loader,
        begin: Callable[[], Awaitable[None]],
    ) -> None:
        self._sources = sources
        self._registry = registry
        self._loader = loader
        self._begin = begin
        self._known: dict[Key, _Known] = {}
        self._last: Mapping[str, Hashable] = {}
        self._done: dict[str, Hashable] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> None:
        """Look for ever, every so many seconds."""
        failing = False
        try:
            while True:
                await asyncio.sleep(seconds)
                failing = await self._look_or_warn(failing)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def note(self, found: Iterable[Listing], stamps: Mapping[str, Hashable], held: bool = False) -> None:
        """These models are loaded now (or held), as they were when `stamps` were taken."""
        for model in found:
            source = str(model.source)
            if source in stamps:
                self._known[model.name, model.version] = _Known(source, stamps[source], held)
                self._done[source] = stamps[source]

    def hold(self, key: Key) -> None:
        """This model is unloaded on purpose."""
        if key in self._known:
            self._known[key].held = True

    async def look(self) -> None:
        """Compare the repository with what was loaded, and begin what there is to do.

        Raises:
            MLSrvError: it cannot be read; nothing is done.
        """
        now = await self._sources.stamps()
        settled = {source: stamp for source, stamp in now.items() if (source, stamp) in self._last.items()}
        gone = {source for source in self._done if source not in now and source not in self._last}
        self._last = now
        if gone or not settled.items() <= self._done.items():
            found = await self._sources.listing()
            self._done.update(settled)
            for source in gone:
                del self._done[source]
            self._load_changed([model for model in found if str(model.source) in settled], settled)
            listed = {(model.name, model.version) for model in found}
            self._unload([key for key in self._known.keys() - listed if self._known[key].source in gone])

    # --- inside -------------------------------------------------------------------------------------------

    async def _look_or_warn(self, failing: bool) -> bool:
        """Look, and tell whether that failed; a repository that keeps failing is one warning."""
        try:
            await (self.look() if self._registry.complete else self._begin())
        except Exception as error:  # a repository may be foreign code, and must not end the watching
            if not failing:
                cause = None if isinstance(error, MLSrvError) else error
                text = "The models stay as they are until the repository can be read: %s"
                logger.warning(text, error, exc_info=cause)
            return True
        if failing:
            logger.info("The model repository can be read again")
        return False

    def _load_changed(self, found: Iterable[Listing], settled: Mapping[str, Hashable]) -> None:
        for model in found:
            source = str(model.source)
            for key in self._keys(model):
                known = self._known.get(key, _Known("", None))
                if (known.source, known.stamp) != (source, settled[source]):
                    self._known[key] = known = attrs.evolve(known, source=source, stamp=settled[source])
                    if not known.held:
                        self._start(self._load(_named(model, key), key, known))

    def _keys(self, model: Listing) -> list[Key]:
        """The models that a listing is about: of a broken file, those that it described before."""
        known = self._same_source(str(model.source)) if isinstance(model, BrokenModel) else []
        return known or [(model.name, model.version)]

    def _same_source(self, source: str) -> list[Key]:
        return [key for key, known in self._known.items() if known.source == source]

    def _unload(self, keys: Iterable[Key]) -> None:
        for key in keys:
            del self._known[key]
            self._start(self._unload_one(key))

    async def _load(self, model: Listing, key: Key, known: _Known) -> None:
        logger.info("Model %s has changed in the repository; loading it", model.name)
        try:
            await self._loader.load(model)
        except MLSrvError:
            pass  # the handle has the reason, the log the traceback
        else:
            # What the same file described before, under another name or version, served until now.
            self._unload([other for other in self._same_source(known.source) if other != key])
        # Files that changed meanwhile are loaded again, but not for ever: the model itself may write there.
        stamp = (await self._sources.stamps()).get(known.source)
        changed = stamp != known.stamp
        if changed and known.restless and self._known.get(key) is known:
            logger.warning("Model %s changes whenever it is loaded, and is not loaded again for that", key[0])
            known.stamp = self._done[known.source] = stamp
        known.restless = changed

    async def _unload_one(self, key: Key) -> None:
        logger.info("Model %s has gone from the repository and is unloaded", key[0])
        handle = self._registry.ensure(*key)
        await self._loader.unload(handle)
        if self._loader.idle(handle):
            self._registry.forget(handle)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        async def quiet() -> None:
            try:
                await work
            except MLSrvError as error:
                logger.debug("A change of the repository was not followed to its end: %s", error)

        task = asyncio.create_task(quiet())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _named(model: Listing, key: Key) -> Listing:
    return attrs.evolve(model, name=key[0], version=key[1]) if isinstance(model, BrokenModel) else model
