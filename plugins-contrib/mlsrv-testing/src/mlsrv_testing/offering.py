"""Offering: a plugin made in one line, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlsrv.plugins.markers import hookimpl
from mlsrv.plugins.offers import (
    CodecOffer,
    ExecutorOffer,
    MeterOffer,
    Offer,
    RepositoryOffer,
    RuntimeOffer,
    SettingsOffer,
    TransportOffer,
)


class Offering:
    """A plugin of given offers: ``Kernel(plugins=[Offering(CodecOffer("toy", ToyCodec))])``.

    Args:
        offers: any offers.
        name: what the plugin is called in messages.
    """

    def __init__(self, *offers: Offer, name: str = "offering") -> None:
        self.__name__ = name
        self._offers = offers

    def _of(self, kind: type[Any]) -> Iterator[Any]:
        return (offer for offer in self._offers if isinstance(offer, kind))

    @hookimpl
    def mlsrv_settings(self) -> Iterator[SettingsOffer]:
        """Return the settings among the offers."""
        return self._of(SettingsOffer)

    @hookimpl
    def mlsrv_codecs(self) -> Iterator[CodecOffer]:
        """Return the codecs among the offers."""
        return self._of(CodecOffer)

    @hookimpl
    def mlsrv_runtimes(self) -> Iterator[RuntimeOffer]:
        """Return the runtimes among the offers."""
        return self._of(RuntimeOffer)

    @hookimpl
    def mlsrv_repositories(self) -> Iterator[RepositoryOffer]:
        """Return the repositories among the offers."""
        return self._of(RepositoryOffer)

    @hookimpl
    def mlsrv_executors(self) -> Iterator[ExecutorOffer]:
        """Return the executors among the offers."""
        return self._of(ExecutorOffer)

    @hookimpl
    def mlsrv_transports(self) -> Iterator[TransportOffer]:
        """Return the transports among the offers."""
        return self._of(TransportOffer)

    @hookimpl
    def mlsrv_meters(self) -> Iterator[MeterOffer]:
        """Return the meters among the offers."""
        return self._of(MeterOffer)
