"""Audit log: a line for each refusal and each control action, and never a secret."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

import mlsrv
from mlsrv import Kernel
from mlsrv.authorization import AccessRequest, Authorizer, Principal
from mlsrv.errors import ConfigurationError, MLSrvError, PermissionDenied, Unauthenticated
from mlsrv.telemetry.audit_log import AuditLog


class Plugin(Authorizer):
    @mlsrv.hookimpl
    def mlsrv_authorize(self) -> Authorizer:
        return self

    async def authorize(self, access: AccessRequest) -> Principal:
        if access.headers.get("key") != "secret":
            raise Unauthenticated("The key is wrong.")
        return Principal("ada", {"infer": ["iris"]})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_refusals_are_noted_with_who_asked(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with Kernel({"audit_log": str(path)}, plugins=[Plugin()], discover=False) as kernel:
        guard = kernel.guard
        assert guard is not None
        good = AccessRequest("infer", {"key": "secret"}, "iris", "test", "do it", "10.0.0.1")
        principal = await guard.admit(good)
        with pytest.raises(Unauthenticated):
            await guard.admit(AccessRequest("infer", {"key": "wrong"}, "iris", "test", "do it\n", "10.0.0.1"))
        with pytest.raises(PermissionDenied):
            await guard.admit(AccessRequest("admin", {"key": "secret"}))
        with pytest.raises(PermissionDenied):
            guard.check(good, principal, "m" * 10_000)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first, second, third = lines(path)
    assert (first["principal"], first["result"]) == (None, "UNAUTHENTICATED")
    assert (first["operation"], first["model"], first["peer"]) == ("do it\n", "iris", "10.0.0.1")
    assert (second["principal"], second["action"], second["result"]) == ("ada", "admin", "PERMISSION_DENIED")
    assert third["model"] == "m" * 500
    assert "secret" not in path.read_text()
    assert "wrong" not in path.read_text()


async def test_control_actions_are_noted_with_their_result(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    access = AccessRequest("repository", model="m")
    async with AuditLog(str(path)) as log:
        with log.control(access, "ada"):
            pass
        with pytest.raises(MLSrvError), log.control(access, "ada"):
            raise MLSrvError("no")
        with pytest.raises(ZeroDivisionError), log.control(access, None):
            raise ZeroDivisionError
    assert [line["result"] for line in lines(path)] == ["OK", "INTERNAL", "ZeroDivisionError"]
    async with AuditLog(str(path)) as log:
        log.note(access, None, "OK")
    assert len(lines(path)) == 4


async def test_lines_beyond_the_limit_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsrv.telemetry.audit_log.LIMIT", 0)
    async with AuditLog(str(tmp_path / "audit.jsonl")) as log:
        log.note(AccessRequest("infer"), None, "OK")
        assert log.dropped == 1


async def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"audit_log: .* cannot be written"):
        async with Kernel({"audit_log": str(tmp_path / "no" / "audit.jsonl")}, discover=False):
            pass
