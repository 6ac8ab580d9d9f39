"""Models in public idioms answer as MLServer 1.7.1 does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mlserver_folders import DIFFERENCES, ask_everything, truth, write

from served import served

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("workers", [0, 1])
async def test_the_answers_are_those_of_mlserver(tmp_path: Path, workers: int) -> None:
    asked = truth()
    write(tmp_path / "models", asked["requests"])
    async with served([], model_repository_root=str(tmp_path / "models"), parallel_workers=workers) as found:
        assert found.kernel.problems() == []
        ours = await asyncio.to_thread(ask_everything, found.rest, asked)
    theirs: dict[str, Any] = asked["answers"]
    different = {name: ours[name] for name, answer in theirs.items() if ours[name] != answer}
    assert set(different) == set(DIFFERENCES), different
    assert len(asked["requests"]) >= 40
