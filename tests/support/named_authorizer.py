"""Named authorizer: a plugin whose keys are the names of principals, and a model that says who asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

import mlsrv
from mlsrv import MLModel
from mlsrv.authorization import AccessRequest, Authorizer, Principal
from mlsrv.context import current_context
from mlsrv.errors import RateLimited, Unauthenticated
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters


class Who(MLModel):
    """Answers with the name of the principal that asks."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        context = current_context.get()
        assert context is not None
        assert context.principal is not None
        return InferenceResponse(outputs=[], parameters=Parameters(principal=context.principal.name))


class NamedAuthorizer(Authorizer):
    """Knows the names that have rights; "fast" asks too often, and "broken" breaks it.

    Attributes:
        asked: what it was asked.
    """

    credential_headers = frozenset({"authorization"})

    def __init__(self, rights: Mapping[str, Any]) -> None:
        self.asked: list[AccessRequest] = []
        self._rights = rights

    async def authorize(self, access: AccessRequest) -> Principal:
        self.asked.append(evolve(access, headers=dict(access.headers)))
        name = access.headers.get("authorization", "").removeprefix("Bearer ")
        if name == "fast":
            raise RateLimited.by("fast", "1 request per second", 2.5)
        if name == "broken":
            raise ZeroDivisionError
        if name not in self._rights:
            raise Unauthenticated("The key is missing or wrong.")
        return Principal(name, self._rights[name])

    @mlsrv.hookimpl
    def mlsrv_authorize(self) -> Authorizer:
        return self
