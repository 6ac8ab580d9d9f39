"""The arena of shared memory."""

import gc
import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_workers.ipc.shared_memory import ALIGNMENT, Arena, ArenaReader, make_file


@pytest.fixture
def file() -> Iterator[int]:
    descriptor = make_file(1 << 20)
    yield descriptor
    os.close(descriptor)


def random(size: int) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    return np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)


def test_what_is_put_in_is_read_in_place(file: int) -> None:
    arena, released = Arena(file), []
    reader = ArenaReader(file, released.append)
    data = random(1000)
    offset = arena.put(data)
    assert offset is not None
    array = np.frombuffer(reader.view(offset, 1000), np.uint8)
    assert array.tolist() == data.tolist()
    assert array.flags.writeable
    assert not released


def test_a_block_is_given_back_with_its_last_view(file: int) -> None:
    arena, released = Arena(file), []
    reader = ArenaReader(file, released.append)
    offset = arena.put(random(4096))
    assert offset is not None
    array = np.frombuffer(reader.view(offset, 4096), np.float64)
    part = array[3:5]
    del array
    gc.collect()
    assert released == []
    del part
    gc.collect()
    assert released == [offset]


def test_views_outlive_arena_and_file(file: int) -> None:
    duplicate = os.dup(file)
    arena, reader = Arena(duplicate), ArenaReader(duplicate, lambda _: None)
    os.close(duplicate)
    data = random(512)
    view = reader.view(arena.put(data) or 0, 512)
    arena.close()
    reader.close()
    assert arena.put(data) is None
    assert bytes(view) == data.tobytes()


def test_a_full_arena_says_so(file: int) -> None:
    arena = Arena(file)
    offset = arena.put(random((1 << 20) - ALIGNMENT))
    assert offset == 0
    assert arena.put(random(ALIGNMENT + 1)) is None
    assert arena.put(random(ALIGNMENT)) is not None
    assert arena.put(random(1)) is None
    arena.release(0)
    assert arena.put(random(1 << 19)) == 0


def test_an_arena_of_no_size_has_room_for_nothing() -> None:
    descriptor = make_file(0)
    assert Arena(descriptor).put(random(1)) is None
    ArenaReader(descriptor, lambda _: None)
    os.close(descriptor)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 70_000)), max_size=60))
def test_blocks_never_overlap_and_nothing_is_lost(steps: list[tuple[bool, int]]) -> None:
    descriptor = make_file(1 << 18)
    arena = Arena(descriptor)
    held: dict[int, bytes] = {}
    reader = ArenaReader(descriptor, lambda _: None)
    for release, size in steps:
        if release and held:
            arena.release(offset := sorted(held)[size % len(held)])
            del held[offset]
        else:
            data = random(size)
            offset_or_none = arena.put(data)
            if offset_or_none is not None:
                held[offset_or_none] = data.tobytes()
    for offset, expected in held.items():
        assert bytes(reader.view(offset, len(expected))) == expected
    for offset in held:
        arena.release(offset)
    assert arena.used == 0
    assert arena.put(random(1 << 18)) == 0
    os.close(descriptor)
