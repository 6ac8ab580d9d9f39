"""Responses that hold values of classes of the model's folder, by name."""

import dataclasses
import enum
import uuid
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

from mlsrv.types import InferenceResponse, Parameters, ResponseOutput


class Kind(str, enum.Enum):
    CAT = "cat"


class Level(enum.IntEnum):
    HIGH = 3


class Color(enum.Enum):
    RED = "red"
    MIXED = (1, 2)


class Bits(enum.Flag):
    ONE = 1
    TWO = 2


class Text(str):
    pass


class Score(float):
    pass


class Count(int):
    pass


class Many(list[Any]):
    pass


class Table(dict[str, Any]):
    pass


class Signal(np.ndarray[Any, Any]):
    pass


class Raw(bytes):
    pass


Pair = namedtuple("Pair", "first second")


@dataclasses.dataclass
class Point:
    x: int
    y: Any
    _hidden: int = 0


@dataclasses.dataclass(slots=True)
class Slotted:
    x: float
    kind: Kind


class Opaque:
    """It has no JSON form."""


def parameters(value: Any) -> InferenceResponse:
    return InferenceResponse(
        outputs=[ResponseOutput("y", [1], "INT64", [1], Parameters(v=value))], parameters=Parameters(v=value)
    )


def data(datatype: str, shape: Any, value: Any, name: str = "y") -> InferenceResponse:
    return InferenceResponse(outputs=[ResponseOutput(name, shape, datatype, value)])


def _local() -> Any:
    class Local(str):
        pass

    return Local("local")


def _generator() -> Any:
    yield 1


VALUES: dict[str, Callable[[], InferenceResponse]] = {
    "text enumeration in parameters": lambda: parameters(Kind.CAT),
    "integer enumeration in parameters": lambda: parameters(Level.HIGH),
    "enumeration in parameters": lambda: parameters(Color.RED),
    "enumeration of tuples in parameters": lambda: parameters(Color.MIXED),
    "flags in parameters": lambda: parameters(Bits.ONE | Bits.TWO),
    "dataclass in parameters": lambda: parameters(Point(1, 2)),
    "nested dataclass in parameters": lambda: parameters([Point(1, [Slotted(0.5, Kind.CAT)])]),
    "dataclass with slots in parameters": lambda: parameters(Slotted(0.5, Kind.CAT)),
    "named tuple in parameters": lambda: parameters(Pair(1, Text("b"))),
    "list of named tuples in parameters": lambda: parameters([Pair(1, 2), Pair(3, 4)]),
    "text in parameters": lambda: parameters(Text("a")),
    "local text in parameters": lambda: parameters(_local()),
    "score in parameters": lambda: parameters(Score(0.5)),
    "nan score in parameters": lambda: parameters(Score("nan")),
    "count in parameters": lambda: parameters(Count(7)),
    "list in parameters": lambda: parameters(Many([1, Text("a")])),
    "dict in parameters": lambda: parameters(Table(a=Score(1.5))),
    "default dict in parameters": lambda: parameters(defaultdict(lambda: 0, a=1)),
    "counter in parameters": lambda: parameters(Counter("aab")),
    "ordered dict in parameters": lambda: parameters(OrderedDict(b=1, a=Kind.CAT)),
    "bytes in parameters": lambda: parameters(Raw(b"abc")),
    "array in parameters": lambda: parameters(np.arange(3)),
    "array with infinity in parameters": lambda: parameters([np.array([1.5, np.inf]), Text("a")]),
    "numpy scalar in parameters": lambda: parameters(np.float32(0.5)),
    "uuid in parameters": lambda: parameters(uuid.UUID(int=7)),
    "object in parameters": lambda: parameters(Opaque()),
    "class in parameters": lambda: parameters(Opaque),
    "function in parameters": lambda: parameters(_local),
    "generator in parameters": lambda: parameters(_generator()),
    "set in parameters": lambda: parameters({1}),
    "memoryview in parameters": lambda: parameters(memoryview(b"abc")),
    "enumeration as header": lambda: InferenceResponse(
        outputs=[ResponseOutput("y", [1], "INT64", [1])], parameters=Parameters(headers={"x-kind": Kind.CAT})
    ),
    "text enumeration as content type": lambda: InferenceResponse(
        outputs=[ResponseOutput("y", [1], "BYTES", ["a"], Parameters(content_type=Kind.CAT))]
    ),
    "text enumeration as data": lambda: data("BYTES", [2], [Kind.CAT, "dog"]),
    "texts as nested data": lambda: data("BYTES", [2, 1], [[Text("a")], ["b"]]),
    "bytes as data": lambda: data("BYTES", [2], [Raw(b"a"), Raw(b"\xff")]),
    "views as data": lambda: data("BYTES", [1], [memoryview(b"abc")]),
    "texts as an array of objects": lambda: data("BYTES", [2], np.array([Text("a"), "b"], dtype=object)),
    "list of texts": lambda: data("BYTES", [2], Many(["a", "b"])),
    "numbers as texts": lambda: data("BYTES", [1], [Count(1)]),
    "scores as data": lambda: data("FP32", [2], [Score(0.5), 1.0]),
    "scores as nested data": lambda: data("FP64", [1, 2], [[Score(0.5), 1.0]]),
    "counts as data": lambda: data("INT64", [2], [Count(1), Level.HIGH]),
    "counts beyond their datatype": lambda: data("INT8", [1], [Count(1000)]),
    "list as data": lambda: data("FP32", [2], Many([0.5, 1.0])),
    "tuple as data": lambda: data("INT32", [2], (1, 2)),
    "named tuple as data": lambda: data("INT32", [2], Pair(1, 2)),
    "range as data": lambda: data("INT32", [3], range(3)),
    "view of an array as data": lambda: data("FP32", [2], memoryview(np.array([0.5, 1.0], np.float32))),
    "objects as data": lambda: data("FP32", [1], [Opaque()]),
    "count in the shape": lambda: data("INT64", [Count(1)], [1]),
    "numpy integer in the shape": lambda: data("INT64", [np.int64(1)], [1]),
    "text enumeration as name": lambda: data("INT64", [1], [1], Kind.CAT),
    "array of a subclass": lambda: data("FP64", [1, 2], np.array([[0.5, 1.0]]).view(Signal)),
    "masked floats": lambda: data("FP64", [2], np.ma.array([0.5, -9.0], mask=[False, True])),
    "masked integers": lambda: data("INT64", [2], np.ma.array([1, 2], mask=[False, True])),
    "masked integers as floats": lambda: data("FP32", [2], np.ma.array([1, 2], mask=[False, True])),
    "nothing masked": lambda: data("INT64", [2], np.ma.array([1, 2])),
    "large masked floats": lambda: data(
        "FP64", [20_000], np.ma.array(np.ones(20_000), mask=np.arange(20_000) % 2 == 0)
    ),
    "large array beside an enumeration": lambda: InferenceResponse(
        outputs=[ResponseOutput("y", [20_000], "FP64", np.ones(20_000), Parameters(kind=Kind.CAT))]
    ),
    "wrong count": lambda: data("FP32", [3], Many([0.5, 1.0])),
}
