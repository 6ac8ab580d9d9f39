"""The package itself: its names, and that importing it does nothing."""

import subprocess
import sys

import pytest

import mlsrv

PROBE = """
import json, logging, os, signal, sys, threading

events = []
watched = ("socket.", "subprocess.")
def note(event, args):
    if event.startswith(watched):
        events.append(event)

sys.addaudithook(note)

def state():
    signals = {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()}
    root = logging.root
    return [dict(os.environ), repr(root.handlers), root.level, signals, threading.active_count()]

before = state()
read = []
real = os.environ

class Watched(type(real)):
    def __getitem__(self, key):
        read.append(key)
        return super().__getitem__(key)

os.environ = Watched(real._data, real.encodekey, real.decodekey, real.encodevalue, real.decodevalue)
import mlsrv
heavy = ("numpy", "mlsrv_protocol", "asyncio", "cattrs")
light = sorted(name for name in sys.modules if name.partition(".")[0] in heavy)
for name in ("mlsrv.kernel", "mlsrv.testing", "mlsrv.codecs", "mlsrv.errors", "mlsrv.context"):
    __import__(name)
os.environ = real
mine = [key for key in read if key.startswith("ML")]
loggers = [name for name in logging.Logger.manager.loggerDict if name.partition(".")[0] == "mlsrv"]
set_up = [name for name in loggers if logging.getLogger(name).handlers or logging.getLogger(name).level]
print(json.dumps([light, mine, set_up, events, before == state()]))
"""


def test_importing_touches_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[[], [], [], [], true]", "")


def test_a_kernel_that_runs_touches_nothing_either() -> None:
    program = """
import asyncio, logging, os, signal
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import EchoModel, text_request

def state():
    return dict(os.environ), logging.root.handlers, logging.root.level, [
        signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

async def main():
    before = state()
    async with Kernel(models=[ModelSettings(name="m", implementation=EchoModel)], discover=False) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("m", ["a"]))
        inside = state()
    assert before == inside == state()

os.environ["MLSRV_HOST"] = "nowhere"
os.environ["MLSRV_NONSENSE"] = "ignored"
before = state()
asyncio.run(main())
assert before == state()
print("same")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("same", "")


@pytest.mark.parametrize("name", mlsrv.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(mlsrv, name) is not None
    assert name in dir(mlsrv)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"module 'mlsrv' has no attribute 'nothing'"):
        mlsrv.nothing  # noqa: B018  # the access is the test


def test_the_names_of_users_code_mean_what_the_specification_says() -> None:
    from mlsrv import codecs, errors, types, utils
    from mlsrv.codecs import InputCodec

    assert types.InferenceRequest.__module__.startswith("mlsrv_protocol")
    assert codecs.InputCodec is InputCodec
    assert issubclass(errors.ModelNotFound, errors.MLSrvError)
    assert callable(utils.get_model_uri)
