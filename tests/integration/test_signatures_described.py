"""Signatures: the state of a model's signature as the commands show it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from signing import PEM, sign_folder

from mlsrv import ModelSettings
from served import served


async def command(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mlsrv_cli", "models", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0
    return output.decode()


async def test_list_and_describe_say_who_has_signed_a_model(tmp_path: Path) -> None:
    models = []
    for name in ("right", "wrong"):
        folder = tmp_path / name
        folder.mkdir()
        settings = {"name": name, "implementation": "mlsrv.testing.EchoModel"}
        (folder / "model-settings.json").write_text(json.dumps(settings))
        sign_folder(folder) if name == "right" else sign_folder(
            folder, ec.generate_private_key(ec.SECP256R1())
        )
        models.append(ModelSettings.parse_file(folder / "model-settings.json"))
    (tmp_path / "keys.pem").write_bytes(PEM)
    given = {"model_signature_keys": str(tmp_path / "keys.pem"), "model_signatures": "warn"}
    async with served(models, parallel_workers=0, **given) as server:
        listed = json.loads(await command("list", "--json", "--url", server.rest))
        over_grpc = json.loads(await command("list", "--json", "--url", f"grpc://{server.grpc}"))
        reasons = {item["name"]: item["reason"] for item in listed}
        assert reasons["right"].startswith("signed: key ")
        assert "none of the keys in model_signature_keys has made it" in reasons["wrong"]
        assert {item["name"]: item["reason"] for item in over_grpc} == reasons
        for name, reason in reasons.items():
            assert f"verification: {reason}\n" in await command("describe", name, "--url", server.rest)
