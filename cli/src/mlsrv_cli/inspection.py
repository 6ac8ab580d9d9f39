"""Inspection: settings, their sources and their problems, found as a start would but without starting."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from mlsrv.controlplane.loader import choose_executor
from mlsrv.errors import ConfigurationError, MLSrvError
from mlsrv.executor import Executor
from mlsrv.kernel import Kernel
from mlsrv.plugins.factory import make_offered
from mlsrv.plugins.offers import ExecutorOffer, TransportOffer
from mlsrv.repository import BrokenModel, Listing
from mlsrv.settings import Effective, KernelSettings, ModelSettings
from mlsrv.settings.server import KERNEL_DISTRIBUTION
from mlsrv_settings_kit.known_plugins import first_choice


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


@attrs.frozen
class ModelPlan:
    """The parts that would serve a model.

    Attributes:
        name, version: the model's.
        runtime: its name, or a dotted path.
        artifact: the file or folder that it would read; "" if only loading can tell.
        executor: where the model would run.
        environment: its Python environment; "" is that of the server.
    """

    name: str
    version: str | None
    runtime: str
    artifact: str
    executor: str
    environment: str


def examine(kernel: Kernel) -> tuple[list[str], list[ModelPlan]]:
    """Return one sentence for each problem that would keep the server from starting or a model from loading,
    and what would serve each model without one.

    Runtimes are imported for this, as they would be at the start, except those of models with a Python
    environment of their own. Artifacts are looked for and not loaded.

    Args:
        kernel: one that was not entered.
    """
    problems: list[str] = []
    plans: list[ModelPlan] = []
    if not any(offer.enabled(kernel.settings) for offer in kernel.plugins.offers(TransportOffer)):
        problems.append(
            f"No transport is installed and enabled; install one (pip install {first_choice('transports')})."
        )
    try:
        listing = asyncio.run(kernel.listing(left_out=True))
        executors = {
            offer.name: make_offered(offer, kernel, Executor)
            for offer in kernel.plugins.offers(ExecutorOffer)
        }
    except ConfigurationError as error:
        return problems + error.problems, plans
    for found in listing:
        wrong = list(_inspected(kernel, found).problems)
        if not wrong and isinstance(found, ModelSettings):
            try:
                plans.append(_plan(kernel, kernel.resolve_model(found), executors))
            except MLSrvError as error:
                wrong = [f"{found.source or 'environment'}: {error}"]
        problems += wrong
    return problems, plans


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


def _plan(kernel: Kernel, model: ModelSettings, executors: Mapping[str, Executor]) -> ModelPlan:
    """Return what would serve a model.

    Raises:
        MLSrvError: it could not be loaded.
    """
    if model.implementation is None:
        model = model.copy(implementation=kernel.catalog.select(model))
    executor = choose_executor(model, executors, kernel.settings.of(KernelSettings).executor)
    environment = executors[executor].environment(model)
    artifact = None
    if environment is None:  # else only a process of that environment can import the runtime
        cls, code = kernel.catalog.runtime_class(model)
        try:
            artifact = cls.artifact_of(model)
        finally:
            if code is not None:
                code.forget()
    wanted = model.implementation
    runtime = wanted if isinstance(wanted, str) else str(getattr(wanted, "__qualname__", wanted))
    return ModelPlan(model.name, model.version, runtime, str(artifact or ""), executor, environment or "")
