"""Shared memory: the writer's allocator and the reader's views."""

import gc
import mmap
import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_workers.ipc.shared_memory import (
    ALIGNMENT,
    SharedMemoryReader,
    SharedMemoryWriter,
    create_shared_file,
)


@pytest.fixture
def file() -> Iterator[int]:
    descriptor = create_shared_file(1 << 20)
    yield descriptor
    os.close(descriptor)


def random(size: int) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    return np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)


def test_data_is_read_in_place(file: int) -> None:
    writer, released = SharedMemoryWriter(file), []
    reader = SharedMemoryReader(file, released.append)
    data = random(1000)
    offset = writer.put(data)
    assert offset is not None
    array = np.frombuffer(reader.view(offset, 1000), np.uint8)
    assert array.tolist() == data.tolist()
    assert array.flags.writeable
    assert not released


def test_a_block_is_released_with_its_last_view(file: int) -> None:
    writer, released = SharedMemoryWriter(file), []
    reader = SharedMemoryReader(file, released.append)
    offset = writer.put(random(4096))
    assert offset is not None
    array = np.frombuffer(reader.view(offset, 4096), np.float64)
    part = array[3:5]
    del array
    gc.collect()
    assert released == []
    del part
    gc.collect()
    assert released == [offset]


def test_views_outlive_the_writer_and_the_file(file: int) -> None:
    duplicate = os.dup(file)
    writer, reader = SharedMemoryWriter(duplicate), SharedMemoryReader(duplicate, lambda _: None)
    os.close(duplicate)
    data = random(512)
    view = reader.view(writer.put(data) or 0, 512)
    writer.close()
    reader.close()
    assert writer.put(data) is None
    assert bytes(view) == data.tobytes()


def test_put_returns_none_when_there_is_no_room(file: int) -> None:
    writer = SharedMemoryWriter(file)
    offset = writer.put(random((1 << 20) - ALIGNMENT))
    assert offset == 0
    assert writer.put(random(ALIGNMENT + 1)) is None
    assert writer.put(random(ALIGNMENT)) is not None
    assert writer.put(random(1)) is None
    writer.release(0)
    assert writer.put(random(1 << 19)) == 0


def test_shared_memory_of_size_zero_has_no_room() -> None:
    descriptor = create_shared_file(0)
    assert SharedMemoryWriter(descriptor).put(random(1)) is None
    SharedMemoryReader(descriptor, lambda _: None)
    os.close(descriptor)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 70_000)), max_size=60))
def test_blocks_never_overlap_and_released_space_is_merged(steps: list[tuple[bool, int]]) -> None:
    descriptor = create_shared_file(1 << 18)
    writer = SharedMemoryWriter(descriptor)
    held: dict[int, bytes] = {}
    reader = SharedMemoryReader(descriptor, lambda _: None)
    for release, size in steps:
        if release and held:
            writer.release(offset := sorted(held)[size % len(held)])
            del held[offset]
        else:
            data = random(size)
            offset_or_none = writer.put(data)
            if offset_or_none is not None:
                held[offset_or_none] = data.tobytes()
    for offset, expected in held.items():
        assert bytes(reader.view(offset, len(expected))) == expected
    for offset in held:
        writer.release(offset)
    assert writer.used == 0
    assert writer.put(random(1 << 18)) == 0
    os.close(descriptor)


def taken(file: int) -> int:
    """Bytes of pages that a file takes now."""
    return os.fstat(file).st_blocks * 512


@pytest.mark.skipif(not hasattr(mmap, "MADV_REMOVE"), reason="this system cannot give pages back")
def test_pages_that_no_block_needs_are_given_back(file: int) -> None:
    writer, reader = SharedMemoryWriter(file), SharedMemoryReader(file, lambda _: None)
    data = random(100_000)
    offsets = [writer.put(data) for _ in range(8)]
    assert taken(file) >= 800_000
    for offset in offsets[1:]:
        assert offset is not None
        writer.release(offset)
    assert writer.trim()  # all were in use since the last time
    assert taken(file) >= 800_000
    assert writer.trim()
    assert 100_000 <= taken(file) < 120_000
    assert offsets[0] is not None
    assert bytes(reader.view(offsets[0], 100_000)) == data.tobytes()
    again = writer.put(data)
    assert again is not None
    assert bytes(reader.view(again, 100_000)) == data.tobytes()
    writer.release(offsets[0])
    writer.release(again)
    while writer.trim():
        pass
    assert taken(file) == 0
    assert not writer.trim()
    assert writer.put(random(1 << 20)) == 0


@given(st.lists(st.one_of(st.integers(1, 60_000), st.just("release"), st.just("trim")), max_size=60))
def test_trimming_changes_no_block(steps: list[int | str]) -> None:
    descriptor = create_shared_file(1 << 20)
    try:
        writer, reader = SharedMemoryWriter(descriptor), SharedMemoryReader(descriptor, lambda _: None)
        held: list[tuple[int, bytes]] = []
        for step in steps:
            if step == "trim":
                writer.trim()
            elif step == "release":
                if held:
                    writer.release(held.pop(0)[0])
            else:
                data = random(int(step))
                offset = writer.put(data)
                if offset is not None:
                    held.append((offset, data.tobytes()))
            for offset, expected in held:
                assert bytes(reader.view(offset, len(expected))) == expected
    finally:
        os.close(descriptor)
