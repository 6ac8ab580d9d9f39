"""Contract of meters: the cases that each must pass."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from mlsrv.kernel.kernel import Kernel
from mlsrv.metrics import Meter, Metric
from mlsrv.plugins.offers import MeterOffer
from mlsrv.settings import ModelSettings
from mlsrv.telemetry.kernel_metrics import DURATION, SUCCESS
from mlsrv.testing.models import EchoModel
from mlsrv.testing.requests import text_request
from mlsrv_testing.contracts.running import run
from mlsrv_testing.offering import Offering

COUNTER = Metric("contract_orders", "Orders.", "counter", ("shop",))
GAUGE = Metric("contract_stock", "Things in stock.", "gauge", ("shop",))
HISTOGRAM = Metric("contract_prices", "Prices.", "histogram", ("shop", "currency"), (1.0, 10.0))
LABELS = ("Zürich", 'a "b"\\\n', "", "a,b=c{}")


class MeterContract(ABC):
    """Cases for a `Meter`. Say which one, and how to read what was recorded.

    Attributes:
        meter: the class.
        server_settings: of the kernel that it is made for.
        shows_readings: whether it shows gauges that are read, see `Meter.observe_gauge`.
    """

    meter: ClassVar[type[Meter]]
    server_settings: ClassVar[Mapping[str, Any]] = {}
    shows_readings: ClassVar[bool] = True

    def plugins(self) -> Sequence[object]:
        """Plugins that the kernel needs, such as the one with the meter's settings; without the meter itself,
        unless the settings switch it off."""
        return ()

    @abstractmethod
    def value(self, meter: Any, metric: Metric, labels: Sequence[str]) -> float | None:
        """Return the value of a series in the backend, or None if there is no such series.

        It is the sum of a counter, the last value of a gauge, the sum of what a histogram observed.
        """

    @abstractmethod
    def count(self, meter: Any, metric: Metric, labels: Sequence[str]) -> int:
        """Return the number of values that a histogram observed."""

    def test_counters_add_up(self) -> None:
        """A counter has the sum of what was recorded.

        Guards against: a counter that counts calls, or keeps the last value.
        """
        self._alone(self._counters_add_up)

    def test_gauges_keep_the_last_value(self) -> None:
        """A gauge has the value that was recorded last, be it smaller.

        Guards against: gauges that add up like counters.
        """

        def case(meter: Meter) -> None:
            record = meter.bind(GAUGE, ("a",))
            for value in (5.0, -2.5, 0.5):
                record(value)
            assert self.value(meter, GAUGE, ("a",)) == 0.5

        self._alone(case)

    def test_histograms_observe_each_value(self) -> None:
        """A histogram has the number and the sum of the values.

        Guards against: values on a bound, or above all bounds, that are missing.
        """

        def case(meter: Meter) -> None:
            record = meter.bind(HISTOGRAM, ("a", "CHF"))
            for value in (0.5, 1.0, 10.0, 1e9):
                record(value)
            assert self.count(meter, HISTOGRAM, ("a", "CHF")) == 4
            assert self.value(meter, HISTOGRAM, ("a", "CHF")) == 1e9 + 11.5

        self._alone(case)

    def test_series_are_told_apart(self) -> None:
        """Each combination of labels is a series of its own, whatever is in them.

        Guards against: labels that are joined, cut or swapped on their way to the backend.
        """

        def case(meter: Meter) -> None:
            pairs = [(one, other) for one in LABELS for other in LABELS]
            for number, labels in enumerate(pairs):
                meter.bind(HISTOGRAM, labels)(float(number))
            found = [self.value(meter, HISTOGRAM, labels) for labels in pairs]
            assert found == [float(number) for number in range(len(pairs))]

        self._alone(case)

    def test_a_series_that_is_bound_again_goes_on(self) -> None:
        """Binding a series again, as a model does that is loaded again, continues it; both recorders work.

        Guards against: counters that fall back to zero with each reload.
        """

        def case(meter: Meter) -> None:
            first = meter.bind(COUNTER, ("a",))
            first(1.0)
            second = meter.bind(COUNTER, ["a"])
            second(2.0)
            first(4.0)
            assert self.value(meter, COUNTER, ("a",)) == 7.0

        self._alone(case)

    def test_rows_record_each_of_their_series(self) -> None:
        """Values recorded in a row are the same as if each were recorded alone, and so are the series.

        Guards against: a faster way to record that confuses the order, or has series of its own.
        """

        def case(meter: Meter) -> None:
            row = [(COUNTER, ("a",)), (HISTOGRAM, ("a", "CHF")), (COUNTER, ("b",))]
            for record in (meter.bind_row(row), meter.bind_row(row)):
                record((1.0, 20.0, 300.0))
            meter.bind(COUNTER, ("a",))(4000.0)
            assert self.value(meter, COUNTER, ("a",)) == 4002.0
            assert self.value(meter, HISTOGRAM, ("a", "CHF")) == 40.0
            assert self.count(meter, HISTOGRAM, ("a", "CHF")) == 2
            assert self.value(meter, COUNTER, ("b",)) == 600.0

        self._alone(case)

    def test_no_value_of_any_thread_is_lost(self) -> None:
        """Recorders may be called from several threads at once.

        Guards against: sums that are read, added to and written back without a lock.
        """

        def case(meter: Meter) -> None:
            record = meter.bind(COUNTER, ("a",))
            record_row = meter.bind_row([(COUNTER, ("a",)), (HISTOGRAM, ("a", "CHF"))])

            def work() -> None:
                for _ in range(3000):
                    record(1.0)
                    record_row((1.0, 2.0))

            _in_threads(work, 4)
            assert self.value(meter, COUNTER, ("a",)) == 24_000.0
            assert self.value(meter, HISTOGRAM, ("a", "CHF")) == 24_000.0

        self._alone(case)

    def test_recording_never_raises(self) -> None:
        """Whatever number model code logs, its request goes on, and so do others' values.

        Guards against: a request that fails for the sake of a metric.
        """

        def case(meter: Meter) -> None:
            for metric, labels in ((GAUGE, ("a",)), (HISTOGRAM, ("a", "CHF"))):
                record = meter.bind(metric, labels)
                for value in (math.nan, math.inf, -math.inf, 1e308, -1.0, 0.0):
                    record(value)
            self._counters_add_up(meter)
            assert self.value(meter, GAUGE, ("a",)) == 0.0
            assert self.count(meter, HISTOGRAM, ("a", "CHF")) == 6

        self._alone(case)

    def test_watched_gauges_are_read_until_they_end(self) -> None:
        """A watched gauge shows what its reading says now; two readings of one metric are both shown, and one
        that ended is gone. (A meter that shows none says so with `shows_readings`.)

        Guards against: values that were read once, and models that are shown after they were unloaded.
        """
        if not self.shows_readings:
            return

        def case(meter: Meter) -> None:
            stock = {"a": 1.0}
            end = meter.observe_gauge(GAUGE, lambda: [((shop,), value) for shop, value in stock.items()])
            meter.observe_gauge(GAUGE, lambda: [(("z",), 9.0)])
            assert self.value(meter, GAUGE, ("a",)) == 1.0
            stock.update(a=2.0, b=3.0)
            found = [self.value(meter, GAUGE, (shop,)) for shop in ("a", "b", "z")]
            assert found == [2.0, 3.0, 9.0]
            end()
            assert [self.value(meter, GAUGE, (shop,)) for shop in ("a", "z")] == [None, 9.0]

        self._alone(case)

    def test_kernels_do_not_see_each_other(self) -> None:
        """Two kernels in one process have series of their own.

        Guards against: a registry that belongs to the process.
        """

        async def case() -> None:
            async with self._kernel() as (_, one), self._kernel() as (_, other):
                one.bind(COUNTER, ("a",))(1.0)
                other.bind(COUNTER, ("a",))(2.0)
                assert self.value(one, COUNTER, ("a",)) == 1.0
                assert self.value(other, COUNTER, ("a",)) == 2.0

        run(case())

    def test_requests_are_recorded(self) -> None:
        """Metrics of requests that the kernel records arrive.

        Guards against: a meter that knows the metrics of its own tests alone.
        """

        async def case() -> None:
            model = ModelSettings(name="echo", implementation=EchoModel)
            async with self._kernel(model) as (kernel, meter):
                for _ in range(3):
                    await kernel.infer(text_request("echo", ["a"]))
                assert self.value(meter, SUCCESS, ("echo", "")) == 3.0
                assert self.count(meter, DURATION, ("echo", "")) == 3
                spent = self.value(meter, DURATION, ("echo", ""))
                assert spent is not None
                assert 0 < spent < 60

        run(case())

    # --- inside -------------------------------------------------------------------------------------------

    def _alone(self, case: Callable[[Meter], None]) -> None:
        """Run a case with a meter of its own."""

        async def work() -> None:
            async with self._kernel() as (_, meter):
                case(meter)

        run(work())

    def _counters_add_up(self, meter: Meter) -> None:
        record = meter.bind(COUNTER, ("sum",))
        for value in (1.0, 0.5, 2.0):
            record(value)
        assert self.value(meter, COUNTER, ("sum",)) == 3.5

    @asynccontextmanager
    async def _kernel(self, *models: ModelSettings) -> AsyncIterator[tuple[Kernel, Meter]]:
        offering = Offering(MeterOffer("contract", self.meter), name="contract")
        plugins = [*self.plugins(), offering]
        async with Kernel(self.server_settings, plugins=plugins, models=models, discover=False) as kernel:
            await kernel.loaded()
            yield kernel, kernel.meters["contract"]


def _in_threads(work: Callable[[], None], number: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
