"""Makes the models beside it importable, and serves them."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import openai_models

from served import Served, served


@pytest.fixture
async def server() -> AsyncIterator[Served]:
    """A server of all models, in this process."""
    openai_models.closed.clear()
    async with served(openai_models.MODELS, executor="inline") as found:
        yield found


@pytest.fixture
async def client(server: Served) -> AsyncIterator[Any]:
    """The asynchronous client of OpenAI."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"{server.rest}/v1", api_key="none", max_retries=0, timeout=30) as made:
        yield made


@pytest.fixture
async def http(server: Served) -> AsyncIterator[httpx.AsyncClient]:
    """A plain client of the server."""
    async with httpx.AsyncClient(base_url=server.rest, timeout=30) as made:
        yield made
