"""Certificates: files of TLS that are read again once they change."""

import asyncio
from pathlib import Path

from mlsrv.kernel.certificates import watching
from mlsrv.settings import Settings, setting, settings_class
from mlsrv_settings_kit.sections import Owner


@settings_class
class Owl:
    owl_tls_cert: str | None = setting(None, help="A certificate.")
    owl_file: str | None = setting(None, help="Something else.")


async def test_a_change_is_noticed_once(tmp_path: Path) -> None:
    cert, other = tmp_path / "cert.pem", tmp_path / "other"
    cert.write_text("old")
    read: list[str] = []
    noticed = asyncio.Event()

    async def reload() -> None:
        read.append(cert.read_text())
        noticed.set()

    settings = Settings(owl_tls_cert=str(cert), owl_file=str(other)).resolve([Owner("mlsrv-owl", Owl)])
    async with watching(settings, reload, 0.01):
        await asyncio.sleep(0.05)
        other.write_text("no")
        cert.write_text("newer")
        await asyncio.wait_for(noticed.wait(), 20)
        noticed.clear()
        cert.unlink()
        cert.write_text("newest one")
        await asyncio.wait_for(noticed.wait(), 20)
    assert read == ["newer", "newest one"]
