"""Errors: what is wrong with settings."""

from __future__ import annotations

from collections.abc import Sequence

from mlsrv_protocol.errors import Code, MLSrvError


class ConfigurationError(MLSrvError):
    """Settings are wrong. `problems` has one sentence for each fault."""

    code = Code.INVALID_ARGUMENT

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("; ".join(self.problems))

    def __reduce__(self) -> tuple[type[ConfigurationError], tuple[list[str]]]:
        return type(self), (self.problems,)
