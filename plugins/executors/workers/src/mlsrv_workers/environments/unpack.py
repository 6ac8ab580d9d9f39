"""Unpacking: extracts tarballs of environments, ``python unpack.py TARBALL FOLDER``.

It is run by its path and needs nothing but the standard library. A process of its own takes no time from the
server, and is killed at once when its result is no longer needed.
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path


def unpack(tarball: Path, folder: Path) -> None:
    """Unpack a tarball; nothing outside the folder is written or linked to.

    Raises:
        tarfile.TarError: it is not a tarball, is damaged, or has members that leave the folder.
        Exception: errors of decompressors if it is damaged.
    """
    if not tarfile.is_tarfile(tarball):
        raise tarfile.ReadError("it is not a tarball")
    with tarfile.open(tarball) as archive:
        archive.extractall(folder, filter=_allowed)
        _check_end(archive)


def _allowed(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo | None:
    try:
        return tarfile.data_filter(member, destination)
    except tarfile.AbsoluteLinkError:
        if member.issym() and Path(member.name).parts[-2:-1] == ("bin",) and "python" in member.name:
            return None  # a link to the machine's interpreter: the server's is used instead
        raise


def _check_end(archive: tarfile.TarFile) -> None:
    """Read on to the checksum, which comes last; `tarfile` takes damage between members for the end."""
    file = archive.fileobj
    assert file is not None  # the archive was opened
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it is damaged, or its end is missing")
    while file.read(2**20):
        pass


if __name__ == "__main__":
    try:
        unpack(Path(sys.argv[1]), Path(sys.argv[2]))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
