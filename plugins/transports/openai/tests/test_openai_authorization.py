"""Authorization: the routes ask it like every other, with the key that clients of OpenAI send."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import openai_models
import pytest

import mlsrv
import mlsrv_openai.plugin
import mlsrv_rest.plugin
from mlsrv import Kernel
from mlsrv.authorization import AccessRequest, Authorizer, Principal
from mlsrv.errors import Unauthenticated
from mlsrv_rest import create_app

CHAT: Any = [{"role": "user", "content": "a"}]
RIGHTS: dict[str, Any] = {
    "one": {"infer": ["echo"], "metadata": ["echo"]},
    "none": {},
}


class Keys(Authorizer):
    async def authorize(self, access: AccessRequest) -> Principal:
        key = access.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in RIGHTS:
            raise Unauthenticated("The key is missing or wrong.")
        return Principal(key, RIGHTS[key])

    @mlsrv.hookimpl
    def mlsrv_authorize(self) -> Authorizer:
        return self


async def test_keys() -> None:
    plugins = [mlsrv_rest.plugin, mlsrv_openai.plugin, Keys()]
    async with Kernel(
        {"executor": "inline"}, models=openai_models.MODELS, plugins=plugins, discover=False
    ) as kernel:
        await kernel.loaded()
        transport = httpx.ASGITransport(create_app(kernel))

        def client(key: str) -> Any:
            inner = httpx.AsyncClient(transport=transport)
            return openai.AsyncOpenAI(
                base_url="http://test/v1", api_key=key, max_retries=0, http_client=inner
            )

        async with client("one") as one, client("none") as none, client("wrong") as wrong:
            assert [model.id async for model in one.models.list()] == ["echo"]
            answer = await one.completions.create(model="echo", prompt="a b")
            assert answer.choices[0].text == "a b"
            with pytest.raises(openai.PermissionDeniedError):
                await one.embeddings.create(model="vectors", input="a")
            with pytest.raises(openai.PermissionDeniedError):
                await one.completions.create(model="whole", prompt="a", stream=True)
            with pytest.raises(openai.PermissionDeniedError):
                await one.models.retrieve("vectors")
            with pytest.raises(openai.PermissionDeniedError):
                await none.completions.create(model="echo", prompt="a")
            with pytest.raises(openai.PermissionDeniedError):
                await none.chat.completions.create(model="echo", messages=CHAT)
            with pytest.raises(openai.AuthenticationError, match="missing or wrong") as caught:
                await wrong.completions.create(model="echo", prompt="a")
            assert caught.value.code == "invalid_api_key"
