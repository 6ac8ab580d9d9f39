"""Authorizer: keys in headers, certificates, anonymous requests, and changes of the file."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

import mlsrv_keys.plugin
from mlsrv import Kernel
from mlsrv.authorization import Limits
from mlsrv.errors import ConfigurationError, PermissionDenied, RateLimited, Unauthenticated
from mlsrv_keys.key_file import Key, write_keys


def write(path: Path, *keys: Key) -> str:
    write_keys(path, {key.id: key for key in keys})
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


async def test_a_key_has_its_rights_and_no_others(asking: Any, file: Path) -> None:
    key, text = Key.make("robot", {"infer": ("iris-*",), "health": ("*",)})
    async with asking(keys_file=write(file, key)) as ask:
        assert (await ask("infer", text, model="iris-1")).name == "robot"
        assert (await ask("health", text)).name == "robot"
        assert (await ask(None, text)).name == "robot"
        for action, model in (("infer", "other"), ("repository", None), ("admin", None), ("metrics", None)):
            with pytest.raises(PermissionDenied):
                await ask(action, text, model=model)


async def test_wrong_keys_are_all_refused_alike(asking: Any, file: Path) -> None:
    key, text = Key.make("robot", {"infer": ("*",)})
    expired, old = Key.make("old", {"infer": ("*",)}, time.time() - 1)
    _, unknown = Key.make("unknown", {"infer": ("*",)})
    async with asking(keys_file=write(file, key, expired)) as ask:
        said = set()
        others = "x", text.upper(), "mlsrv_", "é" * 100, "k" * 70_000
        for wrong in (text[:-1], text + "x", unknown, old, *others):
            with pytest.raises(Unauthenticated) as caught:
                await ask("infer", wrong)
            said.add(str(caught.value))
        assert said == {"The key is wrong, has expired or was revoked."}
        with pytest.raises(Unauthenticated, match="needs a key"):
            await ask("infer")
        with pytest.raises(Unauthenticated, match="needs a key"):
            await ask("infer", headers={"authorization": f"Basic {text}"})


async def test_the_key_may_be_in_a_header_of_choice(asking: Any, file: Path) -> None:
    key, text = Key.make("robot", {"infer": ("*",)})
    async with asking(keys_file=write(file, key), keys_header="X-API-Key") as ask:
        assert (await ask("infer", headers={"x-api-key": text})).name == "robot"
        assert (await ask("infer", text)).name == "robot"
        assert (await ask("infer", headers={"authorization": f"bearer  {text}"})).name == "robot"
        with pytest.raises(Unauthenticated):
            await ask("infer", headers={"x-api-key": "no", "authorization": f"Bearer {text}"})


async def test_anonymous_requests_have_the_rights_of_the_settings(asking: Any, file: Path) -> None:
    async with asking(keys_file=write(file), keys_anonymous={"health": ["*"]}) as ask:
        assert (await ask("health")).anonymous
        for action in ("infer", None, "admin"):
            with pytest.raises(Unauthenticated):
                await ask(action)
        with pytest.raises(Unauthenticated):
            await ask("health", "wrong")


async def test_certificates_have_the_rights_of_the_settings(asking: Any) -> None:
    async with asking(certificate_rights={"robot": {"infer": ["iris"]}}) as ask:
        assert (await ask("infer", certificate={"commonName": "robot"}, model="iris")).name == "robot"
        with pytest.raises(PermissionDenied):
            await ask("repository", certificate={"commonName": "robot"})
        for certificate in ({"commonName": "other"}, {}, {"organizationName": "robot"}):
            with pytest.raises(Unauthenticated):
                await ask("infer", certificate=certificate)


async def test_changes_of_the_file_are_taken_at_once(
    asking: Any, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, one = Key.make("first", {"infer": ("*",)})
    second, two = Key.make("second", {"infer": ("*",)})
    async with asking(keys_file=write(file, first)) as ask:
        write(file, second)
        await eventually(ask, two, "second")
        with pytest.raises(Unauthenticated):
            await ask("infer", one)
        file.write_text("{")
        async with asyncio.timeout(20):
            while "stay in use" not in caplog.text:
                await asyncio.sleep(0.02)
        assert (await ask("infer", two)).name == "second"
        write(file, first)
        await eventually(ask, one, "first")
    assert one not in caplog.text


async def eventually(ask: Any, key: str, name: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                assert (await ask("infer", key)).name == name
            except Unauthenticated:
                await asyncio.sleep(0.02)
            else:
                return


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(asking: Any, file: Path) -> None:
    slow, text = Key.make("slow", {"infer": ("*",)}, limits=Limits(rate=0.01, burst=2))
    other, free = Key.make("other", {"infer": ("*",)})
    async with asking(keys_file=write(file, slow, other)) as ask:
        await ask("infer", text)
        await ask("infer", text)
        with pytest.raises(RateLimited, match=r"slow is limited to 0\.01 requests per second") as caught:
            await ask("infer", text)
        assert 90 < caught.value.retry_after <= 100
        await ask("infer", free)


async def test_a_right_key_stays_right_in_its_form_alone(
    asking: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires = time.time() + 3600
    key, text = Key.make("robot", {"infer": ("*",)}, expires)
    async with asking(keys_file=write(file, key)) as ask:
        for form in (f"Bearer {text}", f"bearer  {text} "):
            assert (await ask("infer", headers={"authorization": form})).name == "robot"
        for form in (f"Bearer Bearer {text}", f"Bearer {text}x", text, f"Basic Bearer {text}"):
            with pytest.raises(Unauthenticated):
                await ask("infer", headers={"authorization": form})
        monkeypatch.setattr("mlsrv_keys.authorizer.time.time", lambda: expires)
        for form in (f"Bearer {text}", f"bearer  {text}"):
            with pytest.raises(Unauthenticated):
                await ask("infer", headers={"authorization": form})


async def test_keys_without_limits_are_compared_with_none(asking: Any, file: Path) -> None:
    free, first = Key.make("free", {"infer": ("*",)})
    limited, second = Key.make("limited", {"infer": ("*",)}, limits=Limits(in_flight=1))
    async with asking(keys_file=write(file, free, limited)) as ask:
        assert (await ask("infer", first)).limits is None
        assert (await ask("infer", second)).limits == Limits(in_flight=1)


async def test_without_settings_nothing_is_checked(asking: Any) -> None:
    async with asking() as ask:
        assert ask.kernel.guard is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"keys_file": "/nowhere/keys.json"}, "cannot be read"),
        ({"keys_header": "x key"}, "keys_header"),
        ({"keys_anonymous": {"fly": []}}, "unknown action 'fly'"),
        ({"certificate_rights": {"robot": "infer"}}, r"certificate_rights\.robot: expected an object"),
        ({"jwt_algorithms": ["HS256"]}, "jwt_algorithms"),
        ({"jwt_algorithms": []}, "jwt_algorithms"),
        ({"jwt_algorithms": ["none"]}, "jwt_algorithms"),
        ({"jwt_jwks": "/nowhere/set.json"}, "jwt_issuer, jwt_audience"),
        ({"jwt_jwks": "/nowhere/set.json", "jwt_issuer": "i", "jwt_audience": "a"}, "cannot be read"),
        ({"jwt_jwks_url": "http://127.0.0.1/set.json"}, "https://"),
    ],
    ids=range(10),
)
async def test_wrong_settings_stop_the_start(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        async with Kernel(settings, plugins=[mlsrv_keys.plugin], discover=False):
            pass
