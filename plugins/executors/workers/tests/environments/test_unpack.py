"""Unpacking: allowed members of tarballs, and damaged tarballs."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mlsrv_workers.environments import unpack

LINKS = {
    "symbolic": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
}


def tar(*members: tuple[str, str, str | bytes]) -> bytes:
    """Return a tar archive of members (name, kind, content or target)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = LINKS[kind], content
                archive.addfile(member)
    return file.getvalue()


def unpack_archive(folder: Path, content: bytes) -> Path:
    """Unpack an archive in ``a/b``, and return that."""
    (folder / "archive").write_bytes(content)
    destination = folder / "a" / "b"
    destination.mkdir(parents=True)
    unpack.unpack(folder / "archive", destination)
    return destination


@pytest.mark.parametrize(
    "members",
    [
        [("../outside.txt", "file", b"x")],
        [("a/../../c", "file", b"x")],
        [("lib/link", "symbolic", "/etc/passwd")],
        [("lib/link", "symbolic", "../../outside")],
        [("lib/up", "symbolic", "../../.."), ("lib/up/outside", "file", b"x")],
        [("bin/python", "symbolic", "../../outside")],
        [("bin/python", "hard", "/etc/passwd")],
        [("../bin/python", "symbolic", "/usr/bin/python3")],
        [("lib/link", "hard", "/etc/passwd")],
        [("lib/link", "hard", "../../../etc/passwd")],
        [("lib/pipe", "fifo", "")],
        [("lib/device", "device", "")],
    ],
)
def test_a_tarball_cannot_leave_its_folder(
    tmp_path: Path, members: list[tuple[str, str, str | bytes]]
) -> None:
    with pytest.raises(tarfile.TarError):
        unpack_archive(tmp_path, tar(*members))
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [tmp_path / "archive"]


def test_an_absolute_name_lands_inside(tmp_path: Path) -> None:
    assert (
        unpack_archive(tmp_path, tar(("/tmp/inside", "file", b"x"))) / "tmp" / "inside"
    ).read_bytes() == b"x"


def test_what_follows_a_dropped_interpreter_cannot_be_behind_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    unpack_archive(tmp_path, tar(("bin/python", "symbolic", str(outside)), ("bin/python/evil", "file", b"x")))
    assert list(outside.iterdir()) == []


def stored(content: bytes) -> bytes:
    return content


DAMAGE = (tarfile.TarError, OSError, EOFError, lzma.LZMAError, zlib.error)


@pytest.mark.parametrize("compress", [stored, gzip.compress, bz2.compress, lzma.compress])
def test_damage_is_found_at_any_position(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    names = [f"{number}.bin" for number in range(8)]
    archive = tar(*((name, "file", os.urandom(2**14)) for name in names))
    content = compress(archive[: 8 * (512 + 2**14) + 1024])  # without the padding, whose loss changes nothing
    folder = unpack_archive(tmp_path, content)
    assert sorted(path.name for path in folder.iterdir()) == names
    for position in range(0, len(content) - 1024, len(content) // 40):
        damages = [content[:position]]
        if compress is not stored:
            damages.append(content[:position] + bytes(97) + content[position + 97 :])
        for damaged in damages:
            (tmp_path / "archive").write_bytes(damaged)
            with pytest.raises(DAMAGE):
                unpack.unpack(tmp_path / "archive", folder)


def test_the_program_prints_one_line_and_fails(tmp_path: Path) -> None:
    tarball = tmp_path / "tarball"
    tarball.write_bytes(b"not a tarball")
    command = [sys.executable, "-I", "-S", unpack.__file__, str(tarball), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "ReadError: it is not a tarball\n")
