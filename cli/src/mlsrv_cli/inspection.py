"""Inspection: settings, their sources and their problems, found as a start would but without starting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import attrs

from mlsrv.errors import ConfigurationError, MLSrvError
from mlsrv.kernel import Kernel
from mlsrv.plugins.offers import TransportOffer
from mlsrv.repository import BrokenModel, Listing
from mlsrv.settings import Effective, ModelSettings
from mlsrv.settings.known_plugins import first_choice
from mlsrv.settings.server import KERNEL_DISTRIBUTION


@attrs.frozen
class ModelInspection:
    """A model as it would be loaded.

    Attributes:
        name, version: the model's.
        source: the file that describes it, or where else it comes from.
        settings: every effective value; empty if the model cannot be described.
        problems: one sentence for each thing that is wrong with its settings.
    """

    name: str
    version: str | None
    source: str
    settings: Sequence[Effective]
    problems: Sequence[str]


def models_of(kernel: Kernel) -> list[ModelInspection]:
    """Return every model of the kernel's repository.

    Args:
        kernel: one that was not entered.

    Raises:
        ConfigurationError: there is no such repository, or it cannot be read.
    """
    return [_inspected(kernel, found) for found in asyncio.run(kernel.listing())]


def problems_of(kernel: Kernel) -> list[str]:
    """Return one sentence for each problem that would keep the server from starting or a model from loading.

    Runtimes are imported for this, as they would be at the start; artifacts are not loaded.

    Args:
        kernel: one that was not entered.
    """
    problems = []
    if not any(offer.enabled(kernel.settings) for offer in kernel.plugins.offers(TransportOffer)):
        problems.append(
            f"No transport is installed and enabled; install one (pip install {first_choice('transports')})."
        )
    try:
        listing = asyncio.run(kernel.listing(left_out=True))
    except ConfigurationError as error:
        return problems + error.problems
    for found in listing:
        wrong = list(_inspected(kernel, found).problems)
        if not wrong and isinstance(found, ModelSettings):
            wrong = _runtime_problems(kernel, found)
        problems += wrong
    return problems


def _inspected(kernel: Kernel, found: Listing) -> ModelInspection:
    if isinstance(found, BrokenModel):
        return ModelInspection(found.name, found.version, found.source, (), [found.reason])
    source = str(found.source or "environment")
    try:
        settings = kernel.resolve_model(found)
    except ConfigurationError as error:
        return ModelInspection(found.name, found.version, source, (), error.problems)
    values = [*_identity(settings, source), *settings.effective()]
    return ModelInspection(found.name, found.version, source, values, ())


def _identity(model: ModelSettings, source: str) -> list[Effective]:
    def value(name: str, found: Any, meaning: str) -> Effective:
        return Effective(name, found, source if found else "default", meaning, KERNEL_DISTRIBUTION)

    parameters = model.parameters.dict()
    return [
        value("name", model.name, "Name of the model."),
        value("implementation", model.implementation, "Runtime; chosen by the artifact when not set."),
        *(value(f"parameters.{key}", parameters[key], "Parameter of the model.") for key in parameters),
    ]


def _runtime_problems(kernel: Kernel, found: ModelSettings) -> list[str]:
    try:
        if found.implementation is None:
            found = found.copy(implementation=kernel.catalog.select(found))
        kernel.catalog.runtime_class(found)
    except MLSrvError as error:
        return [f"{found.source or 'environment'}: {error}"]
    return []
