"""Serving: runs a kernel until it is asked to stop."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import signal
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from mlsrv.errors import ModelLoadError
from mlsrv.kernel import Kernel
from mlsrv.settings import KernelSettings
from mlsrv_cli.console import Reporter, reason_of
from mlsrv_cli.descriptors import watching_descriptors
from mlsrv_cli.failures import StartFailed, report
from mlsrv_cli.log_queue import LogQueue
from mlsrv_cli.signals import STOP_MARGIN, StopSignals, exit_within
from mlsrv_hosting_kit.free_memory import returning_free_memory
from mlsrv_hosting_kit.garbage import freeze_libraries

if TYPE_CHECKING:
    from mlsrv_cli.processes.member import Member

logger = logging.getLogger("mlsrv.cli")

STUCK_AFTER = 3.0
"""Seconds that threads of user code get to end when all else has ended."""


def run(
    make: Callable[[], Kernel],
    reporter: Reporter,
    stop: StopSignals,
    log: LogQueue,
    *,
    debug: bool = False,
    member: Member | None = None,
) -> int:
    """Serve in an event loop of its own (uvloop's, if that is installed) and return the exit code.

    Args:
        make: makes the kernel; called on the loop.
        reporter: is told what is served.
        stop: says when to stop.
        log: its files are opened again on a signal.
        debug: whether a failure shows its traceback.
        member: this process, if it is one of several.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_main(make, reporter, stop, log, debug, member))


async def _main(
    make: Callable[[], Kernel],
    reporter: Reporter,
    stop: StopSignals,
    log: LogQueue,
    debug: bool,
    member: Member | None,
) -> int:
    code = 0
    stop.attach()
    try:
        kernel = make()
        _add_actions(stop, log, kernel)
        await serve(kernel, reporter, stop, member)
    except Exception as error:
        code = report(error, debug=debug)
    finally:
        stop.actions.clear()
        stop.detach()
    exit_within(STUCK_AFTER, code)
    return code


def _add_actions(stop: StopSignals, log: LogQueue, kernel: Kernel) -> None:
    """Have SIGHUP reload certificates and log files, and SIGUSR1 the latter; SIGUSR2 is noted."""
    loop = asyncio.get_running_loop()
    own = kernel.settings.of(KernelSettings)
    stop.budget = own.shutdown_delay + own.shutdown_timeout + STOP_MARGIN

    def reload() -> None:
        log.reopen()
        asyncio.run_coroutine_threadsafe(kernel.reload(), loop)

    def ignored() -> None:
        logger.info("SIGUSR2 asks for nothing; SIGHUP reloads certificates, SIGUSR1 opens log files again")

    for name, action in (("SIGHUP", reload), ("SIGUSR1", log.reopen), ("SIGUSR2", ignored)):
        if hasattr(signal, name):
            stop.actions[getattr(signal, name)] = action


async def serve(kernel: Kernel, reporter: Reporter, stop: StopSignals, member: Member | None = None) -> None:
    """Serve until `stop` asks for an end.

    Args:
        kernel: what is served.
        reporter: is told about it.
        stop: says when to stop.
        member: this process, if it is one of several.

    Raises:
        ConfigurationError: the kernel or a transport cannot start.
        StartFailed: models failed to load and ``on_load_failure`` is "exit".
    """
    freeze_libraries()  # now, while no model exists
    connected = nullcontext() if member is None else member.connected(kernel)
    async with returning_free_memory(), watching_descriptors(), kernel, connected:
        loading = asyncio.create_task(_when_loaded(kernel, reporter, member))
        try:
            if not stop.requested:
                await kernel.serve(stop.wait, started=lambda: _listening(kernel, reporter, member))
        except ModelLoadError as error:
            failed = [model for model in kernel.registry if model.wanted and model.problem is not None]
            problems = [f"Model {model.name}: {reason_of(model)}" for model in failed]
            raise StartFailed(problems or [str(error)]) from error
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
    reporter.stopped()


def _listening(kernel: Kernel, reporter: Reporter, member: Member | None) -> None:
    if member is not None:
        member.listening()
    reporter.listening(kernel)


async def _when_loaded(kernel: Kernel, reporter: Reporter, member: Member | None) -> None:
    try:
        await kernel.loaded()
        if member is not None:
            await member.settled()
    except Exception:  # not a failed model: that is a state of the model
        logger.exception("Loading the models failed")
    reporter.loaded(kernel)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    uvloop: Any = importlib.import_module("uvloop")
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
