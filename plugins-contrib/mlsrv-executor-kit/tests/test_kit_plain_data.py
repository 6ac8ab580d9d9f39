"""Plain data: what a worker may send, and what is refused before anything is imported or called."""

import pickle
import pickletools
import subprocess
import sys
from collections import OrderedDict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_executor_kit import plain_makers
from mlsrv_executor_kit.plain_data import NotPlain, StandIn, dump_plain, load_plain
from mlsrv_executor_kit.plain_makers import MAKERS, numeric_dtype
from mlsrv_protocol.verbatim import Verbatim

builtin = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(builtin)
def test_built_in_values_round_trip(value: Any) -> None:
    assert load_plain(dump_plain(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        bytearray(b"\x00\xff"),
        {1, 2},
        frozenset({"a"}),
        3 + 4j,
        date(2020, 2, 29),
        datetime(1, 1, 1, microsecond=5),
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
        time(23, 59, 59, 7),
        timedelta(-1, 3, 5),
        Decimal("1.10"),
        UUID(int=7),
        Verbatim([1, [2]]),
        np.float32(0.5),
        np.int64(-3),
        np.bool_(True),
        np.str_("ä"),
        np.datetime64("2020-01-01T00:00:00.000000001"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_the_closed_list_keep_their_class(value: Any) -> None:
    back = load_plain(dump_plain(value))
    assert type(back) is type(value)
    assert back == value


@pytest.mark.parametrize("dtype", ["?", "i1", "<u8", ">i4", "f2", "f8", "c16", "U3", "S2", "M8[ms]", "m8[s]"])
def test_arrays_keep_type_shape_and_elements(dtype: str) -> None:
    array = np.zeros((2, 0, 3) if dtype == "i1" else (2, 3), dtype)
    back = load_plain(dump_plain(array))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable


def test_of_a_stand_in_the_name_of_its_class_arrives() -> None:
    assert type(load_plain(dump_plain(StandIn("Lock")))).__name__ == "Lock"


@pytest.mark.parametrize(
    "value",
    [Path("a"), deque(), OrderedDict(a=1), len, int, lambda: None, np.zeros(1, object), np.dtype("f4"), sys],
    ids=lambda value: type(value).__name__,
)
def test_values_of_other_classes_are_not_written(value: Any) -> None:
    with pytest.raises((NotPlain, TypeError)):
        dump_plain([value])


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


PROBES: dict[str, bytes] = {
    "a function": pickle.dumps(Calls(print, "x")),
    "a class": pickle.dumps(Calls(StandIn, "x")),
    "a class by itself": pickle.dumps(Path),
    "a function of the standard library": pickle.dumps(Calls(subprocess.run, ["true"])),
    "a module that is not imported": b"cantigravity\nfly\n.",
    "a private name of the list's module": f"c{plain_makers.__name__}\n_dtype_of\n.".encode(),
    "the list itself": f"c{plain_makers.__name__}\nMAKERS\n.".encode(),
    "a name with dots": b"\x80\x04\x8c"
    + bytes([len(plain_makers.__name__)])
    + plain_makers.__name__.encode()
    + b"\x8c\x0bre.purge.__\x93.",
    "an instance by INST": b"(S'x'\nibuiltins\nprint\n.",
    "an object by OBJ": b"(cbuiltins\nprint\nS'x'\no.",
    "NEWOBJ": pickle.dumps(Path("a"), protocol=2),
    "a persistent id": b"Pthing\n.",
    "an extension code": b"\x82\x01.",
    "an out-of-band buffer": b"\x80\x05\x97.",
    "no bytes": b"",
    "garbage": b"\xff\xfe",
    "a text that ends early": b"\x80\x05\x8c\xff",
    "a stack underflow": b"\x80\x05R.",
    "an unhashable key": b"\x80\x05}]]s.",
}


@pytest.mark.parametrize("probe", PROBES)
def test_bytes_that_name_anything_else_are_refused_without_a_call(
    probe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(sys.modules)
    with pytest.raises(NotPlain):
        load_plain(PROBES[probe])
    assert capsys.readouterr().out == ""
    assert "antigravity" not in set(sys.modules) - before


def maker(name: str) -> bytes:
    """Return the opcodes that push a function of the list."""
    return f"c{plain_makers.__name__}\n{name}\n".encode()


@pytest.mark.parametrize("name", list(MAKERS))
def test_functions_of_the_list_cannot_be_changed(name: str) -> None:
    attributes = pickle.dumps({"__defaults__": (1,), "__wrapped__": 2}, 3)[2:-1]
    for state in (attributes, b"N" + attributes + b"\x86"):
        with pytest.raises(NotPlain):
            load_plain(maker(name) + state + b"b.")
    assert MAKERS[name].__defaults__ is None  # type: ignore[attr-defined]  # all of them are functions


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("make_array", ("O", (1,), b"12345678")),
        ("make_array", ("V8", (1,), b"12345678")),
        ("make_array", ("i4,O", (1,), b"123456789012")),
        ("make_array", ("f8", (2,), b"12345678")),
        ("make_array", ("f8", (-2,), b"12345678")),
        ("make_array", (5, (1,), b"12345678")),
        ("make_scalar", ("O", b"12345678")),
        ("make_scalar", ("f8", b"")),
        ("make_stand_in", (5,)),
        ("make_stand_in", ("\0",)),
        ("make_uuid", ("text",)),
        ("make_decimal", ("text",)),
        ("make_datetime", ("text",)),
        ("make_date", ()),
        ("make_timedelta", (10**12, 0, 0)),
    ],
)
def test_functions_of_the_list_check_their_arguments(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(NotPlain):
        load_plain(maker(name) + pickle.dumps(arguments, 3)[2:-1] + b"R.")


def test_the_state_of_an_array_cannot_bring_another_type() -> None:
    state = pickle.dumps((1, (1,), "O", False, [1]), 3)[2:-1]
    array = maker("make_array") + pickle.dumps(("f8", (1,), b"12345678"), 3)[2:-1] + b"R"
    assert load_plain(array + b".").shape == (1,)
    with pytest.raises(NotPlain):
        load_plain(array + state + b"b.")


@pytest.mark.parametrize("name", ["O", "|O", "O8", "V4", "U4", "M8[s]", "f8,f8", "(2,)f8", "<f8\n", "", 5])
def test_memory_of_a_worker_is_read_as_numbers_only(name: Any) -> None:
    with pytest.raises(NotPlain):
        numeric_dtype(name)


def test_what_is_written_names_the_list_alone() -> None:
    body = dump_plain([np.float32(1), Decimal(1), StandIn("a"), datetime(2020, 1, 1)])
    named = [argument for opcode, argument, _ in pickletools.genops(body) if isinstance(argument, str)]
    modules = {name for name in named if "." in name and name.replace(".", "").isidentifier()}
    assert modules == {plain_makers.__name__}
