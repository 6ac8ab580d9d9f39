"""Free memory: what a burst of large blocks leaves with the C library goes back to the operating system."""

import asyncio
import sys

import psutil
import pytest

from mlsrv_hosting_kit import free_memory
from mlsrv_hosting_kit.free_memory import returning_free_memory

MIB = 2**20

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(
        not hasattr(free_memory._libc, "mallinfo2"), reason="the C library tells nothing of free memory"
    ),
]


def resident() -> int:
    return psutil.Process().memory_info().rss


def blocks() -> list[bytearray]:
    """Return blocks that the C library does not map each by itself, and a small one after each."""
    made = []
    for _ in range(4000):
        made.append(bytearray(b"x" * 60_000))
        made.append(bytearray(b"x" * 600))
    return made


def burst() -> list[bytearray]:
    """Return the small ones of `blocks`."""
    return blocks()[1::2]


async def test_what_was_freed_below_blocks_in_use_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_memory, "INTERVAL", 0.05)
    before = resident()
    async with returning_free_memory():
        await asyncio.sleep(0)  # the watch begins
        kept = burst()
        assert sys.getsizeof(kept[0]) > 600
        async with asyncio.timeout(30):
            while resident() > before + 60 * MIB:
                await asyncio.sleep(0.05)


async def test_what_is_freed_long_after_the_process_has_grown_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(free_memory, "INTERVAL", 0.05)
    trimmed = asyncio.Event()
    loop, give_back = asyncio.get_running_loop(), free_memory.return_free_memory

    def noting() -> None:
        give_back()
        loop.call_soon_threadsafe(trimmed.set)

    monkeypatch.setattr(free_memory, "return_free_memory", noting)
    before = resident()
    async with returning_free_memory():
        await asyncio.sleep(0)  # the watch begins
        made = blocks()
        kept = burst()
        # The watch gives back what is free, while much is in use, and sees no growth after that.
        await asyncio.wait_for(trimmed.wait(), 30)
        await asyncio.sleep(0.3)
        assert resident() > before + 150 * MIB
        kept += made[1::2]
        del made
        async with asyncio.timeout(30):
            while resident() > before + 60 * MIB:
                await asyncio.sleep(0.05)


async def test_what_is_freed_right_after_others_were_given_back_is_given_back_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(free_memory, "INTERVAL", 0.05)
    give_back, before = free_memory.return_free_memory, resident()
    made = blocks()
    kept = made[1::2]

    def freeing() -> None:
        give_back()
        made.clear()  # once the memory was looked at, and before the next look

    monkeypatch.setattr(free_memory, "return_free_memory", freeing)
    async with returning_free_memory():
        await asyncio.sleep(0)  # the watch begins
        kept += burst()
        async with asyncio.timeout(30):
            while resident() > before + 60 * MIB:
                await asyncio.sleep(0.05)


async def test_without_the_watch_it_stays() -> None:
    before = resident()
    kept = burst()
    assert resident() > before + 150 * MIB
    del kept
    free_memory.return_free_memory()
    assert resident() < before + 60 * MIB
