"""Decompression of bodies piece by piece, within limits."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest

from mlsrv.errors import InvalidPayload, TooLarge
from mlsrv_rest.decompression import decompress
from mlsrv_rest.errors import HTTPProblem


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    return b"".join(decompress(body, encoding, limit))


def test_decompression() -> None:
    raw = zlib.compressobj(wbits=-15)
    assert unpack(gzip.compress(b"abc", mtime=0), "gzip", 3) == b"abc"
    assert unpack(zlib.compress(b"abc"), "deflate", 3) == b"abc"
    assert unpack(raw.compress(b"abc") + raw.flush(), "deflate", 3) == b"abc"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_stops_at_the_limit(encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    bomb = pack(bytes(64 * 2**20))
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge, match="unpacks to more than the limit of 1000 bytes"):
        unpack(bomb, encoding, 1000)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"abc", "gzip"),
        (b"abc", "deflate"),
        (b"", "gzip"),
        (gzip.compress(b"abc", mtime=0)[:-3], "gzip"),
        (gzip.compress(b"abc", mtime=0)[:10], "gzip"),
        (gzip.compress(b"abc", mtime=0) + b"x", "gzip"),
        (gzip.compress(b"abc", mtime=0) * 2, "gzip"),
        (zlib.compress(b"abc") + b"x", "deflate"),
        (zlib.compress(b"abc")[:-1], "deflate"),
        (gzip.compress(b"abc", mtime=0)[:-8] + bytes(8), "gzip"),
    ],
)
def test_damaged_bodies(body: bytes, encoding: str) -> None:
    with pytest.raises(InvalidPayload):
        unpack(body, encoding, 1000)


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd", "x" * 500])
def test_unknown_encodings(encoding: str) -> None:
    with pytest.raises(HTTPProblem) as caught:
        unpack(b"abc", encoding, 1000)
    assert caught.value.status == 415
    assert caught.value.headers == ((b"accept-encoding", b"gzip, deflate"),)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("size", [2**20 - 1, 3 * 2**20, 9 * 2**20 + 5])
def test_pieces_make_the_whole(encoding: str, size: int) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    noise = random.Random(size).randbytes(size)
    for plain in (noise, bytes(4 * size) + noise[: size // 4]):
        made = list(decompress(pack(plain, 1), encoding, len(plain)))
        assert b"".join(made) == plain
        assert max(map(len, made)) <= 2**22


def test_data_after_a_long_body_is_found() -> None:
    noise = gzip.compress(random.Random(1).randbytes(2**20), 1, mtime=0)
    for more in (b"x", bytes(3 * 2**20)):
        with pytest.raises(InvalidPayload, match="goes on after its end"):
            unpack(noise + more, "gzip", 2**30)
