"""Repository: control of the model repository.

Source: Triton's "Model Repository Extension". Paths with the name of a repository are accepted and the name
    is ignored, because there is one repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlsrv.authorization import check_repository_api, requires
from mlsrv.errors import InvalidPayload
from mlsrv.kernel_api import KernelAPI
from mlsrv.settings import KernelSettings
from mlsrv.types import RepositoryIndexResponse
from mlsrv_protocol.json import decode_json_object
from mlsrv_rest.access import access_request
from mlsrv_rest.routes.common import PRINCIPAL, json_response, model_before_last, visible


class Repository:
    """Endpoints for the index, loading and unloading."""

    def __init__(self, kernel: KernelAPI) -> None:
        self._kernel = kernel
        self._allowed = kernel.settings.of(KernelSettings).repository_api

    @requires("repository")
    async def index(self, request: Request) -> Response:
        """Answer every model and version with its state; with ``{"ready": true}`` only those that serve."""
        check_repository_api(self._allowed, changes=False)
        ready = (await _body(request)).get("ready")
        if ready is not None and not isinstance(ready, bool):
            raise InvalidPayload('"ready" must be true or false.')
        found = await self._kernel.index(ready or None)
        seen = set(visible(request, "repository", [item.name for item in found]))
        return json_response(RepositoryIndexResponse([item for item in found if item.name in seen]))

    @requires("repository")
    async def load(self, request: Request) -> Response:
        """Load or reload all versions of a model; answer when they serve."""
        refuse_upload(await _body(request))
        with self._control(request) as name:
            await self._kernel.load(name)
        return Response()

    @requires("repository")
    async def unload(self, request: Request) -> Response:
        """Unload all versions of a model; answer when they are unloaded."""
        await _body(request)
        with self._control(request) as name:
            await self._kernel.unload(name)
        return Response()

    @contextmanager
    def _control(self, request: Request) -> Iterator[str]:
        """Have a control call noted; gives the name of its model. Raises `PermissionDenied`."""
        name = model_before_last(request)
        audit, principal = self._kernel.audit, request.scope[PRINCIPAL]
        with ExitStack() as stack:
            if audit is not None:
                access = access_request(request.scope, {}, "repository", name)
                stack.enter_context(audit.control(access, None if principal is None else principal.name))
            check_repository_api(self._allowed, changes=True)
            yield name

    def routes(self) -> list[Route]:
        """Return the routes of this group."""
        found = [Route("/v2/repository/index", self.index, methods=["POST"])]
        for path in ("/v2/repository", "/v2/repository/{repository}"):
            found.append(Route(f"{path}/models/{{model}}/load", self.load, methods=["POST"]))
            found.append(Route(f"{path}/models/{{model}}/unload", self.unload, methods=["POST"]))
        return found


def refuse_upload(body: dict[str, Any]) -> None:
    """Refuse to load models that a client sends: they could run any code in the server.

    Raises:
        InvalidPayload: the parameters carry a configuration or files.
    """
    parameters = body.get("parameters")
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise InvalidPayload('"parameters" must be an object.')
    for key in parameters:
        if key == "config" or key.startswith("file:"):
            raise InvalidPayload(
                f'The load parameter "{key[:60]}" is refused: models are loaded from the repository only.'
            )


async def _body(request: Request) -> dict[str, Any]:
    """Return the body as an object; an empty body is an empty object."""
    text = await request.body()
    return decode_json_object(text) if text.strip() else {}
