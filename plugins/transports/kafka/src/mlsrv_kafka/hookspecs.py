"""Hook specifications: the hook that this plugin adds to those of the kernel."""

# mypy: disable-error-code="empty-body"
# A specification has a signature and a docstring, but no body.

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.plugins.markers import hookspec

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI
    from mlsrv_kafka.observing import RecordObserver


@hookspec
def mlsrv_kafka_observer(kernel: KernelAPI) -> RecordObserver:
    """Observe the records that are answered, for example to trace them.

    Called once when the transport starts, in the main process. The observer is asked for an observation of
    each record whose headers could be read; it says which trace the request continues and which one the
    answer names, and hears what became of the record. Two plugins with an observer stop the start.

    Args:
        kernel: the kernel; models are still loading when the hook is called.

    Returns:
        An `mlsrv_kafka.observing.RecordObserver`. None means none.

    Example:
        >>> import mlsrv, mlsrv_kafka.plugin
        >>> class PrintSources:
        ...     trace = {}
        ...     def begin(self, topic, partition, offset, trace):
        ...         print(f"{topic}/{partition}/{offset}")
        ...         return self
        ...     def sending(self, topic):
        ...         return {}
        ...     def done(self, error):
        ...         print("failed" if error else "answered")
        ...     def abandoned(self):
        ...         print("left")
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_kafka_observer(self, kernel):
        ...         return PrintSources()
        >>> kernel = mlsrv.Kernel(plugins=[mlsrv_kafka.plugin, Plugin()], discover=False)
        >>> [(_, observer)] = kernel.each("mlsrv_kafka_observer", kernel=kernel)
        >>> observer.begin("requests", 0, 7, {}).done(None)
        requests/0/7
        answered
    """
