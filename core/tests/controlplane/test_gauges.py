"""Gauges: what a meter reads about the models of a kernel."""

from mlsrv import ModelSettings
from mlsrv.plugins.offers import MeterOffer
from mlsrv.telemetry.kernel_metrics import IN_FLIGHT, MODEL_READY, MODEL_STATE
from mlsrv.testing import EchoModel, MemoryMeter, Offering, make_kernel


class Broken(EchoModel):
    async def load(self) -> bool:
        raise ValueError("no weights")


async def test_the_gauges_follow_the_models() -> None:
    models = [
        ModelSettings(name="good", implementation=EchoModel, parameters={"version": "v1"}),
        ModelSettings(name="bad", implementation=Broken),
    ]
    async with make_kernel(*models, plugins=[Offering(MeterOffer("memory", MemoryMeter))]) as kernel:
        await kernel.loaded()
        meter = kernel.meters["memory"]
        assert isinstance(meter, MemoryMeter)
        assert meter.read(MODEL_READY.name) == {("good", "v1"): 1.0, ("bad", ""): 0.0}
        assert meter.read(IN_FLIGHT.name) == {("good", "v1"): 0.0}
        states = {labels: value for labels, value in meter.read(MODEL_STATE.name).items() if value}
        assert states == {("good", "v1", "READY"): 1.0, ("bad", "", "UNAVAILABLE"): 1.0}
        await kernel.unload("good")
        assert meter.read(MODEL_READY.name) == {("bad", ""): 0.0}
        assert meter.read(IN_FLIGHT.name) == {}
