"""Tokens: signatures and claims, with real keys."""

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mlsrv.errors import ConfigurationError, PermissionDenied, Unauthenticated

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())


def key_set(**keys: Any) -> str:
    found = []
    for name, key in keys.items():
        is_rsa = isinstance(key, rsa.RSAPrivateKey)
        kind: Any = jwt.algorithms.RSAAlgorithm if is_rsa else jwt.algorithms.ECAlgorithm
        found.append({**json.loads(kind.to_jwk(key.public_key())), "kid": name, "use": "sig"})
    return json.dumps({"keys": found})


def token(key: Any = EC, kid: str | None = "ec", algorithm: str = "ES256", **claims: Any) -> str:
    given = {
        "sub": "ada",
        "iss": "https://issuer.test",
        "aud": "mlsrv",
        "exp": time.time() + 300,
        "mlsrv": {"infer": ["iris"]},
    } | claims
    kept = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(kept, key, algorithm, headers={"kid": kid} if kid else None)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "set.json"
    path.write_text(key_set(ec=EC, rsa=RSA))
    return {"jwt_jwks": str(path), "jwt_issuer": "https://issuer.test", "jwt_audience": "mlsrv"}


async def test_a_token_has_the_rights_of_its_claim(asking: Any, settings: Any) -> None:
    async with asking(**settings) as ask:
        for text in (token(), token(RSA, "rsa", "RS256"), token(aud=["other", "mlsrv"])):
            for _ in range(2):  # the second time from the cache
                assert (await ask("infer", text, model="iris")).name == "ada"
            with pytest.raises(PermissionDenied):
                await ask("infer", text, model="other")
        with pytest.raises(PermissionDenied):
            await ask("infer", token(mlsrv=None), model="iris")
        assert (await ask("health", token(mlsrv=["health"]))).name == "ada"


@pytest.mark.parametrize(
    "wrong",
    [
        {"exp": 1},
        {"exp": None},
        {"iss": "https://other.test"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"nbf": 4e9},
        {"mlsrv": {"fly": ["*"]}},
        {"mlsrv": "infer"},
        {"key": STRANGER},
        {"kid": "unknown"},
        {"kid": None},
        {"algorithm": "none", "key": None},
        {"key": "secret" * 10, "algorithm": "HS256"},
        {"key": "secret" * 10, "algorithm": "HS256", "kid": "rsa"},
        {"key": RSA, "algorithm": "RS256"},
    ],
    ids=range(19),
)
async def test_wrong_tokens_are_refused(asking: Any, settings: Any, wrong: dict[str, Any]) -> None:
    async with asking(**settings) as ask:
        with pytest.raises(Unauthenticated, match="The token is wrong or has expired"):
            await ask("infer", token(**wrong), model="iris")


NESTED = base64.urlsafe_b64encode(b"[" * 12_000).decode().rstrip("=")


@pytest.mark.parametrize(
    "text", ["x", "a.b.c", "é.é.é", "x" * 70_000, f"{NESTED}.e30.x", f"e30.{NESTED}.x"], ids=range(6)
)
async def test_texts_that_are_no_tokens(asking: Any, settings: Any, text: str) -> None:
    async with asking(**settings) as ask:
        with pytest.raises(Unauthenticated):
            await ask("infer", text)


async def test_clocks_may_differ_a_little(asking: Any, settings: Any) -> None:
    async with asking(**settings, jwt_leeway=100) as ask:
        assert (await ask("infer", token(exp=time.time() - 50))).name == "ada"
        with pytest.raises(Unauthenticated):
            await ask("infer", token(exp=time.time() - 150))


async def test_a_new_key_set_is_taken_and_old_tokens_end(asking: Any, settings: Any) -> None:
    async with asking(**settings) as ask:
        old, new = token(), token(STRANGER, "new")
        await ask("infer", old)
        Path(settings["jwt_jwks"]).write_text(key_set(new=STRANGER))
        async with asyncio.timeout(20):
            while True:
                try:
                    await ask("infer", new)
                    break
                except Unauthenticated:
                    await asyncio.sleep(0.02)
        with pytest.raises(Unauthenticated):
            await ask("infer", old)


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}', '{"keys": 1}'],
    ids=range(5),
)
async def test_a_wrong_key_set_stops_the_start(asking: Any, settings: Any, content: str) -> None:
    Path(settings["jwt_jwks"]).write_text(content)
    with pytest.raises(ConfigurationError, match="jwt_jwks"):
        async with asking(**settings):
            pass
